"""Stop a run that can go on later: at an interrupt, at SIGTERM, or where the server or a disk takes no more."""

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
    """Take SIGTERM as an interrupt, and leave with the status of a run that can go on.

    Args:
        option: To add to the same command, so that it goes on where it was.
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
        # Threads may still wait for the server's answer, which the interpreter would wait for, too.
        os._exit(EXIT_RESUMABLE)
    finally:
        signal.signal(signal.SIGTERM, before)
