"""Save a head with a static query encoder, and its card."""

from __future__ import annotations

import shutil
from pathlib import Path

from connector.encoders.load import QUERY_MODEL
from connector.training.report import Counts, corpus_rows, write_report
from connector.training.static_queries.settings import StaticSettings
from connector.training.static_queries.trainer import TrainedStatic


def save_static(
    trained: TrainedStatic,
    head: Path,
    folder: Path,
    settings: StaticSettings,
    *,
    base_model: str,
    data: Counts,
) -> None:
    """Copy the head, and write the query encoder (half precision), `training.json` and `README.md` to `query_model`.

    Args:
        trained: The query encoder and its history.
        head: Folder of the head.
        folder: Target folder, created if missing; may be the head's own.
        settings: Settings of the run.
        base_model: The dense model whose embeddings it approximates.
        data: Numbers of documents and queries by corpus name.
    """
    if head.resolve() != folder.resolve():
        shutil.copytree(head, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(QUERY_MODEL))
    own = folder / QUERY_MODEL
    trained.model.half().save_pretrained(str(own), create_model_card=False)
    trained.model.float()
    write_report(own, trained, settings, data, base_model=base_model)
    (own / "README.md").write_text(_card(trained, settings, base_model, data), encoding="utf-8")


def _card(trained: TrainedStatic, settings: StaticSettings, base_model: str, data: Counts) -> str:
    course = "\n".join(
        f"| {each.step:,} | {each.ndcg:.3f} | {each.ndcg / each.teacher_ndcg:.1%} | {each.cosine:.3f} |"
        for each in trained.validations
    )
    return f"""# Static query encoder for {base_model}

The mean of trained token embeddings, which approximates the dense model's embedding of a query. Documents are encoded
by the dense model.

Trained by `ksparse train queries`: seed {settings.seed}, {trained.steps:,} steps of {settings.batch_size} queries in
{trained.elapsed_s / 60:.0f} minutes. All settings, losses and versions are in `training.json`.

| corpus | documents | training queries |
| --- | ---: | ---: |
{corpus_rows(data)}

On held-out queries, with exact search in a sample of their documents. The dense model's query embeddings have NDCG@10
{trained.best.teacher_ndcg:.3f} there:

| steps | NDCG@10 | of the dense model | cosine |
| ---: | ---: | ---: | ---: |
{course}
"""
