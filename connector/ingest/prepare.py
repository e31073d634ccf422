"""Create an index and calibrate its encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from logging import getLogger
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from connector.errors import EncoderError, EncoderMismatchError
from connector.index.companion import Companion, delete_companion, store_companion
from connector.index.drop import is_in_use
from connector.index.meta import IndexMeta
from connector.index.names import check_index_name
from connector.index.new_index import DEFAULT_INDEX, NewIndex
from connector.index.patience import patiently
from connector.index.schema import (
    check_new_index,
    existing_schema,
    prepare_index,
    read_schema,
)
from connector.ingest.index_encoder import encoder_of, fitting_encoder, load_index_encoder
from connector.ingest.sample import with_finite
from connector.query.settings import SearchSettings
from connector.training.dictionary.settings import MIN_DOCUMENTS
from connector.vectors.codes import Bits, CodeBits, RotatedCode, UniformBits
from connector.vectors.statistics import CorpusStatistics
from connector.vectors.storage import find_weight_exponent

if TYPE_CHECKING:
    from connector.encoders.dictionary import TwoLevelDictionary
    from connector.encoders.text import TextEncoder
    from connector.ingest.own_dictionary import OwnDictionary

_log = getLogger("ksparse.ingest")

_MEASURED = 64
"""Size of the sample that determines the range of weights."""

_EMBEDDED = 1_000
"""Size of the sample that determines the mean embedding and the norm."""

Known = tuple[Sequence[str], NDArray[np.float32]]
"""Texts of documents and their embeddings."""

_WINDOW, _WINDOW_CELLS, _MAX_WINDOW = 200, 30_000, 250
"""Default rescoring window for a dictionary of that many cells (50,000 documents), and for a large one."""


def prepare_encoder(
    client: OpenSearch,
    index: str,
    encoder: TextEncoder,
    *,
    sample: Callable[[], Sequence[str]] | Sequence[str] = (),
    dictionary: OwnDictionary | None = None,
    new: NewIndex = DEFAULT_INDEX,
) -> TextEncoder:
    """Create an index unless it exists, and return the calibrated encoder for writing it.

    Args:
        client: A connected client.
        index: Name of the index.
        encoder: The encoder.
        sample: Texts of documents, preferably thousands, to measure the statistics of a new index on; or a function
            that returns them, called if needed. Without a sample, a new index has no statistics.
        dictionary: Builds the dictionary of a new index; None keeps the encoder's head.
        new: Properties of a new index; an existing index must have its fields.

    Raises:
        ClusterError: The server is unreachable, or denies creating the index or writing to it.
        IndexMappingError: The index exists with another mapping, or its name or a field is invalid.
        EncoderMismatchError: Another encoder wrote the index.
        ValueError: A field name is invalid.
        EncoderError: The encoder cannot have codes of `code_bits`: it has no dense embeddings, no dictionary for 3
            bits, or a number of dimensions of which these bits do not fill whole bytes. Or it has dense embeddings,
            and none of the sample is finite.
    """
    check_index_name(index)
    schema = read_schema(client, index)
    if schema is None:
        # Check before slow work.
        check_new_index(client, index, new)
        own = dictionary.build(encoder) if dictionary is not None else None
        if own is None and encoder.needs_dictionary:
            raise EncoderError(_needs_documents(encoder, dictionary))
        _check_bits(own or encoder, new.code_bits, has_few_documents=dictionary is not None)
        known = dictionary.known if dictionary is not None else None
        made, meta = _new_encoder(own or encoder, sample if new.calibrate else (), new.code_bits, known)
        kept, stored_now = _store_dictionary(client, index, made)
        if kept is not None:
            search = new.search or SearchSettings()
            cells = cast("TwoLevelDictionary", made.head).num_latents
            window = window_for(cells) if search.window is None else search.window
            meta = replace(meta, dictionary=kept, search=replace(search, window=window))
        try:
            # The dictionary took minutes or hours.
            patiently(
                partial(prepare_index, client, index, meta, new),
                what=f"Creating {index!r}",
                given_up=f"Index {index!r} could not be created",
            )
        except BaseException as error:
            if kept is not None and stored_now and not is_in_use(client, kept.index):
                delete_companion(client, kept)
            if not isinstance(error, EncoderMismatchError):
                raise
            # Another job has created it meanwhile, from another sample.
            schema = existing_schema(client, index)
            if own is not None:
                encoder = load_index_encoder(client, schema, device=encoder.device)
        else:
            return made
    if len(schema.names) > 1:
        _log.warning(
            "%s spans %d indices, and documents are written into one of them; those that another one contains are then "
            "stored twice.",
            *(index, len(schema.names)),
        )
    calibrated = encoder_of(schema, fitting_encoder(client, schema, encoder))
    prepare_index(client, index, IndexMeta(calibrated.fingerprint), new)
    return calibrated


def window_for(cells: int) -> int:
    """Return the default rescoring window: the more documents, the lower neighbours rank among the candidates.

    Args:
        cells: Number of cells of the dictionary: 0.6 n for n documents, up to 524,288.
    """
    grown: float = max(1.0, cells / _WINDOW_CELLS) ** (1 / 3)
    return min(round(_WINDOW / 10 * grown) * 10, _MAX_WINDOW)


def _new_encoder(
    encoder: TextEncoder,
    sample: Callable[[], Sequence[str]] | Sequence[str],
    code_bits: CodeBits,
    known: Known | None,
) -> tuple[TextEncoder, IndexMeta]:
    """Calibrate the encoder, unless it is a dictionary built from the sample; return it and the index's `_meta`.

    A dense model embeds a text of the sample once, or not at all if its embedding is known.
    """
    texts = () if encoder.statistics is None else sample() if callable(sample) else sample
    if known is None and texts and encoder.head is not None:
        some = texts[:: -(-len(texts) // (_MEASURED if encoder.has_dictionary else _EMBEDDED))]
        known = with_finite(some, encoder.embed(some), encoder.precision)
    embeddings = known[1] if known is not None else None
    if encoder.has_dictionary:
        statistics: CorpusStatistics | None = encoder.statistics
    elif texts:
        statistics = encoder.measure_statistics(texts, embeddings)
    else:
        # SPLADE's statistics are stored, too: a search that loads the same SPLADE needs them.
        statistics = encoder.statistics if encoder.is_splade else None
    calibrated = encoder.with_statistics(statistics)
    exponent = _exponent_for(calibrated, texts, known)
    if code_bits is not None and (code_bits != "auto" or calibrated.head is not None):
        calibrated = calibrated.with_code(_code_for(calibrated, code_bits, embeddings))
    meta = IndexMeta(calibrated.fingerprint, calibrated.name, statistics, calibrated.code, exponent)
    return calibrated, meta


def _exponent_for(encoder: TextEncoder, texts: Sequence[str], known: Known | None) -> int:
    """The weight exponent of a new index, from documents of the sample; 0 without a sample."""
    if known is not None:
        weights = encoder.encode_embedded(known[1][:_MEASURED], known[0][:_MEASURED]).weights
    elif texts:
        weights = encoder.encode_document(texts[:_MEASURED]).weights
    else:
        return 0
    return find_weight_exponent(weights, margin=1)


def _store_dictionary(client: OpenSearch, index: str, encoder: TextEncoder) -> tuple[Companion | None, bool]:
    """As `store_companion`; None without a dictionary."""
    if not encoder.has_dictionary:
        return None, False
    from connector.encoders.dictionary_file import pack_dictionary

    return store_companion(client, index, pack_dictionary(cast("TwoLevelDictionary", encoder.head)))


def _code_for(
    encoder: TextEncoder, bits: Bits | Literal["auto"], embeddings: NDArray[np.float32] | None
) -> RotatedCode:
    """The quantizer of a new index.

    Args:
        encoder: The calibrated encoder.
        bits: "auto" means 4, or 8 for an odd number of dimensions, of which 4 bits may not fill whole bytes.
        embeddings: Those of a sample, if any. The longest one sets the range of the codes' factors.
    """
    if encoder.head is None or encoder.statistics is None:
        raise EncoderError("codes need a dense model with a K-sparse head; this encoder has none.")
    norm = float(np.linalg.norm(embeddings, axis=1).max()) if embeddings is not None else 1.0
    if bits == "auto":
        bits = 4 if encoder.head.dim % 2 == 0 else 8
    return encoder.make_code(bits, norm)


def _check_bits(encoder: TextEncoder, bits: CodeBits, *, has_few_documents: bool) -> None:
    """Refuse codes that an encoder without a dictionary cannot have, before a sample is embedded.

    Args:
        encoder: The encoder of a new index.
        bits: Bits of the codes.
        has_few_documents: Whether a dictionary would have been built from more documents.
    """
    if bits is None or bits == "auto" or encoder.head is None or encoder.has_dictionary:
        return
    if bits == 3:
        why = (
            f"which is built from at least {MIN_DOCUMENTS:,} documents, and there are fewer"
            if has_few_documents
            else "which an index with a fixed encoder does not get"
        )
        raise EncoderError(f"Codes of 3 bits need a dictionary, {why}; use 1, 2, 4 or 8.")
    dim = encoder.head.dim
    if dim * bits % 8:
        fitting = " or ".join(str(each) for each in get_args(UniformBits) if dim * each % 8 == 0)
        raise EncoderError(
            f"{dim} dimensions of {bits} bits do not fill whole bytes, as codes without a dictionary must; "
            f"use {fitting} bits."
        )


def _needs_documents(encoder: TextEncoder, dictionary: OwnDictionary | None) -> str:
    name = encoder.fingerprint.base_model
    few = "but there are fewer" if dictionary is not None else "but this index is created without one"
    return (
        f"{name} is a dense model without a head: a new index builds a dictionary for it from at least "
        f"{MIN_DOCUMENTS:,} documents, {few}. Use the shipped encoder, or train a head: ksparse train CORPUS "
        f"--base-model {name} --output HEAD."
    )
