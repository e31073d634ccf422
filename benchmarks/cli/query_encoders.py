"""`query-encoders`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.stage import Options, common, on_stage, print_result


@click.command(
    epilog="""\b
Examples:
  ksparse train queries beir/debian --output fast-head --max-minutes 7
  python -m benchmarks query-encoders beir/debian --fast fast-head
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--fast", required=True, help="The encoder with a query model: a folder written by `ksparse train queries`."
)
@common
def query_encoders(dataset: Path, fast: str, options: Options) -> None:
    """Latency from text to hits with and without a transformer, for HNSW and ksparse."""
    from dataclasses import replace

    from benchmarks.compare import Plan
    from benchmarks.suites import query_encoder_systems
    from connector.cli.encoder import open_encoder
    from connector.encoders.folders import check_encoder
    from connector.errors import EncoderError

    check_encoder(fast)
    with on_stage(options, [dataset]) as stage:
        data = stage.encode(dataset, k_doc=64, k_query=32)
        static = open_encoder(fast).with_statistics(data.encoder.statistics)
        if static.query_model is None or static.fingerprint.digest != data.encoder.fingerprint.digest:
            raise EncoderError(
                f"{fast} is not {options.encoder} with a query model; create it with `ksparse train queries`."
            )
        result = stage.result("query-encoders", data)
        if data.name not in result.groups:
            texts = [query.text for query in data.judged.queries]
            vectors, embeddings = static.encode_query_for_rescoring(texts, k=32)
            asked = replace(data, query_embeddings=embeddings, query_vectors=vectors)
            plan = Plan(rounds=options.rounds, encoding=True, fast=static)
            result.add(data.name, stage.compare(data, query_encoder_systems(data, asked), plan))
    print_result(result)
