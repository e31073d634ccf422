"""Atomic file writes, and the cache folder."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that atomically replaces `path`, flushed to disk, when the block ends without an error.

    Parent folders are created. An existing file keeps its permissions, and its owner if this process is root. If
    several processes write the same path, the last one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with _opened_like(path, unfinished) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _opened_like(existing: Path, new: Path) -> BinaryIO:
    """Create a file with the permissions of an existing one, if there is one."""
    try:
        found = existing.stat()
    except OSError:
        return new.open("wb")
    mode = stat.S_IMODE(found.st_mode)
    file = open(new, "wb", opener=lambda name, flags: os.open(name, flags, mode & 0o600))
    with suppress(OSError):  # not all file systems support it
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            os.chown(new, found.st_uid, found.st_gid)
    with suppress(OSError):
        new.chmod(mode)  # after the change of the owner, which resets some bits
    return file


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
