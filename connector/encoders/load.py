"""Load an encoder by name: a shipped one, a folder, or a model on the hub."""

from __future__ import annotations

import json
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.util import load_file_path

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.base_model import (
    BaseModel,
    find_base_model,
    load_base_model,
    not_loaded,
    prompts_of,
)
from connector.encoders.comparable import ComparableEmbedding
from connector.encoders.device import choose_device
from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.folders import DEFAULT_ENCODER as DEFAULT_ENCODER
from connector.encoders.folders import QUERY_MODEL as QUERY_MODEL
from connector.encoders.folders import encoder_folder as encoder_folder
from connector.encoders.folders import head_folder as head_folder
from connector.encoders.folders import is_head, no_encoder
from connector.encoders.folders import lasting_name as lasting_name
from connector.encoders.folders import shipped_encoders as shipped_encoders
from connector.encoders.folders import shipped_heads as shipped_heads
from connector.encoders.graph import choose_backend
from connector.encoders.idf import QueryIdf
from connector.encoders.ivae import IdentifiableVAE
from connector.encoders.labels import read_labels
from connector.encoders.precision import Precision, choose_precision
from connector.encoders.saved_model import KINDS, SPARSE_KIND, read_saved_model
from connector.encoders.text import TextEncoder
from connector.encoders.thresholds import Thresholding, TopKMasking
from connector.encoders.unbuilt import UnbuiltDictionary
from connector.errors import EncoderError

_log = getLogger("ksparse.encoders")

_KINDS: dict[str, type[KSparseAutoEncoder]] = {"num_clusters": IdentifiableVAE, "num_coarse": TwoLevelDictionary}
"""Non-linear heads by a characteristic key of their `config.json`."""

_OUR_MODULES = {
    f"{module.__module__}.{module.__qualname__}"
    for module in (KSparseAutoEncoder, TwoLevelDictionary, QueryIdf, Thresholding, TopKMasking, ComparableEmbedding)
}


def load_encoder(
    name: str = DEFAULT_ENCODER,
    *,
    device: str | None = None,
    k: int | None = None,
    k_query: int | None = None,
    idf: bool = False,
    backend: str | None = None,
    precision: str | None = None,
) -> TextEncoder:
    """Load an encoder.

    Args:
        name: A shipped encoder (`shipped_encoders`), the folder of a head (`ksparse train`), or a `SparseEncoder` in a
            folder or on the model hub. A masked-language model is loaded as a SPLADE with max pooling. For a dense
            `SentenceTransformer`, a new index builds a dictionary.
        device: cuda, mps or cpu; None picks the best available.
        k: Features kept per document; None uses the head's number.
        k_query: Features kept per query; None uses the head's number.
        idf: Weight a SPLADE's query features by IDF (`TextEncoder.with_idf`).
        backend: Runtime of the dense model or the SPLADE: torch, openvino, or auto (OpenVINO on a CPU if `ksparse[cpu]`
            is installed). None reads KSPARSE_BACKEND, then falls back to auto.
        precision: Precision of a dense model: float32; bfloat16 or float16 on torch, which a GPU computes several times
            faster; int8 on OpenVINO. None reads KSPARSE_PRECISION, then falls back to float32.

    Raises:
        EncoderError: The encoder, device, backend or precision does not exist, or parts of the encoder do not match.
    """
    loaded = _load(
        name, choose_device(device), k=k, k_query=k_query, backend=backend, precision=choose_precision(precision)
    )
    _log.info("Encoder %s loaded on %s.", name, loaded.model.device)
    try:
        return loaded.with_idf() if idf else loaded
    except ValueError as error:
        raise EncoderError(f"{name}: {error}") from error


