"""`ksparse bench`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

import connector
from connector.errors import ConnectorError


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    short_help="Compare systems on a live node; the same as `python -m benchmarks` in the source tree.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Run `python -m benchmarks` of the source tree that this command was installed from."""
    tree = Path(str(connector.__file__)).resolve().parents[1]
    if not (tree / "benchmarks" / "__main__.py").is_file():
        raise ConnectorError(
            f"The benchmarks are not installed with the library ({tree} has none). Run it in a clone of the project, "
            "installed by `pip install --editable .`."
        )
    paths = os.pathsep.join(path for path in (str(tree), os.environ.get("PYTHONPATH", "")) if path)
    command = [sys.executable, "-m", "benchmarks", *arguments]
    sys.exit(subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, check=False).returncode)
