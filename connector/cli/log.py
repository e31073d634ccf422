"""Show the library's log on standard error: warnings by default, more with --verbose."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class _StandardError(logging.Handler):
    """Prints through click, so that lines appear above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            click.echo(self.format(record), err=True)
        except Exception:
            self.handleError(record)


@contextmanager
def shown_on_standard_error(verbosity: int = 0) -> Iterator[None]:
    """Show log messages on standard error while the block runs.

    Args:
        verbosity: 0 for warnings, 1 for retries, pauses and steps, 2 for details and each request (without bodies,
            which contain documents).
    """
    handler = _StandardError(_LEVELS[min(verbosity, 2)])
    if verbosity:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = {logging.getLogger("ksparse"): handler.level}
    if verbosity > 1:
        loggers[logging.getLogger("opensearch")] = logging.INFO
    before = {logger: (logger.level, logger.handlers) for logger in loggers}
    for logger, level in loggers.items():
        logger.handlers = [*(each for each in logger.handlers if not isinstance(each, _StandardError)), handler]
        if verbosity:
            logger.setLevel(min(level, logger.getEffectiveLevel()))
    try:
        yield
    finally:
        for logger, (level, handlers) in before.items():
            logger.setLevel(level)
            logger.handlers = handlers


def _show(context: click.Context, _option: click.Parameter, verbosity: int) -> None:
    """Active until the command, or its group, has finished."""
    if verbosity or context.parent is None:
        context.with_resource(shown_on_standard_error(verbosity))


verbose_option = click.option(
    "-v",
    "--verbose",
    count=True,
    expose_value=False,
    callback=_show,
    help="Log retries, pauses and steps to standard error; -vv logs each request.",
)


def with_verbose(command: click.Command) -> click.Command:
    """Add the option to a command, so that `ksparse search -v` works like `ksparse -v search`."""
    if all(each.name != "verbose" for each in command.params):
        verbose_option(command)
    return command
