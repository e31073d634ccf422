"""A file of lines that several processes append to and take out of, without losing any."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from connector.files import written_whole


class LetterFile:
    """A file that is made by the first line, and removed with the last one.

    Whoever writes holds a lock on the file for as long as that takes. Lines are taken out by a new file that takes the
    place of the old one in one step; who then holds a lock on the old one notices, and opens the new one.
    """

    def __init__(self, path: Path) -> None:
        """Prepare for a file that need not exist."""
        self.path = path

    @property
    def size(self) -> int:
        """Bytes, 0 if there is no file."""
        with suppress(FileNotFoundError):  # asked first, it could go before it is measured
            return self.path.stat().st_size
        return 0

    @property
    def identity(self) -> int:
        """Tells the file from another one of its name, 0 if there is none."""
        with suppress(FileNotFoundError):
            return self.path.stat().st_ino
        return 0

    def append(self, line: bytes) -> None:
        """Add a line, whole or not at all.

        Raises:
            OSError: The disk does not take it.
        """
        with self._locked("a") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                while line:
                    line = line[file.write(line) :]
            except OSError:
                file.truncate(size)  # no half a line, if another run appends to it
                raise

    def sync(self) -> None:
        """Bring what was added down to the disk."""
        with suppress(FileNotFoundError), self._locked("r+") as file:
            os.fsync(file.fileno())

    def cut(self, size: int, identity: int) -> None:
        """Take off what was added after the file had some size, and half a line at its end.

        Args:
            size: In bytes.
            identity: Of the file at that time; another one is not cut, since lines were taken out of it meanwhile.
        """
        with suppress(FileNotFoundError), self._locked("r+") as file:
            content = file.read()
            if identity in (0, os.fstat(file.fileno()).st_ino):
                content = content[:size]
            file.truncate(content.rfind(b"\n") + 1)

    def read(self) -> list[bytes]:
        """The lines, without their line feeds; none if there is no file."""
        content = b""
        with suppress(FileNotFoundError), self._locked("r") as file:
            content = file.read()
        # Not splitlines(), which also splits at U+2028 and others that JSON leaves as they are.
        return content.split(b"\n")

    def take_out(self, lines: Sequence[bytes], instead: Sequence[bytes] = ()) -> None:
        """Take lines out in one step; those that are there no longer are no error.

        Args:
            lines: As `read` returns them.
            instead: What the first of them are replaced by.
        """
        if not lines:
            return
        wanted = Counter(lines)
        by_line: dict[bytes, list[bytes]] = {}
        for line, other in zip(lines, instead, strict=False):
            by_line.setdefault(line, []).append(other)
        with suppress(FileNotFoundError), self._locked("r") as file:
            kept: list[bytes] = []
            for line in file.read().split(b"\n"):
                if wanted[line] <= 0:
                    kept.append(line)
                    continue
                wanted[line] -= 1
                if by_line.get(line):
                    kept.append(by_line[line].pop(0).rstrip(b"\n"))
            self._replace(b"\n".join(kept))

    def _replace(self, content: bytes) -> None:
        if not content.strip():
            self.path.unlink()
            return
        with written_whole(self.path) as file:
            file.write(content)

    @contextmanager
    def _locked(self, mode: str) -> Iterator[FileIO]:
        while True:
            # Without a buffer: what a full disk does not take would be written when the file is closed.
            with FileIO(self.path, mode) as file:
                _lock(file)
                if self.identity == os.fstat(file.fileno()).st_ino:
                    yield file
                    return


def _lock(file: FileIO) -> None:
    """Wait until nobody else has the file; closing it gives it free."""
    try:
        import fcntl
    except ImportError:  # Windows, where one process at a time may use the file
        return
    fcntl.flock(file, fcntl.LOCK_EX)
