"""Files that are written whole or not at all, and where ksparse caches what can be fetched or computed again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` once the block ends: complete and flushed to disk, or not at all.

    Its folder is created. Several processes may write the same path; the last one wins.
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
    """Replace a text file by another content, as `written_whole` does."""
    with written_whole(path) as file:
        file.write(content.encode())


def cache_folder(kind: str = "") -> Path:
    """The cache folder, or that of one kind of files in it; it may not exist yet.

    KSPARSE_CACHE if set; /var/cache/ksparse for root, whose home a node's user cannot enter; otherwise
    XDG_CACHE_HOME/ksparse or ~/.cache/ksparse.
    """
    if chosen := os.environ.get("KSPARSE_CACHE"):
        return Path(chosen).expanduser().absolute() / kind
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/cache/ksparse") / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "ksparse" / kind
