"""An index of two tenants, and aliases that show one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opensearchpy import OpenSearch

from connector.encoders.text import TextEncoder
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import ingest_documents
from connector.ingest.prepare import prepare_encoder
from connector.types import Document, Hit
from tests.tiny import WORDS

QUERY = f"{WORDS[0]} {WORDS[1]}"
# The other tenant's document is nearest to the query.
DOCUMENTS = [
    Document("b1", QUERY, metadata={"tenant": "beta"}, routing="beta"),
    Document("a1", f"{WORDS[0]} {WORDS[2]} {WORDS[3]}", metadata={"tenant": "alpha"}, routing="alpha"),
    Document("b2", f"{WORDS[1]} {WORDS[4]} {WORDS[5]}", metadata={"tenant": "beta"}, routing="beta"),
    Document("a2", f"{WORDS[1]} {WORDS[6]} {WORDS[7]}", metadata={"tenant": "alpha"}, routing="alpha"),
]
ALPHA = {"filter": {"term": {"metadata.tenant": "alpha"}}}


def fill(
    client: OpenSearch,
    index: str,
    encoder: TextEncoder,
    documents: Sequence[Document] = DOCUMENTS,
    **options: Any,  # noqa: ANN401
) -> TextEncoder:
    sample = [document.content for document in DOCUMENTS]
    settings = {"number_of_shards": 3, "number_of_replicas": 0}
    said: dict[str, Any] = {"sample": sample, "settings": settings, "rescore": 4} | options
    told = prepare_encoder(client, index, encoder, **said)
    assert ingest_documents(documents, told, BulkWriter(client, index)).indexed == len(documents)
    client.indices.refresh(index=index)
    return told


def switch(client: OpenSearch, alias: str, index: str, **definition: object) -> None:
    """Let an alias name one index and no other, in one step."""
    actions: list[dict[str, Any]] = (
        [{"remove": {"index": "*", "alias": alias}}] if client.indices.exists_alias(name=alias) else []
    )
    actions.append({"add": {"index": index, "alias": alias, **definition}})
    client.indices.update_aliases(body={"actions": actions})


def ids(hits: Sequence[Hit]) -> list[str]:
    return sorted(hit.doc_id for hit in hits)
