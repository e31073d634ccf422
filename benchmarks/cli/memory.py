"""`memory`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.options import documents_option, heap_option
from benchmarks.cli.stage import Options, common, on_stage, print_result

_SHARES = (1.25, 0.75, 0.5, 0.25)


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks memory packages --documents 50000 --max-queries 300
  python -m benchmarks memory packages --documents 400000 --share 0.5 --first 20
\b
Needs Linux and root; elsewhere it only prints the reason.
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@documents_option
@click.option(
    "--share",
    "shares",
    multiple=True,
    type=click.FloatRange(0, min_open=True),
    default=_SHARES,
    show_default=True,
    help="Memory for files relative to HNSW's index; repeatable.",
)
@click.option(
    "--own-need/--no-own-need",
    default=True,
    show_default=True,
    help="Also measure with memory for each system's own index.",
)
@click.option(
    "--first", type=click.FloatRange(0), default=60.0, show_default=True, help="Seconds to measure after a restart."
)
@heap_option("1g")
@common
def memory(
    dataset: Path,
    documents: int | None,
    shares: tuple[float, ...],
    own_need: bool,
    first: float,
    heap: str,
    options: Options,
) -> None:
    """Latency of a node with limited memory, including page cache: warm, and in the first minute after a restart.

    The limit is the node's own need (Java heap and overhead) plus a fraction of HNSW's index for files.
    """
    from benchmarks.scenarios.cgroup import NoGroupsError, find_hierarchy
    from benchmarks.scenarios.limited import Bench
    from benchmarks.scenarios.live import each_index, new_index_systems
    from benchmarks.storage import build
    from connector.cluster import embedded_cluster

    try:
        hierarchy = find_hierarchy()
    except NoGroupsError as error:
        click.echo(f"Skipped: {error}", err=True)
        return
    with on_stage(options, [dataset], running=embedded_cluster(heap=heap)) as stage:
        data = stage.encode_first(dataset, documents)
        result = stage.result("memory", data, heap=heap, first_s=first)
        groups = {f"{share:g} of HNSW": share for share in sorted(set(shares), reverse=True)}
        own = ["own need"] if own_need else []
        if any(group not in result.groups for group in ("no limit", *own, *groups)):
            systems = new_index_systems(data, "memory", merged=True, report=stage.report)[:2]
            with stage.connect() as client:
                sizes = [build(client, system, data).bytes for system in each_index(systems, stage.report)]
            bench = Bench(
                stage.cluster, stage.connect, hierarchy, data, systems, sizes, options.rounds, first, stage.report
            )
            if "no limit" not in result.groups:
                result.add("no limit", bench.without_limit())
            node_bytes = result.groups["no limit"][0]["node_bytes"]
            budgets = dict.fromkeys(own, sizes)
            budgets |= {group: [round(share * sizes[0])] * len(systems) for group, share in groups.items()}
            for group, each in budgets.items():
                if group not in result.groups:
                    result.add(group, bench.with_limit(each, node_bytes, group))
    print_result(result)
