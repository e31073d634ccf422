"""What our sentence-transformers modules with weights share."""

from __future__ import annotations

from typing import Any, Self

from sentence_transformers.base.modules.module import Module


class WeightedModule(Module):
    """A module that is kept as `config.json` and safetensors."""

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write `config.json` and the weights (safetensors) into a folder."""
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
        """Read what `save` wrote; weights stored in half precision are widened to float32."""
        where: dict[str, Any] = {
            "subfolder": subfolder,
            "token": token,
            "cache_folder": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        # An older sentence-transformers knows no defaults.
        further: dict[str, Any] = {} if init_defaults is None else {"init_defaults": init_defaults}
        module = super().load(model_name_or_path, **where, **further)
        cls.load_torch_weights(model_name_or_path, **where, model=module)
        return module
