"""An index of two tenants, and aliases that show one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from opensearchpy import OpenSearch

from connector.encoders.text import TextEncoder
from connector.index.new_index import NewIndex
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import ingest_documents
from connector.ingest.prepare import prepare_encoder
from connector.types import Document, Hit
from connector.vectors.codes import Bits
from tests.tiny import WORDS

QUERY = f"{WORDS[0]} {WORDS[1]}"
# The other tenant's document is nearest to the query.
DOCUMENTS = [
    Document("b1", QUERY, metadata={"tenant": "beta"}, routing="beta"),
    Document("a1", f"{WORDS[0]} {WORDS[2]} {WORDS[3]}", metadata={"tenant": "alpha"}, routing="alpha"),
    Document("b2", f"{WORDS[1]} {WORDS[4]} {WORDS[5]}", metadata={"tenant": "beta"}, routing="beta"),
    Document("a2", f"{WORDS[1]} {WORDS[6]} {WORDS[7]}", metadata={"tenant": "alpha"}, routing="alpha"),
]
SAMPLE = [document.content for document in DOCUMENTS]
ALPHA = {"filter": {"term": {"metadata.tenant": "alpha"}}}


def fill(
    client: OpenSearch,
    index: str,
    encoder: TextEncoder,
    documents: Sequence[Document] = DOCUMENTS,
    *,
    code_bits: Bits | None = 4,
    fields: Mapping[str, str] | None = None,
    sample: Sequence[str] = SAMPLE,
) -> TextEncoder:
    settings = {"number_of_shards": 3, "number_of_replicas": 0}
    new = NewIndex(code_bits=code_bits, fields=fields or {}, settings=settings)
    calibrated = prepare_encoder(client, index, encoder, sample=sample, new=new)
    assert ingest_documents(documents, calibrated, BulkWriter(client, index)).indexed == len(documents)
    client.indices.refresh(index=index)
    return calibrated


def fill_a_tenth(client: OpenSearch, index: str, encoder: TextEncoder) -> TextEncoder:
    """60 documents of random words; every tenth is of tenant alpha, and only these have its routing."""
    random = np.random.default_rng(0)
    documents = [
        Document(str(row), " ".join(random.choice(WORDS, 6)), metadata={"tenant": tenant}, routing=tenant)
        for row in range(60)
        for tenant in ("beta" if row % 10 else "alpha",)
    ]
    return fill(client, index, encoder, documents, sample=[document.content for document in documents])


def switch(client: OpenSearch, alias: str, index: str, **definition: object) -> None:
    """Let an alias name one index and no other, in one step."""
    actions: list[dict[str, Any]] = (
        [{"remove": {"index": "*", "alias": alias}}] if client.indices.exists_alias(name=alias) else []
    )
    actions.append({"add": {"index": index, "alias": alias, **definition}})
    client.indices.update_aliases(body={"actions": actions})


def ids(hits: Sequence[Hit]) -> list[str]:
    return sorted(hit.doc_id for hit in hits)
