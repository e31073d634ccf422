"""What the suites on a live node have in common: their options, the node, the encoder, the result file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli.options import cache_option, encoder_option
from connector.cli.progress import stages

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from benchmarks.compare import Plan, Report
    from benchmarks.datasets import Embed, EncodedSet
    from benchmarks.results import ResultFile
    from benchmarks.systems.base import System
    from connector.cluster import Cluster
    from connector.encoders.text import TextEncoder


@dataclass(frozen=True, slots=True)
class Options:
    """Given to every suite."""

    encoder: str
    most_queries: int
    rounds: int
    cache: Path
    output: Path | None


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every suite has; the command gets them as `options`."""

    @wraps(command)
    def packed(
        *, encoder: str, most_queries: int, rounds: int, cache: Path, output: Path | None, **own: object
    ) -> None:
        command(options=Options(encoder, most_queries, rounds, cache, output), **own)

    for option in reversed(
        (
            encoder_option,
            click.option("--most-queries", type=click.IntRange(1), default=500, show_default=True),
            click.option(
                "--rounds",
                type=click.IntRange(1),
                default=3,
                show_default=True,
                help="Rounds of a block; blocks are repeated until the medians settle.",
            ),
            cache_option,
            click.option(
                "--output",
                type=click.Path(dir_okay=False, path_type=Path),
                help="Result as JSON; a run that was stopped goes on with it.  [default: .cache/SUITE-DATASET.json]",
            ),
        )
    ):
        packed = option(packed)
    return packed


documents_option = click.option(
    "--documents",
    type=click.IntRange(1_000),
    help="The first ones of a set without judgements.  [default: all]",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A node that is up and an encoder that is loaded.

    Attributes:
        options: As given.
        encoder: A dense model with a head.
        cluster: Where systems are compared.
        connect: Makes a client of it.
        embed: The dense model, with a cache.
        report: Called with the current task and the share of it done.
    """

    options: Options
    encoder: TextEncoder
    cluster: Cluster
    connect: Callable[[], OpenSearch]
    embed: Embed
    report: Report

    def encode(self, dataset: Path, **how: Any) -> EncodedSet:  # noqa: ANN401
        """Read and encode a judged set; see `encode_set`."""
        from benchmarks.datasets import encode_set

        return encode_set(dataset, self.encoder, self.embed, most_queries=self.options.most_queries, **how)

    def encode_first(self, dataset: Path, documents: int | None, *, features: bool = False) -> EncodedSet:
        """Read and encode a set, or so many of its documents; a set with judgements needs all of them.

        Args:
            dataset: To read.
            documents: How many; all if None.
            features: Also by the encoder's own head, beside the dictionary that the systems build.

        Raises:
            ConnectorError: It has judgements and more documents.
        """
        from connector.errors import ConnectorError

        data = self.encode(dataset, k_query=32, most_documents=documents, features=features)
        if documents is not None and len(data.documents) > documents:
            raise ConnectorError(
                f"{data.name} has judgements and {len(data.documents):,} documents, all of which are needed; leave "
                f"{documents:,} documents to sets without judgements."
            )
        return data

    def result(self, suite: str, data: EncodedSet, **params: object) -> ResultFile:
        """Open the result of a suite, or go on with it where it has the same parameters."""
        shared = {
            "dataset": data.name,
            "documents": len(data.documents),
            "queries": len(data.judged.queries),
            "encoder": str(data.encoder.fingerprint),
        }
        return self.open_result(suite, data.name, **shared | params)

    def open_result(self, suite: str, name: str, **params: object) -> ResultFile:
        """The same for a suite of several sets, under a name of its own."""
        from benchmarks.environment import describe
        from benchmarks.results import ResultFile

        path = self.options.output or Path(f".cache/{suite}-{name}.json")
        return ResultFile(path, suite, {"rounds": self.options.rounds} | params, describe(self.cluster))

    def compare(self, data: EncodedSet, systems: Sequence[System], plan: Plan) -> list[dict[str, Any]]:
        """Compare systems on the node; see `benchmarks.compare`."""
        from benchmarks.compare import compare

        return compare(self.connect, data, systems, plan, report=self.report)


@contextmanager
def on_stage(
    options: Options,
    datasets: Sequence[Path],
    *,
    split: str = "test",
    running: AbstractContextManager[Cluster] | None = None,
) -> Iterator[Stage]:
    """Check the sets, load the encoder, start a node unless one is up, and stop what was started.

    Args:
        options: As given.
        datasets: Folders of sets.
        split: Judgements that will be used.
        running: Starts and stops another cluster than that.
    """
    from benchmarks.datasets import cached_embed, check_sets
    from benchmarks.demo import client_maker, running_cluster
    from connector.cli.encoder import open_encoder

    check_sets(datasets, split)
    loaded = open_encoder(options.encoder)
    running = running or running_cluster(keep=False, say=partial(click.echo, err=True))
    with running as cluster, stages(quiet=False) as report:
        embed = cached_embed(loaded, options.cache, report)
        yield Stage(options, loaded, cluster, client_maker(cluster), embed, report)


def print_result(result: ResultFile) -> None:
    """Print the table of each group, and say what comes next."""
    from benchmarks.report import to_markdown

    for group, rows in result.groups.items():
        title = f"{int(group):,} documents" if group.isdigit() else group
        click.echo(f"\n{title}\n\n{to_markdown(rows)}")
    click.echo(f"{result.path}; python -m benchmarks report {result.path} draws it.")


def print_groups(result: ResultFile, to_markdown: Callable[[Mapping[str, list[dict[str, Any]]]], str]) -> None:
    """Print one table of all groups, and say what comes next."""
    click.echo(f"\n{to_markdown(result.groups)}")
    click.echo(f"{result.path}; python -m benchmarks report {result.path} draws it.")
