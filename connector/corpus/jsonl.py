"""JSON lines -> documents, and the one place that parses JSON strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, TypeVar

from connector.corpus.source import Source, name_of, read_lines
from connector.types import MalformedRecord

T = TypeVar("T")


def read_jsonl(source: Source, check: Callable[[dict[str, Any]], T]) -> Iterator[T | MalformedRecord]:
    """Read a document, or something else, from each line that is not blank.

    Args:
        source: The file.
        check: From an object to what it stands for; a `ValueError` tells why it is malformed.

    Raises:
        CorpusError: The file cannot be read to its end.
    """
    name = name_of(source.path)
    yield from check_lines(((f"{name}:{number}", line) for number, line in read_lines(source.path)), check)


def check_lines(
    lines: Iterable[tuple[str, bytes]], check: Callable[[dict[str, Any]], T]
) -> Iterator[T | MalformedRecord]:
    """Do as `read_jsonl` does with lines that come with the place where they stand."""
    for location, line in lines:
        # The line feed would make a line that breaks off at its end break off in column 1 of a second one.
        line = line.rstrip(b"\r\n")
        if not line.strip():
            continue
        record: T | MalformedRecord
        try:
            record = check(parse_object(decode(line)))
        except ValueError as error:
            record = MalformedRecord(location, str(error), line.decode("utf-8", "backslashreplace"))
        yield record


def decode(line: bytes) -> str:
    """Return the line as text.

    Raises:
        ValueError: It is not UTF-8; the message names the byte and its place.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8: byte 0x{line[error.start]:02x} at position {error.start} ({error.reason}); convert the file"
        ) from None


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON object, more strictly than `json.loads`: no NaN, no Infinity, no key twice.

    Raises:
        ValueError: The text is no such object; the message says what is wrong and where.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not readable JSON: nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object but {text.strip()[:20]!r}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {repeated!r} stands twice in an object; only one value can be kept")
    return found


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"not valid JSON: {constant} is no JSON number")
