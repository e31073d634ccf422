"""Lines of text files, whatever ends them. What a line holds is none of its business."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from connector.corpus.streams import READ_ERRORS, Opened, name_of, open_bytes
from connector.errors import CorpusError

_BOM = b"\xef\xbb\xbf"


def read_lines(path: Path | None, encoding: str | None = None) -> Iterator[tuple[int, bytes]]:
    """Read a file line by line, unpacking and recoding it (see `open_bytes`).

    Args:
        path: The file; None is standard input.
        encoding: Of the text; UTF-8, or what a byte order mark says, if None.

    Yields:
        The line's number from 1, and its bytes as UTF-8 with what ends it: a line feed, or a carriage return where the
        first line ends with that alone. Bytes that are no UTF-8 are left as they are if no encoding was named.

    Raises:
        CorpusError: The file cannot be read, or not to its end. The lines before have been yielded.
    """
    number = 0
    try:
        with open_bytes(path, encoding) as opened:
            for number, line in enumerate(split_lines(opened), 1):
                yield number, line
    except READ_ERRORS as error:
        raise unreadable(path, f"line {number}", error) from error


def read_entries(path: Path | None, encoding: str | None = None) -> Iterator[str]:
    """Read what stands in a file one a line, ids or queries, without the spaces around it and blank lines.

    Raises:
        CorpusError: The file cannot be read to its end, or a line is not in its encoding.
    """
    for number, line in read_lines(path, encoding):
        try:
            entry = decode(line).strip()
        except ValueError as error:
            raise CorpusError(f"{name_of(path)}:{number} is {error}.") from None
        if entry:
            yield entry


def split_lines(opened: Opened) -> Iterator[bytes]:
    """Split what was opened at the line ends that its first line has."""
    if not ends_with_carriage_return(opened.head):
        yield from opened.stream
        return
    # Latin-1 has a character for every byte, and this class splits at any of Python's newlines.
    for line in io.TextIOWrapper(opened.stream, encoding="latin-1", newline="\r"):
        yield line.encode("latin-1")


def ends_with_carriage_return(head: bytes) -> bool:
    """Whether the first line ends with a carriage return alone, as old Macs and some exports have it."""
    before, found, after = head.partition(b"\r")
    return bool(found) and b"\n" not in before and not after.startswith(b"\n")


def read_line_range(path: Path, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a file that begin within a range of its bytes, so that ranges side by side share no line.

    Args:
        path: A file whose bytes are those of its text (`is_plain`), with line feeds.
        start: The first byte.
        stop: The first byte behind the range; a line that begins before it is read to its end.

    Yields:
        The place of the line's first byte, and its bytes as `read_lines` has them.

    Raises:
        CorpusError: The file cannot be read.
    """
    place = start
    try:
        with path.open("rb") as stream:
            if start:
                # From the byte before: it is a line feed where a line begins at `start`.
                stream.seek(start - 1)
                place += len(stream.readline()) - 1
            while place < stop and (line := stream.readline()):
                yield place, line if place else line.removeprefix(_BOM)
                place += len(line)
    except OSError as error:
        raise unreadable(path, f"byte {place}", error) from error


def decode(line: bytes) -> str:
    """Return the line as text.

    Raises:
        ValueError: It is not UTF-8; the message names the byte and its place.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8: byte 0x{line[error.start]:02x} at position {error.start} ({error.reason}); convert the file, "
            "or name its encoding, e.g. cp1252"
        ) from None


def unreadable(path: Path | None, after: str, error: Exception) -> CorpusError:
    """The error that ends the reading of a file."""
    if isinstance(error, UnicodeDecodeError):
        return CorpusError(f"{name_of(path)} cannot be decoded after {after}: {error}. Name its encoding.")
    return CorpusError(
        f"{name_of(path)} cannot be read after {after}: {error}. What came before it was read; restore the file and "
        "read it again."
    )
