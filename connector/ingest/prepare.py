"""An index for an encoder, and the encoder for the index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from connector.encoders.text import TextEncoder, adapt
from connector.errors import EncoderMismatchError
from connector.index.schema import existing_schema, prepare_index, read_schema


def prepare_encoder(
    client: OpenSearch,
    index: str,
    encoder: TextEncoder,
    *,
    sample: Callable[[], Sequence[str]] | Sequence[str] = (),
    fields: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TextEncoder:
    """Create an index unless it exists, and return the encoder to write it with: the given one, told its statistics.

    Args:
        client: A ready client.
        index: Its name.
        encoder: To encode with.
        sample: Texts of documents, thousands at best, that a new index's statistics are taken from; or a function
            that returns some, called if they are needed. Without any, a new index has none.
        fields: Further top-level fields, from name to mapping type.
        settings: Index settings, for a new index.

    Raises:
        ClusterError: The server is away, or does not permit to create the index or to write into it.
        IndexMappingError: The index exists with another mapping, or its name or a field is refused.
        EncoderMismatchError: It was written by another encoder.
    """
    schema = read_schema(client, index)
    if schema is None:
        texts = () if encoder.head is None else sample() if callable(sample) else sample
        statistics = encoder.measure_statistics(texts) if texts else None
        told = encoder.with_statistics(statistics)
        try:
            prepare_index(client, index, told.fingerprint, statistics=statistics, fields=fields, settings=settings)
        except EncoderMismatchError:
            # Another job made it in the meantime, from another sample.
            schema = existing_schema(client, index)
        else:
            return told
    encoder = adapt(encoder, schema.statistics)
    prepare_index(client, index, encoder.fingerprint, fields=fields)
    return encoder
