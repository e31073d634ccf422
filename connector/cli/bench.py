"""`ksparse bench`."""

from __future__ import annotations

import os
import subprocess
import sys

import click

from connector.errors import ConnectorError
from connector.source_tree import source_tree


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    short_help="Compare systems on a live node; the same as `python -m benchmarks` in a clone.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def bench(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run `python -m benchmarks` of the clone that ksparse was installed from.

    The benchmarks are part of the repository but not of the installed library. In a clone, run
    `pip install --editable '.[cluster,plot]'`; then `ksparse bench --help` lists the suites.
    """
    tree = source_tree()
    if tree is None:
        if {"-h", "--help"} & set(arguments):
            click.echo(context.get_help())
            return
        raise ConnectorError(
            "The benchmarks are not installed with the library. Run this in a clone of the project, installed by "
            "`pip install --editable '.[cluster,plot]'`."
        )
    paths = os.pathsep.join(path for path in (str(tree), os.environ.get("PYTHONPATH", "")) if path)
    command = [sys.executable, "-m", "benchmarks", *arguments]
    sys.exit(subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, check=False).returncode)
