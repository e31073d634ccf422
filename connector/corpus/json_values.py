"""Read JSON that does not have one value per line: arrays, and objects that span several lines."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from connector.corpus.lines import unreadable
from connector.corpus.streams import READ_ERRORS, Opened, name_of
from connector.errors import CorpusError

_CHUNK_BYTES = 1 << 20
_MAX_CHARACTERS = 100 * 1024 * 1024
"""The server's default of `http.max_content_length`: larger values could not be indexed."""

_GAP = re.compile(r"[ \t\r\n\x1e]*")
"""White space, and the record separators of a JSON text sequence (RFC 7464)."""

_SPREAD = re.compile(rb"[ \t\r\n\x1e]*(\[|\{[ \t]*[\r\n])")


def is_spread(head: bytes) -> bool:
    """Whether a file begins with an array, or with an object that continues after a first line with only a brace."""
    return _SPREAD.match(head) is not None


def read_values(path: Path | None, opened: Opened) -> Iterator[tuple[int, bytes]]:
    """Read the elements of an array, or a sequence of values, one at a time.

    Yields:
        The number of the value, from 1, and its text as UTF-8. Invalid UTF-8 is passed through.

    Raises:
        CorpusError: The file cannot be read, or is not valid JSON. The values before the error have been yielded.
    """
    text = _Text(opened.stream)
    number = 0
    try:
        in_array = text.take("[")
        while not (in_array and text.take("]")) and not text.at_end():
            if in_array and number and not text.take(","):
                raise ValueError("',' expected")
            value = text.take_value()
            number += 1
            yield number, value.encode("utf-8", "surrogateescape")
        if not text.at_end():
            raise ValueError("there is data after the end of the array")
        if in_array and not text.closed:
            raise ValueError("the array is not closed")
    except READ_ERRORS as error:
        raise unreadable(path, f"value {number}", error) from error
    except (ValueError, RecursionError) as error:
        raise CorpusError(
            f"{name_of(path)} is not valid JSON after value {number}: {error}. The values before it were read; correct "
            "the file and read it again."
        ) from error


class _Text:
    """A stream of JSON that buffers only the current value."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.closed = False
        self._stream = stream
        # Numbers stay strings, so none is too long to parse.
        self._json = json.JSONDecoder(parse_int=str, parse_float=str)
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0
        self._ended = False

    def at_end(self) -> bool:
        """Skip white space and return whether the stream has ended."""
        return self._next() == ""

    def take(self, mark: str) -> bool:
        """Skip white space, and the mark if it is next; return whether it was."""
        found = self._next() == mark
        self._at += found
        self.closed = self.closed or (found and mark == "]")
        return found

    def take_value(self) -> str:
        """Return the text of the next value."""
        self._next()
        while True:
            try:
                _, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > _MAX_CHARACTERS or not self._fill():
                    raise ValueError(error.msg) from None
                continue
            # A number may continue after the end of the buffer.
            if end < len(self._text) or not self._fill():
                value, self._at = self._text[self._at : end], end
                return value

    def _next(self) -> str:
        while True:
            gap = _GAP.match(self._text, self._at)
            self._at = gap.end() if gap else self._at
            if self._at < len(self._text) or not self._fill():
                return self._text[self._at : self._at + 1]

    def _fill(self) -> bool:
        """Double the buffer, so that long values are not scanned too often."""
        if self._ended:
            return False
        chunk = self._stream.read(max(_CHUNK_BYTES, len(self._text) - self._at))
        self._ended = not chunk
        self._text = self._text[self._at :] + self._decoder.decode(chunk, final=self._ended)
        self._at = 0
        return True
