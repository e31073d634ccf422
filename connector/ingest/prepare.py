"""An index for an encoder, and the encoder for the index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from opensearchpy import OpenSearch

from connector.errors import EncoderError, EncoderMismatchError
from connector.index.companion import Companion, delete_companion, store_companion
from connector.index.names import check_index_name
from connector.index.schema import (
    check_new_index,
    existing_schema,
    prepare_index,
    read_schema,
)
from connector.ingest.index_encoder import encoder_of, load_index_encoder
from connector.types import SearchDefaults
from connector.vectors.codes import Bits, CodeBits, RotatedCode
from connector.vectors.statistics import CorpusStatistics
from connector.vectors.storage import find_weight_exponent

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder
    from connector.ingest.own_dictionary import OwnDictionary

_log = getLogger("ksparse.ingest")

_MEASURED = 64
"""Documents that tell how long embeddings are, and how small weights."""

_DICTIONARY_SEARCH = SearchDefaults(window=300)
"""Cells find more candidates than a head does, and say less of their order."""


def prepare_encoder(
    client: OpenSearch,
    index: str,
    encoder: TextEncoder,
    *,
    sample: Callable[[], Sequence[str]] | Sequence[str] = (),
    dictionary: OwnDictionary | None = None,
    rescore: CodeBits = None,
    search: SearchDefaults | None = None,
    fields: Mapping[str, str] | None = None,
    mappings: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TextEncoder:
    """Create an index unless it exists, and return the encoder to write it with: the given one, told its statistics.

    Args:
        client: A ready client.
        index: Its name.
        encoder: To encode with.
        sample: Texts of documents, thousands at best, that a new index's statistics are taken from; or a function
            that returns some, called if they are needed. Without any, a new index has none.
        dictionary: Builds the dictionary of a new index; None keeps the encoder's own head.
        rescore: Keep a code of the dense embedding, so many bits a dimension, with each document of a new index, to
            put the first hits into the dense order. "auto" is 3 with a dictionary, 4 with another head, and none
            without a dense model.
        search: How a new index is searched where a search does not say.
        fields: Further top-level fields, from name to mapping type.
        mappings: Further parts of a new index's mapping, as in `index_body`.
        settings: Index settings, for a new index.

    Raises:
        ClusterError: The server is away, or does not permit to create the index or to write into it.
        IndexMappingError: The index exists with another mapping, or its name or a field is refused.
        EncoderMismatchError: It was written by another encoder.
        ValueError: A field cannot have its name.
        EncoderError: `rescore` is asked for, and the encoder has no dense embedding.
    """
    check_index_name(index)
    schema = read_schema(client, index)
    if schema is None:
        # Before what takes long.
        check_new_index(client, index, fields=fields, mappings=mappings)
        own = dictionary.build(encoder) if dictionary is not None else None
        made = _new_encoder(own or encoder, sample, rescore)
        kept = _store_dictionary(client, index, made.encoder)
        try:
            prepare_index(
                client,
                index,
                made.encoder.fingerprint,
                encoder_name=made.encoder.name,
                statistics=made.statistics,
                code=made.encoder.code,
                weight_exponent=made.weight_exponent,
                search=search or (_DICTIONARY_SEARCH if kept is not None else None),
                dictionary=kept,
                fields=fields,
                mappings=mappings,
                settings=settings,
            )
        except BaseException as error:
            if kept is not None:
                schema = read_schema(client, index)
                if schema is None or schema.dictionary != kept:
                    delete_companion(client, kept)
            if not isinstance(error, EncoderMismatchError):
                raise
            # Another job made it in the meantime, from another sample.
            schema = existing_schema(client, index)
            if own is not None:
                encoder = load_index_encoder(client, schema, device=str(encoder.model.device))
        else:
            return made.encoder
    told = encoder_of(schema, encoder)
    prepare_index(client, index, told.fingerprint, fields=fields)
    return told


class _NewEncoder(NamedTuple):
    """The encoder of a new index, and what the index keeps of it."""

    encoder: TextEncoder
    statistics: CorpusStatistics | None
    weight_exponent: int


def _new_encoder(
    encoder: TextEncoder, sample: Callable[[], Sequence[str]] | Sequence[str], rescore: CodeBits
) -> _NewEncoder:
    """Calibrate an encoder on the sample, unless it is a dictionary that was built from it."""
    texts = () if encoder.statistics is None else sample() if callable(sample) else sample
    if encoder.has_dictionary:
        statistics: CorpusStatistics | None = encoder.statistics
    elif texts:
        statistics = encoder.measure_statistics(texts)
    else:
        # What a SPLADE was told is written down even so: a search that has the same SPLADE alone must know of it.
        statistics = encoder.statistics if encoder.is_splade else None
    calibrated = encoder.with_statistics(statistics)
    some = calibrated.encode_document(list(texts[:_MEASURED])) if texts else None
    bits = _usual_bits(calibrated) if rescore == "auto" else rescore
    if bits is not None:
        calibrated = calibrated.with_code(_code_for(calibrated, texts, bits))
    exponent = find_weight_exponent(some.weights, margin=1) if some is not None and some.weights.any() else 0
    return _NewEncoder(calibrated, statistics, exponent)


def _store_dictionary(client: OpenSearch, index: str, encoder: TextEncoder) -> Companion | None:
    if not encoder.has_dictionary:
        return None
    from connector.encoders.dictionary import TwoLevelDictionary
    from connector.encoders.dictionary_file import pack_dictionary

    return store_companion(client, index, pack_dictionary(cast("TwoLevelDictionary", encoder.head)))


def _code_for(encoder: TextEncoder, texts: Sequence[str], bits: Bits) -> RotatedCode:
    if encoder.head is None or encoder.statistics is None:
        raise EncoderError("rescoring needs a dense model with a K-sparse head; this encoder is of another kind.")
    some = encoder.embed(list(texts[:_MEASURED])) if texts else None
    norm = float(np.linalg.norm(some, axis=1).max()) if some is not None else 1.0
    return encoder.make_code(bits, norm)


def _usual_bits(encoder: TextEncoder) -> Bits | None:
    """At 3 bits, codes of principal components come as close to the dense order as others at 4."""
    if encoder.head is None:
        return None
    return 3 if encoder.has_dictionary else 4
