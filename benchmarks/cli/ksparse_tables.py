"""`ksparse-table1` to `ksparse-table3`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from benchmarks.cli.options import cache_option, rows_option
from connector.cli.progress import stages


def table_command(number: int, what: str) -> click.Command:
    """Create the command `ksparse-tableN`."""

    @click.command(f"ksparse-table{number}", help=f"Table {number} of the K-sparse paper: {what}. Needs no server.")
    @click.argument("corpora", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
    @click.option(
        "--test",
        required=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="The judged set (in the paper SciFact), which must not be among the training CORPORA.",
    )
    @click.option(
        "--steps", type=click.IntRange(1), default=1_200, show_default=True, help="Training steps of each head."
    )
    @cache_option
    @rows_option
    def table(corpora: tuple[Path, ...], test: Path, steps: int, cache: Path, output: Path | None) -> None:
        from benchmarks import ksparse_tables
        from benchmarks.datasets import check_sets
        from benchmarks.report import rows_to_markdown
        from benchmarks.results import write_result
        from connector.encoders.base_model import DEFAULT_BASE_MODEL, find_base_model, load_base_model
        from connector.training.data import concatenate
        from connector.training.embeddings import EmbeddingCache
        from connector.training.sources import read_texts

        check_sets([test])
        dense = find_base_model(DEFAULT_BASE_MODEL)
        embedder = EmbeddingCache(load_base_model(dense, "cpu"), dense.name, cache)
        with stages(quiet=False) as report:
            parts = [read_texts(path).embed(embedder, report, lexical=False) for path in corpora]
            bench = ksparse_tables.Bench(
                data=concatenate(parts),
                test=test,
                base_model=DEFAULT_BASE_MODEL,
                embed=lambda texts, task: embedder.embed(
                    texts, task=task, progress=partial(report, "embedding the test set")
                ),
                heads=cache / "heads",
                steps=steps,
                report=report,
            )
            rows = ksparse_tables.TABLES[number](bench)
        click.echo(rows_to_markdown(rows))
        if output is not None:
            params: dict[str, object] = {
                "trained on": [path.name for path in corpora],
                "documents": len(bench.data.documents),
            }
            params |= {"test": test.name, "steps": steps, "base_model": DEFAULT_BASE_MODEL}
            write_result(output, f"ksparse-table{number}", params, {test.name: rows})

    return table
