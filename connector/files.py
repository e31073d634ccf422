"""Atomic file writes, and the cache folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that atomically replaces `path`, flushed to disk, when the block ends without an error.

    Parent folders are created. If several processes write the same path, the last one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str) -> None:
    """Replace a text file atomically."""
    with written_whole(path) as file:
        file.write(content.encode())


def cache_folder(kind: str = "") -> Path:
    """Return the cache folder, or a subfolder of it; it may not exist yet.

    KSPARSE_CACHE if set; /var/cache/ksparse for root (a node's user cannot read root's home); otherwise
    XDG_CACHE_HOME/ksparse or ~/.cache/ksparse.
    """
    if chosen := os.environ.get("KSPARSE_CACHE"):
        return Path(chosen).expanduser().absolute() / kind
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/cache/ksparse") / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "ksparse" / kind
