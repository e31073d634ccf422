"""Write a set as a new index by default settings, reusing its embeddings."""

from __future__ import annotations

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.progress import Report
from connector.encoders.text import TextEncoder
from connector.errors import ConnectorError
from connector.index.drop import drop_index
from connector.index.new_index import DEFAULT_INDEX, NewIndex
from connector.index.sizes import merge_index
from connector.index.writer import BulkWriter
from connector.ingest.own_dictionary import OwnDictionary
from connector.ingest.preparation import to_sparse_documents
from connector.ingest.prepare import prepare_encoder

_BLOCK = 2_000


def write_default_index(
    client: OpenSearch, index: str, data: EncodedSet, report: Report, *, new: NewIndex = DEFAULT_INDEX
) -> TextEncoder:
    """Replace an index by one of all documents of a set, merge it, and return its encoder.

    Raises:
        ConnectorError: A document was refused.
    """
    texts = [document.content for document in data.documents]
    drop_index(client, index)
    own = OwnDictionary(texts, documents=len(texts), embeddings=data.document_embeddings, progress=report)
    encoder = prepare_encoder(client, index, data.encoder, sample=texts, dictionary=own, new=new)
    writer = BulkWriter(client, index)
    for start in range(0, len(texts), _BLOCK):
        report("indexing", start / len(texts))
        rows = slice(start, start + _BLOCK)
        vectors = encoder.encode_embedded(data.document_embeddings[rows], texts[rows])
        result = writer.write(to_sparse_documents(data.documents[rows], vectors))
        if result.refused:
            raise ConnectorError(f"Index {index!r} refused {result.refused[0]}; its times would not be valid.")
    merge_index(client, index)
    return encoder
