"""Table of the suite `dictionary-levers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.report import to_table


def dictionary_levers_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows of `dictionary-levers` as a Markdown table."""
    depths = [name for name in rows[0] if name.startswith("recall@") and name != "recall@window"]
    heads = (
        "change",
        *(f"in first {name.partition('@')[2]}" for name in depths),
        "any shared feature",
        "rescored",
        "in these",
        "of dense top 10",
        "NDCG@10 of dense",
        "postings",
    )
    lines = [
        (
            " and ".join(_SETTINGS[name].format(value) for name, value in row["change"].items()) or "default",
            *(f"{row[name]:.1%}" for name in depths),
            f"{row['recall']:.1%}",
            f"{row['window']:,}",
            f"{row['recall@window']:.1%}",
            f"{row['overlap@10']:.1%}",
            f"{row['ndcg_share']:.1%}",
            f"{row['postings_per_document']:.4f} N",
        )
        for row in rows
    ]
    return to_table(heads, lines)


_SETTINGS = {
    "density": "{} cells per document of the corpus",
    "cells": "{} cells kept per document",
    "spread": "spread {}",
    "probes": "{} coarse cells probed for a document",
    "query_probes": "{} coarse cells probed for a query",
    "query_cells": "{} cells per query",
    "query_tokens": "{} tokens per query",
    "window": "{} hits rescored",
    "order": "ranked by {} scores",
}
