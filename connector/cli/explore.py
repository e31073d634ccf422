"""`ksparse explore`."""

from __future__ import annotations

import logging
import os
import socket
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client, open_retriever
from connector.cli.encoder_option import index_encoder_option
from connector.cli.options import device_option, quiet_option
from connector.cli.progress import documents
from connector.errors import ConnectorError
from connector.index.schema import existing_schema
from connector.index.sizes import count_matching

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from connector.explore.hnsw import HnswIndex
    from connector.search.retriever import Retriever

_HOST = "127.0.0.1"


@click.command(
    epilog="""\b
Examples:
  ksparse explore --index docs                   then open http://127.0.0.1:8765
  ksparse explore --index docs --hnsw --open     with HNSW as a column; opens the browser
  ksparse explore --index docs --results .cache  benchmark results for the second tab
\b
--hnsw embeds every document once more (about as long as `ksparse ingest` took) and stores the vectors in the index
INDEX-hnsw, which later runs reuse; delete it to free its disk space. Stop the server with Ctrl-C.
"""
)
@click.option("--index", required=True, help="Index or alias to search.")
@index_encoder_option
@click.option("--hnsw", is_flag=True, help="Create the index INDEX-hnsw to compare with HNSW; needs the k-NN plugin.")
@click.option(
    "--results",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with frontier-*.json.  [default: benchmarks/results of the source tree, else results]",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8765, show_default=True, help="Port on 127.0.0.1.")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
@device_option
@quiet_option
@connection_options
def explore(
    index: str,
    encoder: str | None,
    hnsw: bool,
    results: Path | None,
    port: int,
    open_browser: bool,
    device: str | None,
    quiet: bool,
    connection: ConnectionOptions,
) -> None:
    """Compare K-sparse, HNSW, BM25 and hybrid search side by side in a local web page."""
    if find_spec("flask") is None:
        raise ConnectorError("The web page needs Flask, which is not installed: pip install 'ksparse[explore]'.")
    with _listen(port) as listening:
        client = open_client(connection)
        retriever = open_retriever(client, existing_schema(client, index), encoder, device=device)
        from werkzeug.serving import make_server

        from connector.explore.app import create_app
        from connector.explore.columns import Explorer
        from connector.explore.frontier import results_folder

        companion, without_hnsw = open_companion(client, retriever, asked=hnsw, quiet=quiet)
        app = create_app(Explorer(client, retriever, companion), results or results_folder(), without_hnsw=without_hnsw)
        # Do not log every request.
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        server = make_server(_HOST, port, app, threaded=True, fd=listening.fileno())
        url = f"http://{_HOST}:{port}"
        click.echo(f"{index} is at {url} (Ctrl-C stops the server)")
        if open_browser:
            webbrowser.open(url)
        server.serve_forever()


def _listen(port: int) -> socket.socket:
    """Bind the port before slow work starts."""
    try:
        return socket.create_server((_HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConnectorError(
            f"Port {port} on {_HOST} is not available ({reason}); choose another one, e.g. --port {port % 65535 + 1}."
        ) from error


def open_companion(
    client: OpenSearch, retriever: Retriever, *, asked: bool, quiet: bool
) -> tuple[HnswIndex | None, str]:
    """Return the HNSW index, created if missing, or None and the reason."""
    from connector.explore.hnsw import HnswIndex

    index = retriever.schema.index
    if not asked:
        return None, f"HNSW is disabled: start with `ksparse explore --index {index} --hnsw`."
    if retriever.encoder.head is None:
        said = "HNSW is disabled: this encoder has no dense model."
        click.echo(said, err=True)
        return None, said
    companion = HnswIndex(client, retriever.schema, retriever.encoder)
    if reason := companion.stale_reason():
        total = count_matching(client, index)
        click.echo(f"{companion.name}: {reason}; embedding {total:,} documents (needs the k-NN plugin)", err=True)
        with documents(quiet, total, f"{index} -> {companion.name}") as progress:
            companion.build(progress)
    return companion, ""
