"""The `ksparse` command; subcommands are imported on demand."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

import connector
from connector.cli.log import verbose_option, with_verbose
from connector.cli.plain import escape_output
from connector.errors import ConnectorError, EncoderMismatchError
from connector.imports import import_without

EXIT_FAILED = 1
EXIT_DEAD_LETTERS = 3
EXIT_RESUMABLE = 4
EXIT_WRONG_ENCODER = 5

_COMMANDS = {
    "up": "connector.cli.cluster",
    "down": "connector.cli.cluster",
    "status": "connector.cli.cluster",
    "train": "connector.cli.train",
    "label": "connector.cli.label",
    "ingest": "connector.cli.ingest",
    "ingest-ray": "connector.cli.ingest_ray",
    "export": "connector.cli.export",
    "replay": "connector.cli.replay",
    "update": "connector.cli.update",
    "delete": "connector.cli.delete",
    "reencode": "connector.cli.reencode",
    "search": "connector.cli.search",
    "explain": "connector.cli.explain",
    "explore": "connector.cli.explore",
    "serve": "connector.cli.serve",
    "connect": "connector.cli.connect",
    "evaluate": "connector.cli.evaluate",
    "tune": "connector.cli.tune",
    "doctor": "connector.cli.doctor",
    "bench": "connector.cli.bench",
}


_UNUSED = ("aiohttp", "yarl")
"""Of opensearch-py's asynchronous client, which no command uses: 0.1 s."""


def _import_opensearchpy() -> Any:  # noqa: ANN401 - a module
    return import_without("opensearchpy", _UNUSED)


class _LazyGroup(click.Group):
    """Imports a subcommand on demand: torch takes seconds to import, and only some commands need it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        _import_opensearchpy()
        command: click.Command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        return command if cmd_name == "bench" else with_verbose(command)

    def invoke(self, ctx: click.Context) -> object:
        OpenSearchException = _import_opensearchpy().OpenSearchException  # noqa: N806 - a class
        try:
            return super().invoke(ctx)
        except EncoderMismatchError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(EXIT_WRONG_ENCODER)
        except ConnectorError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(EXIT_FAILED)
        except BrokenPipeError:
            raise  # click ends without a message if the reader of the output has left
        except OSError as error:
            click.echo(f"Error: {error}. Fix the cause and rerun the command; no document is duplicated.", err=True)
            ctx.exit(EXIT_FAILED)
        except OpenSearchException as error:
            click.echo(f"Error: unexpected server response: {error}. See `ksparse status`.", err=True)
            ctx.exit(EXIT_FAILED)
        except KeyboardInterrupt:
            click.echo("Stopped. Rerun the command; no document is duplicated.", err=True)
            sys.exit(130)


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Examples:
  ksparse up                                   start an OpenSearch on this machine
  ksparse ingest corpus.jsonl --index docs     encode and index a corpus
  ksparse search "how do plants eat" --index docs
  ksparse down
""",
)
@click.version_option(connector.__version__, prog_name="ksparse")
@verbose_option
def cli() -> None:
    """Semantic search on the inverted index that OpenSearch already has.

    Exit status: 0 success, 1 failed, 2 wrong usage, 3 finished with dead letters, 4 stopped and safe to rerun,
    5 wrong encoder.
    """
    escape_output()
