"""Get an encoder by name: a head shipped here, a head or model folder, or a model on the hub."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from sentence_transformers import SentenceTransformer, SparseEncoder

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.base_model import BaseModel, find_base_model, load_base_model
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
"""The shipped head: documents 64 and queries 32 of its latents, over the dense model of that name."""


def shipped_heads() -> dict[str, Path]:
    """Return the heads inside this package, from name to folder."""
    heads = Path(str(resources.files("connector"))) / "heads"
    return {folder.name: folder for folder in sorted(heads.iterdir()) if _is_head(folder)}


def load_encoder(
    name: str = DEFAULT_ENCODER, *, device: str | None = None, k: int | None = None, k_query: int | None = None
) -> TextEncoder:
    """Load an encoder.

    Args:
        name: A shipped head (`shipped_heads`), the folder of a head as `ksparse train` writes it, the folder of a
            whole `SparseEncoder`, or a `SparseEncoder` on the model hub.
        device: cuda, mps or cpu; the best there is if None.
        k: Features kept per document, instead of the head's.
        k_query: Features kept per query, instead of the head's.

    Raises:
        EncoderError: There is no such encoder, or its parts do not fit each other.
    """
    folder = shipped_heads().get(name, Path(name))
    if _is_head(folder):
        head = KSparseAutoEncoder.load(str(folder))
        if not head.base_model:
            raise EncoderError(f"{folder / 'config.json'} names no base_model; say which dense model the head is for.")
        base_model = find_base_model(head.base_model)
        model = join(load_base_model(base_model, device), head)
        return TextEncoder(model, k=k, k_query=k_query, base_model=base_model.name, revision=base_model.revision)
    if folder.exists() and not (folder / "modules.json").is_file():
        raise EncoderError(
            f"{name} holds neither a head (config.json with num_latents) nor a SparseEncoder (modules.json). "
            "Give a folder written by `ksparse train` or by SparseEncoder.save_pretrained."
        )
    source = BaseModel(name, name) if folder.exists() else find_base_model(name)
    model = SparseEncoder(source.path, device=device, revision=source.revision or None)
    return TextEncoder(model, k=k, k_query=k_query, base_model=source.name, revision=source.revision)


def join(dense: SentenceTransformer, head: KSparseAutoEncoder) -> SparseEncoder:
    """Put a head behind a dense model: one `SparseEncoder` that saves, loads and runs as a whole.

    Raises:
        EncoderError: The dense model is not as wide as the head expects.
    """
    dim = dense.get_embedding_dimension()
    if dim != head.dim:
        raise EncoderError(f"The dense model has {dim} dimensions, the head was trained for {head.dim}.")
    prompts = {task: prompt for task, prompt in dense.prompts.items() if prompt}
    return SparseEncoder(
        modules=[*dense, head.to(dense.device)], device=str(dense.device), prompts=prompts, similarity_fn_name="dot"
    )


def _is_head(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and "num_latents" in json.loads(config.read_text(encoding="utf-8"))
