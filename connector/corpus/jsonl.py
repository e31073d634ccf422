"""Read documents from JSON lines and other JSON files, with strict parsing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from connector.corpus.envelopes import Envelopes, action_of, split_action
from connector.corpus.json_values import is_spread, read_values
from connector.corpus.layout import Layout, RecordMapper
from connector.corpus.lines import decode, ends_with_carriage_return, split_lines, unreadable
from connector.corpus.streams import READ_ERRORS, is_plain, name_of, open_bytes
from connector.types import Document, MalformedRecord

T = TypeVar("T")

_WHOLE = re.compile(r"[0-9]{1,19}(\.0+)?")
"""A whole number as text, which is all that some tables can hold."""

Located = Iterable[tuple[str, bytes]]
"""Texts of JSON values with their locations."""


def read_jsonl(
    path: Path | None, check: Callable[[dict[str, Any]], T], encoding: str | None = None
) -> Iterator[T | MalformedRecord]:
    """Convert each line that is not blank, or each element of an array.

    Args:
        path: The file; None is standard input.
        check: Converts an object; raises a `ValueError` with the reason if it is malformed.
        encoding: As in `open_bytes`.

    Raises:
        CorpusError: The file cannot be read completely.
    """
    for location, line in _read(path, encoding):
        try:
            yield check(_parse(line))
        except ValueError as error:
            yield _malformed(location, line, error)


def read_documents(path: Path | None, mapper: RecordMapper) -> Iterator[Document | MalformedRecord]:
    """Read documents, including those of dumps and bulk bodies (see `Envelopes`).

    Raises:
        CorpusError: The file cannot be read completely.
    """
    return map_documents(_read(path, mapper.layout.encoding), mapper)


def map_documents(located: Located, mapper: RecordMapper) -> Iterator[Document | MalformedRecord]:
    """Convert located JSON values as `read_documents` does."""
    envelopes = Envelopes()
    location, line, action = "", b"", b""
    for location, line in located:
        # A document of a bulk body has its id in the line before.
        raw, action = action + line, b""
        meant = None
        try:
            meant, foreign = envelopes.open(_parse(line))
            if meant is None:
                action = line + b"\n"
            else:
                yield mapper.document(meant, flat=foreign)
        except ValueError as error:
            envelopes.discard()
            yield _malformed(location, raw, error, mapper, meant)
    if envelopes.incomplete:
        lost = ValueError("is an action of a bulk body without a document")
        yield _malformed(location, line, lost, mapper)


def read_document(text: str, mapper: RecordMapper, *, flat: bool = False) -> Document:
    """Read a document from a JSON object: a record, a hit of a dump, or an action line of a bulk body and its document.

    Args:
        text: The object.
        mapper: Converts it.
        flat: Whether it is a row of a table: unknown keys become metadata, and null and empty values are omitted.

    Raises:
        ValueError: The document is invalid; the message is the reason for a `MalformedRecord`.
    """
    action, text = split_action(text)
    try:
        record = parse_object(text)
    except ValueError as error:
        hint = "" if text.lstrip().startswith("{") else "; rewrite a row of a table as a JSON object"
        raise ValueError(f"{error}{hint}") from None
    meant, foreign = Envelopes(action).open(record)
    if meant is None:
        raise ValueError("is an action of a bulk body; use its document, with its '_id'")
    if flat and not foreign:
        # A null or empty id is still the id, as in the table.
        mapper = mapper.with_id(mapper.layout.id_of(meant, mapper.checker.fields))
        meant = values_of(meant, mapper.layout)
    return mapper.document(meant, flat=foreign or flat)


def values_of(cells: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Return the values of a row of a table: without empty cells and None, with metadata and version as JSON values.

    Args:
        cells: Cells by column name.
        layout: Layout of the table.

    Raises:
        ValueError: The metadata is text that is not a JSON object.
    """
    texts = layout.texts
    values = {name: cell for name, cell in cells.items() if name in texts or not (cell is None or cell == "")}
    version = values.get("_version")
    if isinstance(version, str) and _WHOLE.fullmatch(version):
        values["_version"] = int(version.partition(".")[0])
    given = values.get("metadata")
    if isinstance(given, str) and "metadata" not in texts:
        try:
            values["metadata"] = parse_object(given)
        except ValueError as error:
            raise ValueError(f"'metadata' is {error}") from None
    return values


def is_cuttable(path: Path, encoding: str | None = None) -> bool:
    """Whether the lines of a file can be read independently.

    Raises:
        CorpusError: The file cannot be read.
    """
    if not is_plain(path, encoding):
        return False
    with open_bytes(path, encoding) as opened:
        if ends_with_carriage_return(opened.head) or is_spread(opened.head):
            return False
        return not is_action(next((line for line in split_lines(opened) if line.strip()), b""))


def count_lines(path: Path) -> int | None:
    """Estimate the number of records: all lines, or every second one of a bulk body.

    None if records are not on a line each, as in an array.

    Raises:
        CorpusError: The file cannot be read.
    """
    count = 0
    try:
        with open_bytes(path) as opened:
            if is_spread(opened.head):
                return None
            lines = split_lines(opened)
            first = next(lines, b"")
            count = (1 if first else 0) + sum(1 for _ in lines)
    except READ_ERRORS as error:
        raise unreadable(path, f"line {count}", error) from error
    return (count + 1) // 2 if is_action(first) else count


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON object, more strictly than `json.loads`: NaN, Infinity and duplicate keys are errors.

    The record separator that begins an object of a JSON text sequence (RFC 7464) is skipped.

    Raises:
        ValueError: The text is invalid; the message has the reason and the location.
    """
    try:
        value = _STRICT.decode(text.removeprefix("\x1e"))
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            raise ValueError("not valid JSON: byte order mark at column 1") from None
        hint = "; write one object per line, without commas between them" if error.msg == "Extra data" else ""
        if "\0" in text:
            hint = "; it contains NUL characters: set the encoding of the file, e.g. utf-16-le"
        raise ValueError(f"not valid JSON: {error.msg} at column {error.colno}{hint}") from None
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
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
                # With its line feed, an error at the end of the line would be reported in column 1 of a second line.
                if line := line.rstrip(b"\r\n"):
                    if not line.isspace():
                        yield f"{name}:{number}", line
    except READ_ERRORS as error:
        raise unreadable(path, f"line {number}", error) from error


def is_action(line: bytes) -> bool:
    """Whether a line is an action of a bulk body."""
    try:
        return action_of(_parse(line)) is not None
    except ValueError:
        return False


def _parse(line: bytes) -> dict[str, Any]:
    return parse_object(decode(line))


def _malformed(
    location: str,
    line: bytes,
    error: ValueError,
    mapper: RecordMapper | None = None,
    record: Mapping[str, Any] | None = None,
) -> MalformedRecord:
    partition = () if mapper is None else mapper.partition
    doc_id, routing = (None, None) if mapper is None or record is None else mapper.identify(record)
    raw = line.decode("utf-8", "backslashreplace")
    return MalformedRecord(location, str(error), raw, partition, doc_id=doc_id, routing=routing)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {repeated!r} occurs twice in an object; remove one")
    return found


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"not valid JSON: {constant} is not a JSON number")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
