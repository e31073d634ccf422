"""Exit cleanly from a resumable run: on an interrupt, SIGTERM, a server error or a full disk."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from connector.errors import BulkWriteError


@contextmanager
def stoppable(*, option: str = "") -> Iterator[None]:
    """Treat SIGTERM as an interrupt and exit with the status of a resumable run.

    Args:
        option: Option to add when rerunning the command, e.g. --resume.
    """
    from connector.cli.main import EXIT_RESUMABLE

    again = f" with {option}" if option else ""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except BulkWriteError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_RESUMABLE)
    except OSError as error:
        click.echo(
            f"Error: {error}. Fix the cause and rerun the command{again}; nothing is lost or duplicated.", err=True
        )
        sys.exit(EXIT_RESUMABLE)
    except KeyboardInterrupt:
        click.echo(f"Stopped. Rerun the command{again}; no document is lost or duplicated.", err=True)
        sys.stderr.flush()
        sys.stdout.flush()
        # The interpreter would wait for threads that still wait for the server.
        os._exit(EXIT_RESUMABLE)
    finally:
        signal.signal(signal.SIGTERM, before)
