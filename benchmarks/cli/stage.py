"""Common parts of suites on a live node: options, node, encoder, result file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

    from benchmarks.compare import Plan
    from benchmarks.datasets import Embed, EncodedSet
    from benchmarks.progress import Report
    from benchmarks.results import ResultFile
    from benchmarks.systems.base import System
    from connector.cluster import Cluster
    from connector.encoders.text import TextEncoder


@dataclass(frozen=True, slots=True)
class Options:
    """Options of every suite."""

    encoder: str
    max_queries: int
    rounds: int
    cache: Path
    output: Path | None


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Add the common options, passed to the command as `options`."""

    @wraps(command)
    def packed(*, encoder: str, max_queries: int, rounds: int, cache: Path, output: Path | None, **own: object) -> None:
        command(options=Options(encoder, max_queries, rounds, cache, output), **own)

    for option in reversed(
        (
            encoder_option,
            click.option("--max-queries", type=click.IntRange(1), default=500, show_default=True),
            click.option(
                "--rounds",
                type=click.IntRange(1),
                default=3,
                show_default=True,
                help="Rounds per block; blocks are repeated until the medians are stable.",
            ),
            cache_option,
            click.option(
                "--output",
                type=click.Path(dir_okay=False, path_type=Path),
                help="Result as JSON; an existing one is resumed.  [default: .cache/SUITE-DATASET.json]",
            ),
        )
    ):
        packed = option(packed)
    return packed


@dataclass(frozen=True, slots=True)
class Stage:
    """A running node and a loaded encoder.

    Attributes:
        options: The common options.
        encoder: A dense model with a head.
        cluster: The cluster in which systems are compared.
        connect: Creates a client.
        embed: The dense model, with a cache.
        report: Called with the current task and its completed fraction.
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

        return encode_set(dataset, self.encoder, self.embed, max_queries=self.options.max_queries, **how)

    def encode_first(self, dataset: Path, documents: int | None, *, features: bool = False) -> EncodedSet:
        """Read and encode a set or, without judgements, its first documents.

        Args:
            dataset: Folder of the set.
            documents: Maximum number of documents; None encodes all.
            features: Also encode with the encoder's head, not only with the dictionary that the systems build.

        Raises:
            ConnectorError: The set has judgements and more documents.
        """
        from connector.errors import ConnectorError

        data = self.encode(dataset, k_query=32, max_documents=documents, features=features)
        if documents is not None and len(data.documents) > documents:
            raise ConnectorError(
                f"{data.name} has judgements and {len(data.documents):,} documents, all of which are needed; leave "
                f"{documents:,} documents to sets without judgements."
            )
        return data

    def result(self, suite: str, data: EncodedSet, **params: object) -> ResultFile:
        """Open the result of a suite; resume an existing one with the same parameters."""
        shared = {
            "dataset": data.name,
            "documents": len(data.documents),
            "queries": len(data.judged.queries),
            "encoder": str(data.encoder.fingerprint),
        }
        return self.open_result(suite, data.name, **shared | params)

    def open_result(self, suite: str, name: str, **params: object) -> ResultFile:
        """Open the result of a suite with several sets."""
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
    """Check the sets, load the encoder, start a node unless one is running, and stop it afterwards.

    Args:
        options: The common options.
        datasets: Folders of the sets.
        split: Split whose judgements are used.
        running: Starts and stops a special cluster; None uses a running one, or starts one.
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


def print_comparison(result: ResultFile) -> None:
    """Print the systems of each group as a table, and the next step."""
    from benchmarks.report import to_markdown

    for group, rows in result.groups.items():
        title = f"{int(group):,} documents" if group.isdigit() else group
        click.echo(f"\n{title}\n\n{to_markdown(rows)}")
    click.echo(f"{result.path}; python -m benchmarks report {result.path} draws it.")


def print_result(result: ResultFile) -> None:
    """Print the tables of the suite, and the next step."""
    from benchmarks.pages import suite_to_markdown

    click.echo(f"\n{suite_to_markdown(result.suite, result.groups)}")
    click.echo(f"{result.path}; print it again with python -m benchmarks report {result.path}")
