"""Hybrid search with filters.

    python examples/hybrid_with_filters.py --index enzymes

Filters are part of the query, so all hits match them, and scores do not change.
"""

from __future__ import annotations

import argparse
import os

from connector import Document, NewIndex, SparseIndex

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
    index = SparseIndex(parser.parse_args().index, url=URL, new=NewIndex(fields=FIELDS))
    index.add(DOCUMENTS)

    query = "which enzyme feeds plants, rubisco?"
    found = {
        "features": index.search(query, top_k=3),
        "hybrid": index.search(query, top_k=3, hybrid=True),
        "hybrid, English, since 2020": index.search(
            query, top_k=3, hybrid=True, filters={"lang": "en", "year": {"$gte": 2020}}
        ),
    }
    for name, hits in found.items():
        print(f"{name}: {' '.join(hit.id for hit in hits)}")


if __name__ == "__main__":
    main()
