"""Locate encoders: shipped ones in this package, and folders. Torch is not imported here."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from connector.encoders.saved_model import read_saved_model
from connector.errors import EncoderError

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
"""The shipped head on the dense model of that name: 64 features per document, 32 per query."""

SHIPPED_SPLADE = "bert-tiny-splade-ht"
"""The shipped SPLADE."""

OWN_ENCODER = "own"
"""Encoder name for a dictionary built from the documents of a new index."""

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


def check_encoder(name: str) -> None:
    """Check that an encoder exists and is of a supported kind, without importing torch, loading or downloading it.

    Raises:
        EncoderError: There is no encoder of this name, or it is of another kind.
    """
    folder = encoder_folder(name)
    if not folder.is_dir():
        from connector.encoders.base_model import find_base_model

        folder = Path(find_base_model(name).path)
    elif not any(folder.glob("*.json")):
        raise no_encoder(name)
    if folder.is_dir():
        read_saved_model(str(folder)).check(name)


def no_encoder(name: str) -> EncoderError:
    """The error for a folder without an encoder."""
    return EncoderError(
        f"{name} is neither a head (config.json with num_latents) nor a SparseEncoder (modules.json) nor a "
        "masked-language model. Give a folder written by `ksparse train` or by SparseEncoder.save_pretrained."
    )


def head_folder(name: str) -> Path:
    """Return the folder of a head, shipped or not.

    Raises:
        EncoderError: The head does not exist.
    """
    folder = encoder_folder(name)
    if not is_head(folder):
        raise EncoderError(
            f"{name} is not a head (a folder with config.json and num_latents). Shipped: {', '.join(shipped_heads())}; "
            "`ksparse train` writes others."
        )
    return folder


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
