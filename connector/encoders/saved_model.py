"""Read from its files what a saved model is, before it is loaded. Torch is imported on demand."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector.errors import EncoderError

DENSE_KINDS = ("", "SentenceTransformer")
"""Kinds of dense models; older ones record none."""

SPARSE_KIND = "SparseEncoder"
KINDS = (*DENSE_KINDS, SPARSE_KIND)

_SPARSE_MODULES = (
    "KSparseAutoEncoder",
    "TwoLevelDictionary",
    "SparseAutoEncoder",
    "SpladePooling",
    "SparseStaticEmbedding",
)
"""Sparse module types; without one, sentence-transformers would append an untrained autoencoder."""

ROUTED = ("Router", "Asym")
"""Module types that run different modules for queries and documents."""

_WITHOUT_CODE = (
    "Transformer",
    "MLMTransformer",
    "Pooling",
    "Normalize",
    "Dense",
    "SpladePooling",
    "SparseAutoEncoder",
    "SparseStaticEmbedding",
)
"""Modules of sentence-transformers that run no code named by their configuration, even with `trust_remote_code`, if the
arguments of a Transformer deny it and the activation of a Dense is one of torch."""


@dataclass(frozen=True, slots=True)
class SavedModule:
    """A module of a saved model.

    Attributes:
        type: Its class, with the module that defines it.
        folder: Its folder within the model's.
    """

    type: str
    folder: str

    @property
    def class_name(self) -> str:
        """Its class."""
        return self.type.rpartition(".")[2]

    @property
    def is_foreign(self) -> bool:
        """Whether its class is not one of sentence-transformers."""
        return not self.type.startswith("sentence_transformers.")


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A saved model, as its files describe it.

    Attributes:
        modules: Its modules; empty if not recorded, as for models of transformers.
        kind: The class of sentence-transformers that it was saved from, or an empty string if not recorded.
    """

    modules: tuple[SavedModule, ...]
    kind: str

    @property
    def is_sparse(self) -> bool:
        """Whether one of its modules makes sparse vectors."""
        return any(module.class_name in _SPARSE_MODULES for module in self.modules)

    @property
    def has_foreign(self) -> bool:
        """Whether one of its modules is not of sentence-transformers."""
        return any(module.is_foreign for module in self.modules)

    def check(self, name: str, kinds: Collection[str] = KINDS) -> None:
        """Check that the model can be used: sentence-transformers converts other kinds into an untrained model.

        Args:
            name: Name of the model, for messages.
            kinds: Kinds that can be loaded.

        Raises:
            EncoderError: It is of another kind, or runs different modules for queries and documents.
        """
        routed = next((module.class_name for module in self.modules if module.class_name in ROUTED), None)
        if routed is not None:
            raise EncoderError(
                f"{name} has different modules for queries and documents ({routed}), which is not supported. Use a "
                "model that encodes both with the same modules."
            )
        if self.kind not in kinds:
            raise EncoderError(
                f"{name} is a {self.kind or 'SentenceTransformer'} ({self.described()}), and cannot be used as a "
                f"{' or '.join(kind for kind in kinds if kind)}. Use a model that was saved as one."
            )

    def check_code(self, folder: Path | None = None, ours: Collection[str] = ()) -> None:
        """Check that loading the model runs only code of sentence-transformers, transformers and this library.

        sentence-transformers needs `trust_remote_code` for modules of this library, and then passes it to all modules.

        Args:
            folder: The folder of a model that may have modules of this library.
            ours: Their classes.

        Raises:
            ValueError: A module is of another package, or could run code that its configuration names.
        """
        allowed = ours if folder is not None else ()
        foreign = [module.type for module in self.modules if module.is_foreign and module.type not in allowed]
        if foreign:
            raise ValueError(f"its module {foreign[0]} is not part of sentence-transformers and may run any code.")
        if folder is None or not self.has_foreign:
            return
        if (code := next(folder.rglob("*.py"), None)) is not None:
            raise ValueError(f"it contains code ({code.name}).")
        for module in self.modules:
            if not module.is_foreign and not _has_no_code(module, folder):
                raise ValueError(f"its module {module.type} may run any code that its configuration names.")

    def described(self) -> str:
        """The classes of its modules, for messages."""
        return ", ".join(module.class_name for module in self.modules) or "no modules.json"


def read_saved_model(path: str, revision: str = "") -> SavedModel:
    """Read the description of a saved model.

    Args:
        path: Its folder, or its name on the model hub, from which the files are then downloaded.
        revision: Its commit on the hub; empty for the newest.

    Raises:
        EncoderError: One of the files is not valid JSON.
    """
    modules, config = (_read(path, revision, name) for name in ("modules.json", "config_sentence_transformers.json"))
    return SavedModel(
        tuple(SavedModule(str(module["type"]), str(module.get("path", ""))) for module in modules or ()),
        str((config or {}).get("model_type") or ""),
    )


def lasting_model_name(name: str) -> str:
    """Return a name that finds the same dense model from any working directory: the full path of a folder."""
    return str(Path(name).resolve()) if name and Path(name).is_dir() else name


def _read(path: str, revision: str, name: str) -> Any:  # noqa: ANN401 - JSON
    """A JSON file of a model; None if it has none of this name."""
    file: Path | str | None = Path(path) / name
    if not Path(path).is_dir():
        from sentence_transformers.util import load_file_path

        file = load_file_path(path, name, revision=revision or None)
    if file is None or not Path(file).is_file():
        return None
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise EncoderError(f"{file} is not valid JSON ({error}); save or download the model again.") from error


def _has_no_code(module: SavedModule, folder: Path) -> bool:
    """Whether a module of sentence-transformers runs no code that its configuration names."""
    if module.class_name != "Dense":
        return module.class_name in _WITHOUT_CODE
    config = _read(str(folder), "", str(Path(module.folder) / "config.json")) or {}
    return str(config.get("activation_function", "torch.")).startswith("torch.")
