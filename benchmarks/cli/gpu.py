"""`gpu`."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path

import click

from benchmarks.cli.options import encoder_option
from connector.cli.progress import stages
from connector.encoders.precision import TORCH_PRECISIONS, choose_precision
from connector.errors import CorpusError


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks gpu packages beir/scifact
  python -m benchmarks gpu packages --documents 100000 --cells 262144 --seconds 60
"""
)
@click.argument("datasets", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@encoder_option
@click.option("--device", help="cuda, mps or cpu.  [default: the best available]")
@click.option(
    "--documents",
    type=click.IntRange(1_000),
    help="Maximum documents per corpus.  [default: 1,000,000; 2,000 on a CPU]",
)
@click.option("--texts", type=click.IntRange(1), help="Texts encoded in each turn.  [default: 50,000; 200 on a CPU]")
@click.option(
    "--cells", type=click.IntRange(600), help="Cells of the large dictionary.  [default: 1,048,576; 4,096 on a CPU]"
)
@click.option(
    "--seconds", type=click.FloatRange(1), help="Seconds of training, including embedding.  [default: 120; 10 on a CPU]"
)
@click.option("--rounds", type=click.IntRange(1), help="Turns of each encoder.  [default: 3; 2 on a CPU]")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(TORCH_PRECISIONS),
    help="Repeatable; the first is used for dictionaries and training.  [default: all, bfloat16 first on a GPU]",
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default=Path(".cache/gpu.json"), show_default=True
)
def gpu(
    datasets: tuple[Path, ...],
    encoder: str,
    device: str | None,
    documents: int | None,
    texts: int | None,
    cells: int | None,
    seconds: float | None,
    rounds: int | None,
    precisions: tuple[str, ...],
    output: Path,
) -> None:
    """Time encoding, dictionaries, training and a complete corpus on one device.

    Encoders take turns with sentence-transformers in the same precision. Needs no server.
    """
    from benchmarks.environment import describe_device, describe_machine
    from benchmarks.gpu import ON_CPU, ON_GPU, Sizes, run_all
    from benchmarks.results import ResultFile
    from connector.corpus.read import read_corpus
    from connector.encoders.device import choose_device
    from connector.training.dictionary.settings import MIN_DOCUMENTS
    from connector.types import Document

    device = choose_device(device)
    defaults = ON_CPU if device == "cpu" else ON_GPU
    sizes = Sizes(
        documents or defaults.documents,
        texts or defaults.texts,
        cells or defaults.cells,
        seconds or defaults.training_s,
        rounds or defaults.rounds,
    )
    chosen = [choose_precision(each) for each in precisions or (TORCH_PRECISIONS if device == "cpu" else _HALF_FIRST)]
    environment = describe_machine() | describe_device(device)
    click.echo(f"Computing on {environment.get('gpu', device)}.", err=True)
    params = {"encoder": encoder, "precisions": chosen, **asdict(sizes)}
    result = ResultFile(output, "gpu", params, environment)
    with stages(quiet=False) as report:
        for dataset in datasets:
            records = (record.content for record in read_corpus(dataset) if isinstance(record, Document))
            corpus = list(islice(records, sizes.documents))
            if len(corpus) < MIN_DOCUMENTS:
                raise CorpusError(f"{dataset} holds {len(corpus):,} documents; a dictionary needs {MIN_DOCUMENTS:,}.")
            rows = []
            for part in run_all(encoder, corpus, sizes, device=device, precisions=chosen, report=report):
                rows += part
                result.add(dataset.resolve().name, rows)
    for name, rows in result.groups.items():
        for row in rows:
            click.echo(f"{name}: " + ", ".join(f"{key} {_shown(value)}" for key, value in row.items()))
    click.echo(f"{output}")


_HALF_FIRST = ("bfloat16", "float16", "float32")


def _shown(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else f"{value}"
