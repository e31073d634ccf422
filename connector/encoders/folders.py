"""Locate encoders: shipped ones in this package, and folders. Torch is not imported here."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from connector.errors import EncoderError

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
"""The shipped head on the dense model of that name: 64 features per document, 32 per query."""

QUERY_MODEL = "query_model"
"""Subfolder of a head for the query model."""


def shipped_heads() -> dict[str, Path]:
    """Return the folders of shipped heads by name."""
    return {name: folder for name, folder in shipped_encoders().items() if is_head(folder)}


def shipped_encoders() -> dict[str, Path]:
    """Return the folders of shipped heads and complete models by name."""
    folders = sorted(Path(str(resources.files("connector"))).glob("heads/*/"))
    return {folder.name: folder for folder in folders if is_head(folder) or (folder / "modules.json").is_file()}


def encoder_folder(name: str) -> Path:
    """Return the folder of a shipped encoder, or the name as a path."""
    return shipped_encoders().get(name, Path(name))


def lasting_name(name: str) -> str:
    """Return a name that loads the same encoder from any working directory."""
    if name in shipped_encoders() or not Path(name).exists():
        return name
    return str(Path(name).resolve())


def is_head(folder: Path) -> bool:
    """Whether a folder contains a head without its dense model.

    Raises:
        EncoderError: Its configuration is not valid JSON.
    """
    config = folder / "config.json"
    if not config.is_file():
        return False
    try:
        return not {"num_latents", "num_coarse"}.isdisjoint(json.loads(config.read_text(encoding="utf-8")))
    except ValueError as error:
        raise EncoderError(f"{config} is not valid JSON ({error}); write the head again.") from error
