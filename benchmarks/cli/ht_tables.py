"""`ht-table1` to `ht-table3`, and `ht-idf`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.options import datasets_argument
from benchmarks.cli.stage import Options, common, on_stage, print_result


def table_command(suite: str, what: str) -> click.Command:
    """Create the command of a suite."""

    @click.command(suite, help=what)
    @datasets_argument
    @click.option(
        "--train",
        "corpora",
        multiple=True,
        required=True,
        type=click.Path(exists=True, path_type=Path),
        help="Training corpus with train queries; repeatable. All tables share the models.",
    )
    @click.option("--start", required=True, help="Initial SPLADE of all models: a folder or a name.")
    @click.option(
        "--steps", type=click.IntRange(1), default=20_000, show_default=True, help="Training steps of each model."
    )
    @click.option(
        "--max-minutes",
        type=click.FloatRange(min=0, min_open=True),
        help="Stop training each model after this many minutes.",
    )
    @click.option(
        "--max-length", type=click.IntRange(1), default=128, show_default=True, help="Maximum tokens per text."
    )
    @click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), default=2e-5, show_default=True)
    @click.option(
        "--threshold-learning-rate", type=click.FloatRange(min=0, min_open=True), default=2e-3, show_default=True
    )
    @click.option("--documents", type=click.IntRange(100), help="Maximum number of documents per set.  [default: all]")
    @common
    def table(
        datasets: tuple[Path, ...],
        corpora: tuple[Path, ...],
        start: str,
        max_minutes: float | None,
        documents: int | None,
        options: Options,
        **training: float,
    ) -> None:
        from benchmarks.compare import Plan
        from benchmarks.ht_tables import TABLES, Models, systems_of, to_rows
        from benchmarks.suites import PREFIX, subset
        from connector.training.distillation import embed_corpora
        from connector.training.embeddings import EmbeddingCache
        from connector.training.sources import read_sources
        from connector.training.splade.settings import SpladeSettings

        rows = TABLES[suite]
        base = SpladeSettings(max_seconds=max_minutes * 60 if max_minutes else None, **training)  # type: ignore[arg-type]
        with on_stage(options, datasets) as stage:
            result = stage.open_result(
                suite,
                "-".join(path.resolve().name for path in datasets),
                datasets=[path.resolve().name for path in datasets],
                trained_on=[path.resolve().name for path in corpora],
                start=Path(start).name,
                most_documents=documents,
                most_queries=options.max_queries,
                max_minutes=max_minutes,
                **training,
            )
            model = stage.encoder.fingerprint.base_model
            embedder = EmbeddingCache(stage.encoder.dense_model(), model, options.cache)
            corpora_with_teacher = embed_corpora(read_sources(corpora), embedder, report=stage.report)
            for path in datasets:
                name = path.resolve().name
                if name in result.groups:
                    continue
                data = stage.encode(path, k_doc=1, k_query=1)
                if documents is not None and documents < len(data.documents):
                    data = subset(data, documents, queries=options.max_queries)
                models = Models(corpora_with_teacher, start, model, base, options.cache / "ht", stage.report)
                systems = systems_of(rows, models, data, f"{PREFIX}-ht")
                _, *measured = stage.compare(data, systems, Plan(rounds=options.rounds))
                result.add(name, to_rows(rows, models, data, measured))
        print_result(result)

    return table
