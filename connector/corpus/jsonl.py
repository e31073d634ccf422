"""JSON lines, and JSON that is not in lines -> documents; the one place that parses JSON strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from connector.corpus.envelopes import Envelopes, action_of
from connector.corpus.json_values import is_spread, read_values
from connector.corpus.layout import RecordMapper
from connector.corpus.lines import decode, ends_with_carriage_return, split_lines, unreadable
from connector.corpus.streams import READ_ERRORS, is_plain, name_of, open_bytes
from connector.types import Document, MalformedRecord

T = TypeVar("T")

Located = Iterable[tuple[str, bytes]]
"""Texts of JSON values, each with the place where it stands."""


def read_jsonl(
    path: Path | None, check: Callable[[dict[str, Any]], T], encoding: str | None = None
) -> Iterator[T | MalformedRecord]:
    """Read something from each line that is not blank, or from each element of an array.

    Args:
        path: The file; None is standard input.
        check: From an object to what it stands for; a `ValueError` tells why it is malformed.
        encoding: As for `open_bytes`.

    Raises:
        CorpusError: The file cannot be read to its end.
    """
    for location, line in _read(path, encoding):
        try:
            yield check(_parse(line))
        except ValueError as error:
            yield _malformed(location, line, error)


def read_documents(path: Path | None, mapper: RecordMapper) -> Iterator[Document | MalformedRecord]:
    """Read documents as `read_jsonl` does; from what other tools wrapped them in as well (see `Envelopes`).

    Raises:
        CorpusError: The file cannot be read to its end.
    """
    return map_documents(_read(path, mapper.layout.encoding), mapper)


def map_documents(located: Located, mapper: RecordMapper) -> Iterator[Document | MalformedRecord]:
    """Do as `read_documents` does with lines that come with the place where they stand."""
    envelopes = Envelopes()
    location, line = "", b""
    for location, line in located:
        try:
            meant, foreign = envelopes.open(_parse(line))
            if meant is not None:
                yield mapper.document(meant, flat=foreign)
        except ValueError as error:
            envelopes.discard()
            yield _malformed(location, line, error)
    if envelopes.incomplete:
        yield _malformed(location, line, ValueError("is an action of a bulk body whose document is missing"))


def read_document(text: str, mapper: RecordMapper) -> Document:
    """Read the document of one JSON object that stands alone, wrapped or not.

    Raises:
        ValueError: It is none; the message is the reason, fit for a `MalformedRecord`.
    """
    try:
        record = parse_object(text)
    except ValueError as error:
        hint = "" if text.lstrip().startswith("{") else "; write a row of a table as an object"
        raise ValueError(f"{error}{hint}") from None
    meant, foreign = Envelopes().open(record)
    if meant is None:
        raise ValueError("is an action of a bulk body; give the document that belongs to it, with its '_id'")
    return mapper.document(meant, flat=foreign)


def is_cuttable(path: Path, encoding: str | None = None) -> bool:
    """Whether each line of a file can be read apart from the others.

    Raises:
        CorpusError: It cannot be read.
    """
    if not is_plain(path, encoding):
        return False
    with open_bytes(path, encoding) as opened:
        if ends_with_carriage_return(opened.head) or is_spread(opened.head):
            return False
        first = next((line for line in split_lines(opened) if line.strip()), b"")
    try:
        return action_of(_parse(first)) is None
    except ValueError:
        return True


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON object, more strictly than `json.loads`: no NaN, no Infinity, no key twice.

    Raises:
        ValueError: The text is no such object; the message says what is wrong and where.
    """
    try:
        value = _STRICT.decode(text)
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            raise ValueError("not valid JSON: byte order mark at column 1") from None
        raise ValueError(f"not valid JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not readable JSON: nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object but {text.strip()[:20]!r}")
    return value


def _read(path: Path | None, encoding: str | None) -> Iterator[tuple[str, bytes]]:
    name = name_of(path)
    number = 0
    try:
        with open_bytes(path, encoding) as opened:
            if is_spread(opened.head):
                yield from ((f"{name}:value {number}", value) for number, value in read_values(path, opened))
                return
            for number, line in enumerate(split_lines(opened), 1):
                # The line feed would make a line that breaks off at its end break off in column 1 of a second one.
                if line := line.rstrip(b"\r\n"):
                    if not line.isspace():
                        yield f"{name}:{number}", line
    except READ_ERRORS as error:
        raise unreadable(path, f"line {number}", error) from error


def _parse(line: bytes) -> dict[str, Any]:
    return parse_object(decode(line))


def _malformed(location: str, line: bytes, error: ValueError) -> MalformedRecord:
    return MalformedRecord(location, str(error), line.decode("utf-8", "backslashreplace"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {repeated!r} stands twice in an object; only one value can be kept")
    return found


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"not valid JSON: {constant} is not JSON number")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
