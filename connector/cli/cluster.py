"""`ksparse up`, `ksparse down` and `ksparse status`."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from connector import cluster
from connector.cli.connection import ConnectionOptions, connection_options
from connector.cli.settings import naming_options
from connector.cluster.local import DEFAULT_HEAP
from connector.cluster.node import check_heap
from connector.encoders.graph import choose_backend, describe_backend
from connector.encoders.precision import choose_precision


def _heap(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    try:
        check_heap(DEFAULT_HEAP if value is None else value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


@click.command(
    epilog="""\b
Examples:
  ksparse up                        one node on port 9200, kept until `ksparse down`
  ksparse up --port 9300 --heap 4g  another port, more memory
  ksparse up --nodes 3 --heap 1g    three embedded nodes
  ksparse up --ml                   with ML Commons, for `ksparse connect`
"""
)
@click.option("--nodes", type=click.Choice(["1", "3"]), default="1", show_default=True, help="Nodes of the cluster.")
@click.option("--heap", callback=_heap, help=f"Java heap of each node.  [default: {DEFAULT_HEAP}]")
@click.option("--ml", is_flag=True, help="Include ML Commons (one download of 390 MB), needed by `ksparse connect`.")
@click.option("--port", type=click.IntRange(1, 65535), help="HTTP port.  [default: 9200, or a free one]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=180,
    show_default=True,
    help="Seconds to wait until the cluster is ready.",
)
@click.option(
    "--compose-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compose file for Docker.  [default: that of ksparse]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def up(
    nodes: str, heap: str | None, ml: bool, port: int | None, timeout_s: float, compose_file: Path | None, as_json: bool
) -> None:
    """Start OpenSearch on this machine and leave it running.

    If OPENSEARCH_URL is set (with OPENSEARCH_USERNAME etc.), nothing is started. Otherwise Docker is used if it is
    running, else OpenSearch is downloaded once. It listens on 127.0.0.1 only, without authentication.
    """
    with naming_options():
        started = cluster.up(
            nodes=int(nodes),
            heap=heap,
            port=port,
            ml=ml,
            timeout_s=timeout_s,
            compose_file=compose_file,
            on_progress=lambda step: click.echo(step, err=True),
        )
    found = started.cluster
    if as_json:
        click.echo(json.dumps({"url": found.url, "kind": found.kind, "was_up": started.was_up}))
    else:
        click.echo(f"OpenSearch {'is already' if started.was_up else 'is'} up at {found.url} ({found.kind})")


@click.command(
    epilog="""\b
Examples:
  ksparse down           stop it and keep its data for the next `ksparse up`
  ksparse down --purge   stop it and delete its data
"""
)
@click.option("--purge", is_flag=True, help="Also delete the data.")
def down(purge: bool) -> None:
    """Stop the OpenSearch that `ksparse up` started.

    The server of OPENSEARCH_URL is never stopped.
    """
    stopped = cluster.down(purge=purge)
    what = "Nothing was up" if stopped.url is None else f"OpenSearch at {stopped.url} is down"
    data = "; data deleted" if stopped.data_deleted else "; there was no data to delete" if purge else ""
    click.echo(f"{what}{data}")


@click.command(
    epilog="""\b
Examples:
  ksparse status
  ksparse status --json | jq .health
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connection_options
def status(as_json: bool, connection: ConnectionOptions) -> None:
    """Show which OpenSearch the other commands use."""
    used = connection.apply(cluster.find_cluster())
    found = cluster.read_status(used)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    simd = {True: "yes", False: "no (HNSW is slow; do not compare its latencies)", None: "unknown"}[found.simd]
    lines = {
        "url": found.url,
        "kind": found.kind,
        "version": found.version,
        "health": found.health or "unknown",
        "nodes": "unknown" if found.nodes is None else str(found.nodes),
        "plugins": "unknown" if found.plugins is None else ", ".join(found.plugins) or "none",
        "java": found.java or "unknown",
        "simd": simd,
        "heap": f"{_megabytes(found.heap_used_bytes)} of {_megabytes(found.heap_max_bytes)}",
        "disk": f"{_megabytes(found.disk_used_bytes)} in indices, {_megabytes(found.disk_free_bytes)} free",
        "encoding": describe_backend(choose_backend(None, "cpu"), choose_precision(None)) + " on a CPU",
        "documents": "unknown" if found.documents is None else str(found.documents),
    }
    for name, value in lines.items():
        click.echo(f"{name:<10} {value}")


def _megabytes(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else f"{size_bytes / 1e6:,.1f} MB"
