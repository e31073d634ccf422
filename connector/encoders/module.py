"""Base class of ksparse's sentence-transformers modules with weights."""

from __future__ import annotations

from typing import Any, Self

from sentence_transformers.base.modules.module import Module


class WeightedModule(Module):
    """A module that is saved as `config.json` and safetensors."""

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Save `config.json` and the weights (safetensors) to a folder."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load from a folder; half-precision weights are converted to float32."""
        where: dict[str, Any] = {
            "subfolder": subfolder,
            "token": token,
            "cache_folder": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        # Older versions of sentence-transformers pass no defaults.
        further: dict[str, Any] = {} if init_defaults is None else {"init_defaults": init_defaults}
        module = super().load(model_name_or_path, **where, **further)
        cls.load_torch_weights(model_name_or_path, **where, model=module)
        return module
