"""Open text files as streams of UTF-8: decompression and transcoding."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from connector.errors import CorpusError

READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeError)
"""Errors of reading a file: it is missing, truncated, damaged, or not in its encoding."""

_HEAD_BYTES = 64 * 1024
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    # Before UTF-16, whose mark begins like it.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_TAR_HEADER, _TAR_MAGIC = slice(512), slice(257, 262)
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV",
    b"PAR1": "a Parquet file; set the format to parquet",
    b"ARROW1\0": "an Arrow or Feather file; convert it to Parquet",
    b"ORC": "an ORC file; convert it to Parquet",
    b"Obj\x01": "an Avro file; convert it to Parquet or JSON lines",
    b"SQLite format 3\0": "a SQLite database; export the table as CSV",
    b"%PDF-": "a PDF; extract its text first",
    b"\x04\x22\x4d\x18": "compressed by LZ4; decompress it",
    b"\xff\x06\x00\x00sNaPpY": "compressed by Snappy; decompress it",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"Rar!\x1a\x07": "a RAR archive; unpack it",
    b"version https://git-lfs.github.com/": "a pointer of Git LFS to the file; get the file by git lfs pull",
}
_WORDS = (b"PAR1", b"ORC")
"""Signatures with which a text can begin, too: a column ORCID, a query about the receptor PAR1."""

_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""A frame of metadata, with which some Zstandard files begin, such as those of pzstd."""

_ZSTANDARD_WINDOW = 2**31
"""The largest that `zstd --long=31` writes; by default, only up to 2^27 is read."""

_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x7f]")
"""Bytes that texts do not contain."""


class Opened(NamedTuple):
    """An open file.

    Attributes:
        stream: Its content, decompressed, as UTF-8 without a byte order mark.
        head: The beginning of the content, which `stream` also yields: up to 64 KiB, at least a line if there is one.
    """

    stream: IO[bytes]
    head: bytes


@contextmanager
def open_bytes(path: Path | None, encoding: str | None = None) -> Iterator[Opened]:
    """Open a text file.

    Args:
        path: The file; None is standard input, which stays open afterwards.
        encoding: Encoding of the text; None means UTF-8, or UTF-16 or UTF-32 if the file begins with its byte order
            mark.

    Raises:
        CorpusError: The file has the signature of another file type, or standard input is closed.
        OSError: The file cannot be opened.
    """
    if path is None:
        if sys.stdin is None:
            raise CorpusError("Standard input is closed; pipe the content to it, or give a file.")
        yield open_stream(sys.stdin.buffer, name_of(path), encoding)
        return
    with path.open("rb") as stream:
        yield open_stream(stream, name_of(path), encoding)


def is_plain(path: Path, encoding: str | None = None) -> bool:
    """Whether a file is neither compressed nor transcoded, so that reading can start at any line.

    Raises:
        CorpusError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            magic = stream.read(8)
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error}. Restore it and read it again.") from error
    return _packing(magic) is None and _encoding_of(magic, encoding) is None


def refuse_foreign(path: Path) -> None:
    """Raise an error if a file, which cannot be read as what it should be, has the signature of another type.

    Raises:
        CorpusError: It has.
    """
    with suppress(*READ_ERRORS), open_bytes(path):
        pass


def name_of(path: Path | None) -> str:
    """Return the name of a file in locations and errors."""
    return "<stdin>" if path is None else str(path)


class _Rejoined(io.RawIOBase):
    """A stream with its already consumed beginning. Closing it leaves the underlying stream open."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        chunk = self._head[: len(buffer)] if self._head else _read_some(self._rest, len(buffer))
        self._head = self._head[len(chunk) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Recoded(io.RawIOBase):
    """Transcodes a stream of text to UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        while not self._ready and not self._ended:
            chunk = _read_some(self._stream, _HEAD_BYTES)
            self._ended = not chunk
            self._ready = self._decoder.decode(chunk, final=self._ended).encode()
        chunk, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Zstandard(io.RawIOBase):
    """A stream of Zstandard frames; the package's own reader does not report a truncated one."""

    def __init__(self, stream: IO[bytes], new_frame: Callable[[], Any], error: type[Exception]) -> None:
        self._stream = stream
        self._new_frame = new_frame
        self._error = error
        self._frame: Any = None
        self._packed = b""
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        while not self._ready:
            packed = self._packed or _read_some(self._stream, _HEAD_BYTES)
            self._packed = b""
            if not packed:
                if self._frame is not None:
                    raise EOFError("Compressed file ended before the end-of-stream marker was reached")
                return 0
            self._unpack(packed)
        chunk, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def _unpack(self, packed: bytes) -> None:
        frame = self._frame or self._new_frame()
        try:
            self._ready = frame.decompress(packed)
        except self._error as error:
            raise OSError(str(error)) from error
        self._packed, self._frame = (frame.unused_data, None) if frame.eof else (b"", frame)


def open_stream(stream: IO[bytes], name: str, encoding: str | None = None) -> Opened:
    """Decompress and transcode a stream; arguments and errors as for `open_bytes`."""
    stream, head = _begin(stream)
    packed = False
    while (packing := _packing(head)) is not None:
        stream, head = _begin(_unpacked(stream, packing, name))
        packed = True
    if packed and head.startswith(b"PAR1") and not _is_text(head[4:]):
        raise CorpusError(f"{name} is a compressed Parquet file; decompress it.")
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic) and not (magic in _WORDS and _is_text(head[len(magic) :])):
            raise CorpusError(f"{name} is {kind}.")
    if _is_tar(head):
        raise CorpusError(f"{name} is a tar archive; unpack it and give the folder.")
    found = _encoding_of(head, encoding)
    if found is not None:
        stream, head = _begin(_buffered(_Recoded(stream, found)))
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
        head = head.removeprefix(codecs.BOM_UTF8)
    return Opened(stream, head)


