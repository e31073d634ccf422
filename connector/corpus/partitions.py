"""What the folders of a file say of its records: `lang=en/part-0.parquet`, as Hive, Spark and Arrow write it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from connector.corpus.layout import Partition

_NULL = "__HIVE_DEFAULT_PARTITION__"
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")


def partition_of(path: Path, folder: Path) -> Partition:
    """Read names and values from the folders between a file and the folder that was asked for.

    Whole numbers become integers, unless they would be written otherwise ("007"); a null is left out.
    """
    found: dict[str, str | int] = {}
    for part in path.relative_to(folder).parts[:-1]:
        name, separator, value = part.partition("=")
        if separator and name and value != _NULL:
            value = unquote(value)
            found[unquote(name)] = int(value) if _INTEGER.fullmatch(value) else value
    return tuple(found.items())
