"""A file of lines that several processes can append to and remove lines from without loss."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from connector.files import written_whole


class LetterFile:
    """A file that is created with its first line and deleted with its last.

    Writers hold a lock on the file. Lines are removed by atomically replacing the file; a writer that then gets the
    lock of the old file notices this and opens the new one.
    """

    def __init__(self, path: Path) -> None:
        """Open lazily; the file need not exist. Of a symbolic link, the linked file is written and deleted."""
        self.path = Path(os.path.realpath(path))

    @property
    def size(self) -> int:
        """Size in bytes; 0 if there is no file."""
        with suppress(FileNotFoundError):  # no separate check: the file may disappear in between
            return self.path.stat().st_size
        return 0

    @property
    def identity(self) -> int:
        """Identity of the file, to detect a replaced one; 0 if there is no file."""
        with suppress(FileNotFoundError):
            return self.path.stat().st_ino
        return 0

    def append(self, line: bytes) -> None:
        """Append a line completely or not at all; folders are created.

        Raises:
            OSError: The file cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked("a") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                while line:
                    line = line[file.write(line) :]
            except OSError:
                file.truncate(size)  # remove a partial line
                raise

    def sync(self) -> None:
        """Flush the file to disk."""
        with suppress(FileNotFoundError), self._locked("r+") as file:
            os.fsync(file.fileno())

    def cut(self, size: int, identity: int, is_own: Callable[[bytes], bool] = lambda _line: True) -> None:
        """Truncate the file to a size, except for lines of others, and remove a partial line at its end.

        Args:
            size: Size in bytes.
            identity: Identity of the file when it had that size; a replaced file, from which lines were removed, is not
                truncated.
            is_own: Whether a line after that size is to be removed. Other writers may have appended lines meanwhile.
        """
        with suppress(FileNotFoundError), self._locked("r+") as file:
            content = file.read()
            content = content[: content.rfind(b"\n") + 1]
            if identity in (0, os.fstat(file.fileno()).st_ino):
                start = content.rfind(b"\n", 0, size) + 1
                of_others = [line + b"\n" for line in content[start:].split(b"\n") if line and not is_own(line)]
                content = content[:start]
                if of_others:
                    self._replace(content + b"".join(of_others))
                    return
            file.truncate(len(content))

    def read(self) -> list[bytes]:
        """Return the lines without line feeds; empty if there is no file."""
        content = b""
        with suppress(FileNotFoundError), self._locked("r") as file:
            content = file.read()
        # Not splitlines(), which also splits at U+2028 and others that JSON does not escape.
        return content.split(b"\n")

    def take_out(self, lines: Sequence[bytes], instead: Sequence[bytes] = ()) -> None:
        """Remove lines atomically; lines that no longer exist are ignored.

        Args:
            lines: As `read` returns them.
            instead: Lines that replace the first of them.
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
            # Unbuffered: after an error of a full disk, a buffer would be written on close.
            with FileIO(self.path, mode) as file:
                _lock(file)
                if self.identity == os.fstat(file.fileno()).st_ino:
                    yield file
                    return


def _lock(file: FileIO) -> None:
    """Wait for an exclusive lock; closing the file releases it."""
    try:
        import fcntl
    except ImportError:  # Windows: no lock, so only one process may use the file
        return
    fcntl.flock(file, fcntl.LOCK_EX)
