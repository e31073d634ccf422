"""Hybrid search with filters.

    python examples/hybrid_with_filters.py --index articles

Filters are clauses of OpenSearch's query language. They are part of the query, so all hits match them, and scores do
not change.
"""

from __future__ import annotations

import argparse
import os

from connector import (
    BulkWriter,
    Document,
    NewIndex,
    Retriever,
    connect,
    ingest_documents,
    load_encoder,
    prepare_encoder,
)

URL = os.environ.get("OPENSEARCH_URL", "http://localhost:9200")
# Metadata accepts any keys and compares values as strings; fields for ranges of numbers or dates are declared.
FIELDS = {"year": "integer"}
DOCUMENTS = [
    Document("1", "Plants make sugar from light.", metadata={"lang": "en"}, fields={"year": 2019}),
    Document("2", "The RuBisCO enzyme fixes carbon in plants.", metadata={"lang": "en"}, fields={"year": 2023}),
    Document("3", "Cats sleep on warm stones.", metadata={"lang": "en"}, fields={"year": 2024}),
    Document("4", "RuBisCO bindet Kohlenstoff in Pflanzen.", metadata={"lang": "de"}, fields={"year": 2024}),
]


def main() -> None:
    """Index four documents and run three searches."""
    parser = argparse.ArgumentParser(description="Hybrid search with filters.")
    parser.add_argument("--index", required=True)
    index = parser.parse_args().index
    client = connect(URL)
    sample = [document.content for document in DOCUMENTS]
    encoder = prepare_encoder(client, index, load_encoder(), sample=sample, new=NewIndex(fields=FIELDS))
    ingest_documents(DOCUMENTS, encoder, BulkWriter(client, index))

    retriever = Retriever(client, index, encoder)
    english = {"term": {"metadata.lang": {"value": "en"}}}
    recent = {"range": {"year": {"gte": 2020}}}
    query = "which enzyme feeds plants, rubisco?"
    found = {
        "features": retriever.search(query, top_k=3),
        "hybrid": retriever.search_hybrid(query, top_k=3),
        "hybrid, English, since 2020": retriever.search_hybrid(query, top_k=3, filters=[english, recent]),
    }
    for name, hits in found.items():
        print(f"{name}: {' '.join(hit.doc_id for hit in hits)}")


if __name__ == "__main__":
    main()