def _begin(stream: IO[bytes]) -> tuple[IO[bytes], bytes]:
    """Read enough of a stream to detect its type; return the complete stream and this beginning.

    It reads no more than necessary, because a process that writes to a pipe may wait until its first line is handled.
    """
    head = b""
    while len(head) < _HEAD_BYTES and (len(head) < 512 or not _has_line(head)):
        chunk = _read_some(stream, _HEAD_BYTES - len(head))
        if not chunk:
            break
        head += chunk
        if _has_line(head) and head[-1:] == b"\n":
            break
    return _buffered(_Rejoined(head, stream)), head


def _has_line(head: bytes) -> bool:
    # Only the next byte shows whether a carriage return alone ends the line.
    return b"\n" in head or b"\r" in head[:-1]


def _read_some(stream: IO[bytes], most: int) -> bytes:
    """Read available bytes, at least one unless the stream has ended."""
    read = getattr(stream, "read1", stream.read)
    chunk: bytes = read(most)
    return chunk


def _is_text(rest: bytes) -> bool:
    return bool(rest) and _CONTROLS.search(rest) is None


def _is_tar(head: bytes) -> bool:
    """Whether a file begins with the header of an archive. Old archives have no magic, and a text can contain it."""
    try:
        tarfile.TarInfo.frombuf(head[_TAR_HEADER], "utf-8", "surrogateescape")
    except tarfile.HeaderError:  # its checksum is wrong
        return head[_TAR_MAGIC] == b"ustar" and not _is_text(head[_TAR_HEADER])
    return True


def _buffered(raw: io.RawIOBase) -> IO[bytes]:
    return io.BufferedReader(raw)


def _packing(head: bytes) -> str | None:
    magics = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}
    if _SKIPPABLE.match(head):
        return "zstandard"
    return next((packing for magic, packing in magics.items() if head.startswith(magic)), None)


def _unpacked(stream: IO[bytes], packing: str, name: str) -> IO[bytes]:
    if packing == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    if packing == "bzip2":
        return bz2.BZ2File(stream)
    if packing == "xz":
        return lzma.LZMAFile(stream)
    try:
        import zstandard
    except ImportError as error:
        raise CorpusError(f"{name} is compressed with Zstandard; pip install zstandard, or decompress it.") from error
    frames = zstandard.ZstdDecompressor(max_window_size=_ZSTANDARD_WINDOW)
    return _buffered(_Zstandard(stream, frames.decompressobj, zstandard.ZstdError))


def _encoding_of(head: bytes, asked: str | None) -> str | None:
    """The encoding to transcode from; None for UTF-8."""
    found = next((name for bom, name in _BOMS.items() if head.startswith(bom)), None)
    if found is not None:
        return None if found == "utf-8-sig" else found
    return None if asked is None or codecs.lookup(asked).name == "utf-8" else asked
