"""Where encoders lie: heads and models inside this package, and folders. Torch is not imported here."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from connector.errors import EncoderError

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
"""The shipped head: documents 64 and queries 32 of its latents, over the dense model of that name."""

QUERY_MODEL = "query_model"
"""Folder inside of a head's, of a model that embeds queries in the dense model's place."""


def shipped_heads() -> dict[str, Path]:
    """Return the heads inside this package, from name to folder."""
    return {name: folder for name, folder in shipped_encoders().items() if is_head(folder)}


def shipped_encoders() -> dict[str, Path]:
    """Return the heads and the whole models inside this package, from name to folder."""
    folders = sorted(Path(str(resources.files("connector"))).glob("heads/*/"))
    return {folder.name: folder for folder in folders if is_head(folder) or (folder / "modules.json").is_file()}


def encoder_folder(name: str) -> Path:
    """Return where a shipped encoder lies, or the path that any other name would be."""
    return shipped_encoders().get(name, Path(name))


def lasting_name(name: str) -> str:
    """A name by which the same encoder is loaded from any folder of this machine."""
    if name in shipped_encoders() or not Path(name).exists():
        return name
    return str(Path(name).resolve())


def is_head(folder: Path) -> bool:
    """Whether a folder holds a head alone.

    Raises:
        EncoderError: Its configuration cannot be read.
    """
    config = folder / "config.json"
    if not config.is_file():
        return False
    try:
        return not {"num_latents", "num_coarse"}.isdisjoint(json.loads(config.read_text(encoding="utf-8")))
    except ValueError as error:
        raise EncoderError(f"{config} is not valid JSON ({error}); write the head again.") from error
