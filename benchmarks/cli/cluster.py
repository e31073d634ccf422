"""`cluster`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.options import documents_option, heap_option
from benchmarks.cli.stage import Options, common, on_stage, print_result


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks cluster packages --documents 50000 --max-queries 300
  python -m benchmarks cluster packages --documents 50000 --shards 1 --shards 3 --one-node
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@documents_option
@click.option(
    "--shards",
    "counts",
    multiple=True,
    type=click.IntRange(1),
    default=(1, 3, 6),
    show_default=True,
    help="Shards on one node; repeatable.",
)
@click.option("--one-node", is_flag=True, help="Skip the measurements with three nodes and with a killed node.")
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Seconds per load.")
@heap_option("1g")
@common
def cluster(
    dataset: Path,
    documents: int | None,
    counts: tuple[int, ...],
    one_node: bool,
    seconds: float,
    heap: str,
    options: Options,
) -> None:
    """Several shards on one node, three nodes with a replica, and a node that is killed under load.

    A rescoring window applies to each shard, so a window divided by the number of shards is also measured. The three
    nodes are started on this machine and stopped afterwards.
    """
    from benchmarks.demo import client_maker
    from benchmarks.scenarios.live import new_index_systems
    from benchmarks.scenarios.shards import Fall, kill_under_search, measure_shards, sharded_systems
    from benchmarks.scenarios.shards_tables import KILLED
    from connector.cli.progress import stages
    from connector.cluster import embedded_cluster

    groups = {f"{count} shard{'s' if count > 1 else ''}": count for count in sorted(set(counts))}
    three = "3 nodes, 3 shards, 1 replica"
    with on_stage(options, [dataset]) as stage:
        data = stage.encode_first(dataset, documents)
        result = stage.result("cluster", data, heap=heap, seconds=seconds)
        wanted = {*groups, *(() if one_node else (three, KILLED))}
        if not wanted <= set(result.groups):
            hnsw, ours = new_index_systems(data, "cluster", report=stage.report)[:2]
        for group, count in groups.items():
            if group not in result.groups:
                systems = sharded_systems(hnsw, ours, count)
                try:
                    rows = measure_shards(
                        stage.connect,
                        data,
                        systems,
                        rounds=options.rounds,
                        seconds=seconds,
                        report=stage.report,
                        what=group,
                    )
                    result.add(group, rows)
                finally:
                    with stage.connect() as client:
                        for system in systems:
                            client.indices.delete(index=system.index, ignore_unavailable=True)
    if not one_node and not {three, KILLED} <= set(result.groups):
        with embedded_cluster(3, heap=heap) as nodes, stages(quiet=False) as report:
            systems = sharded_systems(hnsw, ours, 3, replicas=1)
            connect = client_maker(nodes)
            rows = measure_shards(
                connect, data, systems, rounds=options.rounds, seconds=seconds, report=report, what=three
            )
            result.add(three, rows)
            fall = Fall(before_s=seconds, after_s=3 * seconds)
            rates = [fall.rate_share * row["requests_per_s"] for row in rows[:2]]
            result.add(KILLED, kill_under_search(nodes, data, systems[:2], rates, fall, report))
    print_result(result)
