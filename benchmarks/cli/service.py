"""`service`."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import click

from benchmarks.cli.options import documents_option
from benchmarks.cli.stage import Options, common, on_stage, print_result


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks service packages --documents 50000 --max-queries 300
  python -m benchmarks service packages --documents 50000 --backend openvino --long 600
  python -m benchmarks service packages --documents 50000 --backend openvino --long 600 --pipeline
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@documents_option
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=click.Choice(["torch", "openvino"]),
    help="Backend of the dense model in the service; repeatable.  [default: all installed ones]",
)
@click.option(
    "--arrivals",
    type=click.Choice(["poisson", "uniform"]),
    default="poisson",
    show_default=True,
    help="Arrivals of independent clients, or at constant intervals.",
)
@click.option("--seconds", type=click.FloatRange(0.1), default=20.0, show_default=True, help="Seconds per rate.")
@click.option("--max-p99", type=click.FloatRange(1), default=50.0, show_default=True, help="Milliseconds.")
@click.option(
    "--clients", type=click.IntRange(1), default=8, show_default=True, help="Clients for measuring the capacity."
)
@click.option(
    "--long",
    "long_s",
    type=click.FloatRange(0),
    default=0.0,
    help="Seconds of a final run at 80 % of the capacity, e.g. 600.  [default: none]",
)
@click.option(
    "--pipeline",
    is_flag=True,
    help="Send the searches to OpenSearch, whose search pipeline calls the service (`ksparse connect`).",
)
@common
def service(
    dataset: Path,
    documents: int | None,
    backends: tuple[str, ...],
    arrivals: Literal["poisson", "uniform"],
    seconds: float,
    max_p99: float,
    clients: int,
    long_s: float,
    pipeline: bool,
    options: Options,
) -> None:
    """Highest arrival rate at which `ksparse serve` keeps p99 below 50 ms, from text to hits, by backend.

    Requests arrive by a schedule, and latency is measured from the scheduled time. --rounds has no effect here.
    """
    from benchmarks.default_index import write_default_index
    from benchmarks.demo import running_cluster
    from benchmarks.scenarios.served import Limits, measure_service, of_pipeline, of_service
    from benchmarks.scenarios.served import service as running_service
    from benchmarks.suites import PREFIX
    from connector.index.drop import drop_index

    running = running_cluster(keep=False, say=partial(click.echo, err=True), ml=True) if pipeline else None
    chosen = backends or tuple(name for name in ("torch", "openvino") if find_spec(name) is not None)
    limits = Limits(arrivals, seconds, max_p99, clients, long_s)
    index = f"{PREFIX}-service"
    with on_stage(options, [dataset], running=running) as stage:
        data = stage.encode_first(dataset, documents)
        about = {
            "arrivals": arrivals,
            "seconds": seconds,
            "most_p99_ms": max_p99,
            "clients": clients,
            "long_s": long_s,
            "pipeline": pipeline,
        }
        result = stage.result("service", data, **about)
        if any(backend not in result.groups for backend in chosen):
            texts = [query.text for query in data.judged.queries]
            with stage.connect() as client:
                try:
                    write_default_index(client, index, data, stage.report)
                    for backend in chosen:
                        if backend not in result.groups:
                            with running_service(stage.cluster.url, index, backend) as address:
                                direct = nullcontext(of_service(address, index))
                                through = of_pipeline(client, stage.cluster.url, index, address) if pipeline else direct
                                with through as target:
                                    result.add(backend, measure_service(target, texts, limits, stage.report))
                finally:
                    drop_index(client, index)
    print_result(result)
