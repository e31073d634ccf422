"""Save a dictionary with its card, as a folder for `--encoder`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import save_file

from connector.encoders.labels import LABELS_FILE
from connector.training.dictionary.fit import FittedDictionary
from connector.training.dictionary.settings import DictionarySettings
from connector.training.report import Counts, corpus_rows, library_versions


def save_dictionary(fitted: FittedDictionary, folder: Path, settings: DictionarySettings, *, data: Counts) -> None:
    """Write `model.safetensors` (cells with 2 bits per dimension), `config.json`, `training.json` and `README.md`.

    Args:
        fitted: The dictionary and its test result.
        folder: Folder, created if missing; files of these names are overwritten, and labels of another head deleted.
        settings: Settings of the dictionary.
        data: Numbers of documents and queries by corpus name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for of_another in ("config.json", LABELS_FILE):
        (folder / of_another).unlink(missing_ok=True)
    save_file(fitted.head.half_weights(), folder / "model.safetensors")
    # Last, because a folder with it counts as a head.
    fitted.head.save_config(str(folder))
    report = {
        "settings": asdict(settings),
        "data": {name: dict(counts) for name, counts in data.items()},
        "build_s": round(fitted.build_s, 1),
        "result": asdict(fitted.result) if fitted.result is not None else None,
        "versions": library_versions(),
    }
    (folder / "training.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(fitted, data), encoding="utf-8")


def summary(fitted: FittedDictionary) -> str:
    """Describe size and test result in one line."""
    head, result = fitted.head, fitted.result
    built = f"{head.num_latents:,} cells ({head.num_coarse:,} x {head.num_fine:,}) in {fitted.build_s:.1f} s"
    if result is None:
        return f"{built}; not tested, because there are no queries"
    return (
        f"{built}; on test queries {result.recall_at_100:.1%} of the dense top 10 in the first 100, "
        f"{result.ndcg_share:.1%} of dense NDCG@10 ({result.rescored_ndcg_share:.1%} rescored), "
        f"{result.postings:.3f} N postings per query"
    )


def _card(fitted: FittedDictionary, data: Counts) -> str:
    head = fitted.head
    return f"""# Dictionary for {head.base_model or "precomputed embeddings"}

Two levels of spherical k-means on the documents' embeddings of {head.dim} dimensions: {summary(fitted)}.
A document keeps {head.cells} cells and {head.k - head.cells} tokens, a query {head.query_cells} cells and
{head.k_query - head.query_cells} tokens. It only suits the corpus that it was built from.

| corpus | documents | test queries |
| --- | --- | --- |
{corpus_rows(data)}

Built by `ksparse train dictionary`; settings and versions are in `training.json`.
"""
