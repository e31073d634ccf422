"""Save a trained head with its card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.labels import LABELS_FILE
from connector.training.heads.picture import plot_training
from connector.training.heads.settings import TrainingSettings
from connector.training.heads.trainer import TrainedHead
from connector.training.report import Counts, corpus_rows, write_report


def save_head(trained: TrainedHead, folder: Path, settings: TrainingSettings, *, data: Counts) -> None:
    """Write `model.safetensors` (half precision), `config.json`, `training.json`, `README.md` and `training.png`.

    Args:
        trained: The head and its history.
        folder: Folder, created if missing; files of these names are overwritten, and labels of another head deleted.
        settings: Settings of the run.
        data: Numbers of documents and queries by corpus name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for of_another in ("config.json", LABELS_FILE):
        (folder / of_another).unlink(missing_ok=True)
    weights = {name: tensor.half().contiguous() for name, tensor in trained.head.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    # Last, because a folder with it counts as a head.
    trained.head.save_config(str(folder))
    frontier = [asdict(result) for result in trained.frontier]
    histogram = _histogram(trained.document_frequencies)
    write_report(folder, trained, settings, data, frontier=frontier, document_frequencies=histogram)
    (folder / "README.md").write_text(_card(trained, settings, data), encoding="utf-8")
    plot_training(trained, folder / "training.png")


def _card(trained: TrainedHead, settings: TrainingSettings, data: Counts) -> str:
    head, best = trained.head, trained.best
    k = head.k if head.thresholds is None else f"at most {head.k}"
    return f"""# K-sparse head for {head.base_model or "precomputed embeddings"}

Encodes a dense embedding of {head.dim} dimensions as {k} features for a document and {head.k_query} for a query, which
are compared by their dot product: {_features(head)}.

Trained by `ksparse train` with the recipe `{settings.recipe}`, seed {settings.seed}, {trained.steps:,} steps of
{settings.batch_size} documents in {trained.elapsed_s / 60:.0f} minutes. All settings, losses and versions are in
`training.json`.

| corpus | documents | training queries |
| --- | --- | --- |
{corpus_rows(data)}

On held-out queries, each searched among at most 20,000 documents of its corpus, with {head.k} features per document and
{head.k_query} per query:

| figure | value |
| --- | --- |
| NDCG@10, relative to exact dense search | {best.ndcg_share:.1%} |
| the same, with the first 100 hits rescored by dense scores | {best.rescored_ndcg_share:.1%} |
| dense top 10 found in the sparse top 10 | {best.overlap_at_10:.1%} |
| dense top 10 found in the first 100 sparse hits | {best.recall_at_100:.1%} |
| postings read per query, per document of the corpus | {best.postings:.2f} |
| highest document frequency of a latent | {best.highest_document_frequency:.1%} |
| dead latents | {best.dead_latents:.1%} |

Other numbers of features (document/query):

| features | NDCG@10, of dense | rescored, of dense | dense top 10 in first 100 | postings | highest frequency |
| --- | ---: | ---: | ---: | ---: | ---: |
{_frontier(trained)}

![Losses, document frequencies and the frontier](training.png)
"""


def _frontier(trained: TrainedHead) -> str:
    return "\n".join(
        f"| {each.k}/{each.k_query} | {each.ndcg_share:.1%} | {each.rescored_ndcg_share:.1%} | "
        f"{each.recall_at_100:.1%} | {each.postings:.2f} N | {each.highest_document_frequency:.1%} |"
        for each in trained.frontier
    )


def _histogram(frequencies: NDArray[np.float32]) -> dict[str, list[float]]:
    """Histogram of latents by document frequency; dead ones are counted separately."""
    bounds = [0.0, *(10.0**exponent for exponent in np.arange(-5, 0.01, 0.25))]
    counts, _ = np.histogram(frequencies[frequencies > 0], bins=bounds)
    return {"above": bounds[:-1], "latents": counts.tolist(), "dead": [int((frequencies == 0).sum())]}


def _features(head: KSparseAutoEncoder) -> str:
    latents = f"{head.num_latents:,} latents"
    if head.lexical is None:
        return latents
    return f"{latents}, and the {int((head.lexical.token_weights > 0).sum()):,} rarer tokens of the model"
