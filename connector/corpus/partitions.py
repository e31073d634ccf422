"""Read partition values from folder names (`lang=en/part-0.parquet`), as written by Hive, Spark and Arrow."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from connector.corpus.layout import Partition

_NULL = "__HIVE_DEFAULT_PARTITION__"
_PARTITION = re.compile("[^=]+=")
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")


def folder_above(folder: Path) -> Path:
    """The first folder above a folder, or itself, that is not a partition, as an absolute path."""
    folder = folder.absolute()
    while _PARTITION.match(folder.name):
        folder = folder.parent
    return folder


def partition_of(path: Path, folder: Path) -> Partition:
    """Read names and values from the folders between a file and a folder above it.

    Values that are canonical integers (not "007") are converted; nulls are omitted.

    Args:
        path: The file.
        folder: The folder, as `folder_above` returns it.
    """
    found: dict[str, str | int] = {}
    for part in path.absolute().relative_to(folder).parts[:-1]:
        name, separator, value = part.partition("=")
        if separator and name and value != _NULL:
            value = unquote(value)
            found[unquote(name)] = int(value) if _INTEGER.fullmatch(value) else value
    return tuple(found.items())
