"""Search with your own dense model: fit a head for it to your corpus, without queries or judgements.

    python examples/own_model.py corpus.jsonl --model sentence-transformers/all-mpnet-base-v2 --index docs --minutes 10

The head is saved in a folder, which `--encoder` and `SparseIndex(encoder=)` take. With 1,000 documents
or more, `SparseIndex("docs", encoder=MODEL)` needs no head: it builds a dictionary.
"""

from __future__ import annotations

import argparse
import os
from itertools import islice
from pathlib import Path

from sentence_transformers import SentenceTransformer

from connector import Document, SparseIndex, TextEncoder, read_corpus
from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.load import join
from connector.training.heads.fit import fit_head

URL = os.environ.get("OPENSEARCH_URL", "http://localhost:9200")


def untrained(model: str) -> TextEncoder:
    """Add a new head to a dense model: 64 features per document and 32 per query, including tokens."""
    dense = SentenceTransformer(model)
    tokens = {"num_tokens": len(dense.tokenizer), "document_scale": 0.07, "query_scale": 0.13}
    dim = dense.get_embedding_dimension()
    assert dim is not None
    head = KSparseAutoEncoder(dim, 1_024, k=64, k_query=32, base_model=model, lexical_config=tokens)
    return TextEncoder(join(dense, head))


def main() -> None:
    """Fit the head, ingest the corpus and search."""
    parser = argparse.ArgumentParser(description="Search with your own dense model.")
    parser.add_argument("corpus", help="JSONL, CSV, TSV, Parquet or a BEIR folder; at least 200 documents.")
    parser.add_argument("--model", required=True, help="Folder or name of a sentence-transformers model.")
    parser.add_argument("--index", required=True)
    parser.add_argument("--head", type=Path, default=Path("my-head"), help="Folder for the head.  [default: my-head]")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--query", default="how do plants eat")
    arguments = parser.parse_args()

    documents = (record for record in read_corpus(arguments.corpus) if isinstance(record, Document))
    sample = [document.content for document in islice(documents, 50_000)]
    fitted = fit_head(untrained(arguments.model), sample, seconds=60 * arguments.minutes)
    fitted.save(arguments.head, Path(arguments.corpus).stem)
    print(f"{arguments.head}: {fitted.trained.best.ndcg_share:.1%} of dense NDCG@10 on held-out sentences")

    index = SparseIndex(arguments.index, encoder=arguments.head, url=URL)
    result = index.add(read_corpus(arguments.corpus), raise_on_error=False)
    print(f"{result.indexed} of {result.read} records indexed")
    for hit in index.search(arguments.query, top_k=3):
        print(f"{hit.score:.3f} {hit.id} {hit.text[:80]}")


if __name__ == "__main__":
    main()
