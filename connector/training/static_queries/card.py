"""Write a head's folder with a query encoder in it, and a card that says where that comes from."""

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
    """Copy the head, and put the query encoder (half precision), `training.json` and `README.md` into `query_model`.

    Args:
        trained: The query encoder and its history.
        head: The folder of the head that it stands in front of.
        folder: Made if it is not there; may be the head's own.
        settings: What it was trained with.
        base_model: The dense model that it stands in for.
        data: From corpus name to its counts (documents, queries).
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
    return f"""# Queries for {base_model}, without a transformer

The mean of trained token embeddings, near to the dense model's embedding of a query. Documents stay the dense model's.

Trained by `ksparse train queries`: seed {settings.seed}, {trained.steps:,} steps of {settings.batch_size} queries in
{trained.elapsed_s / 60:.0f} minutes. All settings, losses and versions are in `training.json`.

| corpus | documents | training queries |
| --- | ---: | ---: |
{corpus_rows(data)}

On queries that were held out from training, searched exactly in a sample of their documents, where the dense model's
own query embeddings have NDCG@10 {trained.best.teacher_ndcg:.3f}:

| steps | NDCG@10 | of the dense model | cosine |
| ---: | ---: | ---: | ---: |
{course}
"""
