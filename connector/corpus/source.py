"""From a path to a format and to lines of bytes. Knows files, folders, gzip and standard input; no records."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, NamedTuple, cast, get_args

from connector.errors import CorpusError

Format = Literal["jsonl", "csv", "tsv", "parquet"]

STANDARD_INPUT = "-"

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_DIGESTED_BYTES = 1 << 20
_BEIR_NAMES = ("corpus.jsonl", "corpus.jsonl.gz")


class Source(NamedTuple):
    """One corpus file and how to read it.

    Attributes:
        path: The file; None is standard input.
        format: How its records are written. Gzip is no format: it is recognised by the first bytes.
    """

    path: Path | None
    format: Format


def find_source(path: str | Path, format: Format | None = None) -> Source:
    """Find the corpus file behind a path and its format.

    Args:
        path: A file, a folder in BEIR's layout, or `-` for standard input.
        format: Overrules the suffix; standard input is JSONL without it.

    Raises:
        CorpusError: The path does not exist, a folder holds no `corpus.jsonl`, or the suffix says no format.
        ValueError: `format` is none of ours.
    """
    if format is not None and format not in get_args(Format):
        raise ValueError(f"format {format!r} is unknown; choose one of {', '.join(get_args(Format))}.")
    if str(path) == STANDARD_INPUT:
        if format == "parquet":
            raise CorpusError("Parquet cannot be read from standard input, it needs seeking; give the path of a file.")
        return Source(None, format or "jsonl")
    path = Path(path)
    if path.is_dir():
        if format not in (None, "jsonl"):
            raise CorpusError(f"{path} is a folder, which is read as BEIR; give the path of a {format} file in it.")
        return Source(_beir_corpus(path), "jsonl")
    if not path.exists():
        raise CorpusError(f"{path} does not exist; give a file, a BEIR folder, or - for standard input.")
    return Source(path, format or _format_of(path))


def find_sources(folder: Path, format: Format | None = None) -> list[Source]:
    """Find all corpus files of a folder: the corpus of a BEIR folder, else every file of a known format, by name.

    Args:
        folder: Searched with the folders in it.
        format: Overrules the suffixes: every file is of it.

    Raises:
        CorpusError: There is none.
    """
    if any((folder / name).is_file() for name in _BEIR_NAMES):
        return [find_source(folder, format)]
    names = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_")))
    sources = [Source(path, format or _format_of(path)) for path in names if format or _is_known(path)]
    if not sources:
        raise CorpusError(f"folder {folder} holds no corpus file; {', '.join(_SUFFIXES)} are known.")
    return sources


def digest_source(path: str | Path, format: Format | None = None) -> str:
    """Name the content of a corpus file by its size, beginning and end: SHA-256, 16 hexadecimal digits.

    Raises:
        CorpusError: The path does not exist, has no known format, or is standard input, which cannot be read again.
    """
    source = find_source(path, format)
    if source.path is None:
        raise CorpusError("Standard input cannot be read again from where it was left; give the path of a file.")
    size = source.path.stat().st_size
    digest = hashlib.sha256(f"{source.format} {size}".encode())
    with source.path.open("rb") as stream:
        digest.update(stream.read(_DIGESTED_BYTES))
        stream.seek(max(0, size - _DIGESTED_BYTES))
        digest.update(stream.read(_DIGESTED_BYTES))
    return digest.hexdigest()[:16]


def read_lines(path: Path | None) -> Iterator[tuple[int, bytes]]:
    r"""Read a file line by line, unpacking gzip.

    Args:
        path: The file; None is standard input.

    Yields:
        The line's number from 1, and its bytes with the line feed. A UTF-8 byte order mark is left out.

    Raises:
        CorpusError: The file cannot be read, or not to its end. The lines before have been yielded.
    """
    number = 0
    try:
        with _open(path) as stream:
            for number, line in enumerate(stream, 1):
                yield number, line.removeprefix(_BOM) if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(
            f"{name_of(path)} cannot be read after line {number}: {error}. What came before it was read; "
            "restore the file and read it again."
        ) from error


def read_line_range(path: Path, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a file that begin within a range of its bytes, so that ranges side by side share no line.

    Args:
        path: A file that is not packed.
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
        raise CorpusError(
            f"{path} cannot be read after byte {place}: {error}. Restore it and read it again."
        ) from error


def is_packed(path: Path) -> bool:
    """Whether a file is gzip, by its first bytes.

    Raises:
        CorpusError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(2) == _GZIP_MAGIC
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error}. Restore it and read it again.") from error


def name_of(path: Path | None) -> str:
    """Return the name by which locations and errors call a file."""
    return "<stdin>" if path is None else str(path)


@contextmanager
def _open(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        yield _unpacked(sys.stdin.buffer)
        return
    with path.open("rb") as stream:
        yield _unpacked(stream)


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    # Standard input is not a BufferedReader where a test runner stands in for it; then there is nothing to peek into.
    if isinstance(stream, io.BufferedReader) and stream.peek(2)[:2] == _GZIP_MAGIC:
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    return stream


def _format_of(path: Path) -> Format:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    suffix = "".join(suffixes[:-1][-1:] if packed else suffixes[-1:])
    found = _SUFFIXES.get(suffix)
    if found is None or (packed and found == "parquet"):
        raise CorpusError(
            f"{path} has a suffix that says no format; {', '.join(_SUFFIXES)} are known, all but Parquet with .gz too. "
            "Rename it or name the format."
        )
    return found


def _is_known(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(tuple(_SUFFIXES))


def _beir_corpus(folder: Path) -> Path:
    for name in _BEIR_NAMES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(path.name for path in folder.iterdir() if _is_known(path))
    others = f"found {', '.join(found)}; give the path of one of them" if found else "nor any other corpus file"
    raise CorpusError(f"folder {folder} holds no {' or '.join(_BEIR_NAMES)}, {others}.")