def _load(
    name: str, device: str, *, k: int | None, k_query: int | None, backend: str | None, precision: Precision
) -> TextEncoder:
    folder = encoder_folder(name)
    if is_head(folder):
        head = load_head(folder)
        if not head.base_model:
            raise EncoderError(f"{folder / 'config.json'} has no base_model; name the dense model of the head.")
        return with_base_model(
            head,
            device=device,
            k=k,
            k_query=k_query,
            labels=read_labels(folder),
            query_model=_load_query_model(folder / QUERY_MODEL),
            name=lasting_name(name),
            backend=backend,
            precision=precision,
        )
    source = BaseModel(lasting_name(name), str(folder)) if folder.exists() else find_base_model(name)
    saved = read_saved_model(source.path, source.revision)
    saved.check(name, (SPARSE_KIND,) if saved.is_sparse else KINDS)
    is_sparse = saved.is_sparse or (not saved.modules and _is_masked_lm(source))
    if not is_sparse and folder.exists() and not (folder / "modules.json").is_file():
        raise no_encoder(name)
    if not is_sparse and saved.modules:
        dense = load_base_model(source, device)
        head = UnbuiltDictionary(dense.get_embedding_dimension() or 0, source.name)
        chosen = choose_backend(backend, device, precision)
        return TextEncoder(
            join(dense, head), base_model=source.name, revision=source.revision, backend=chosen, precision=precision
        )
    if not is_sparse:
        raise EncoderError(
            f"{name} has no sparse module ({saved.described()}). "
            f"To search with a dense model, train a head: ksparse train CORPUS --base-model {name} --output HEAD."
        )
    # sentence-transformers needs the flag for the modules of this library. transformers must not see it: it would
    # download and run the code that a configuration names.
    untrusting = {"trust_remote_code": False}
    # Half precision is only for storage: it is slower on a CPU, and features must be equal everywhere.
    stored = {"torch_dtype": torch.float32}
    try:
        saved.check_code(folder if folder.is_dir() else None, _OUR_MODULES)
        model = SparseEncoder(
            source.path,
            device=device,
            revision=source.revision or None,
            trust_remote_code=saved.has_foreign,
            model_kwargs=stored | untrusting,
            processor_kwargs=untrusting,
            config_kwargs=untrusting,
        )
    except ValueError as error:
        raise not_loaded(name, error, "TextEncoder(model)") from error
    return TextEncoder(
        model,
        k=k,
        k_query=k_query,
        base_model=source.name,
        revision=source.revision,
        name=lasting_name(name),
        backend=choose_backend(backend, device, precision),
        precision=precision,
    )


def with_base_model(
    head: KSparseAutoEncoder,
    *,
    device: str | None = None,
    backend: str | None = None,
    precision: str | None = None,
    **options: Any,
) -> TextEncoder:
    """Combine a head with the dense model that it names.

    Args:
        head: The head, with `base_model` set.
        device: cuda, mps or cpu; None picks the best available.
        backend: As in `load_encoder`.
        precision: As in `load_encoder`.
        **options: Further arguments of `TextEncoder`.

    Raises:
        EncoderError: The model, device or backend does not exist, or the widths differ.
    """
    device = choose_device(device)
    exact = choose_precision(precision)
    chosen = choose_backend(backend, device, exact)
    base_model = find_base_model(head.base_model)
    dense = load_base_model(base_model, device)
    return TextEncoder(
        join(dense, head),
        base_model=base_model.name,
        revision=base_model.revision,
        backend=chosen,
        precision=exact,
        **options,
    )


def join(dense: SentenceTransformer, head: KSparseAutoEncoder) -> SparseEncoder:
    """Combine a dense model and a head into one `SparseEncoder`.

    Raises:
        EncoderError: The widths differ.
    """
    dim = dense.get_embedding_dimension()
    if dim != head.dim:
        raise EncoderError(f"The dense model has {dim} dimensions, the head was trained for {head.dim}.")
    return SparseEncoder(
        modules=[*dense, head.to(dense.device)],
        device=str(dense.device),
        prompts=prompts_of(dense),
        similarity_fn_name="dot",
    )


def load_head(folder: Path) -> KSparseAutoEncoder:
    """Load a head of any kind from a folder."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = next((kind for key, kind in _KINDS.items() if key in config), KSparseAutoEncoder)
    return kind.load(str(folder))


def _load_query_model(folder: Path) -> SentenceTransformer | None:
    """Load a static query model on the CPU, where its lookups are faster than a transfer to a GPU."""
    if not (folder / "modules.json").is_file():
        return None
    try:
        read_saved_model(str(folder)).check_code()
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    except ValueError as error:
        raise not_loaded(str(folder), error, "TextEncoder(model, query_model=query_model)") from error
    return model.float().eval()


def _is_masked_lm(source: BaseModel) -> bool:
    """Whether a model is a masked-language model, the usual format of SPLADE models."""
    path = load_file_path(source.path, "config.json", revision=source.revision or None)
    if path is None:
        return False
    architectures = json.loads(Path(path).read_text(encoding="utf-8")).get("architectures") or []
    return any(str(name).endswith("ForMaskedLM") for name in architectures)
