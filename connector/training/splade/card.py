"""Save a trained SPLADE with its card."""

from __future__ import annotations

import copy
from pathlib import Path

from connector.training.report import Counts, corpus_rows, write_report
from connector.training.splade.settings import SpladeSettings
from connector.training.splade.trainer import TrainedSplade


def save_splade(
    trained: TrainedSplade,
    folder: Path,
    settings: SpladeSettings,
    *,
    start: str,
    teacher: str,
    data: Counts,
) -> None:
    """Write the whole model, in half precision, `training.json` and `README.md`.

    Args:
        trained: The model and its history.
        folder: Folder, created if missing; files of these names are overwritten.
        settings: Settings of the run.
        start: Name of the initial SPLADE.
        teacher: Name of the dense teacher.
        data: Numbers of documents and queries by corpus name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Half the bytes; `load_encoder` converts it to float32.
    copy.deepcopy(trained.model).half().save_pretrained(str(folder), create_model_card=False)
    models = {"start": start, "teacher": teacher, "teacher_scale": trained.teacher_scale}
    write_report(folder, trained, settings, data, **models)
    (folder / "README.md").write_text(_card(trained, settings, start, teacher, data), encoding="utf-8")


def _card(
    trained: TrainedSplade,
    settings: SpladeSettings,
    start: str,
    teacher: str,
    data: Counts,
) -> str:
    course = "\n".join(
        f"| {each.step:,} | {each.ndcg:.3f} | {each.dlen:.0f} | {each.qlen:.1f} | {each.postings:.2f} N | "
        f"{each.document_threshold:.3f} | {each.query_threshold:.3f} |"
        for each in trained.validations
    )
    return f"""# SPLADE, {_method(settings)}

Trained by `ksparse train splade` from `{start}`, with {_teachers(settings, teacher)} as the teacher
(margin MSE): seed {settings.seed}, {trained.steps:,} steps of {settings.batch_size} queries in
{trained.elapsed_s / 60:.0f} minutes. All settings, losses and versions are in `training.json`.

| corpus | documents | training queries |
| --- | ---: | ---: |
{corpus_rows(data)}

On held-out queries, with exact search in a sample of their documents. The teacher's NDCG@10 is
{trained.validations[-1].teacher_ndcg:.3f} there:

| steps | NDCG@10 | weights per document | per query | postings read per query | t_D | t_Q |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{course}

`ksparse ingest CORPUS --index INDEX --encoder FOLDER` uses it. If ksparse is installed, sentence-transformers loads
it with `SparseEncoder(FOLDER, trust_remote_code=True)`.
"""


def _teachers(settings: SpladeSettings, teacher: str) -> str:
    own = settings.self_distillation
    return f"`{teacher}`" if not own else f"the initial model ({own:.0%}) and `{teacher}` ({1 - own:.0%})"


def _method(settings: SpladeSettings) -> str:
    idf = "query features weighted by IDF, " if settings.idf else ""
    return idf + _rules(settings)


def _rules(settings: SpladeSettings) -> str:
    if settings.rules is not None:
        query, document = settings.rules
        return (
            f"learned thresholds (queries {query}, documents {document}, K = {settings.steepness:g}, "
            f"lambda_T = {settings.lambda_t:g})"
        )
    return f"the {settings.k} largest weights per document" if settings.method == "topk" else "without thresholds"
