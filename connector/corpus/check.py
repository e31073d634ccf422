"""Validate the parts of a record and create a `Document`; all rules for documents are here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from connector.corpus.values import exact, is_missing, stored
from connector.limits import MAX_ID_BYTES, check_depth
from connector.types import Document

RESERVED = ("_id", "_version", "_routing", "title", "text", "metadata")
"""Keys of a record that declared fields cannot have."""

REPEATED_ID = "is repeated, an earlier record has it"
"""Part of the reason for records with a repeated id."""


_TRUTHS = ("True", "False", "TRUE", "FALSE")
"""Spellings that the server refuses: those of CSV files by pandas and R."""

_TYPES_OF_BYTES = ("binary", "object", "nested", "")
"""Types of fields that may hold bytes, or have members that do; empty if the type is unknown."""

_INTEGER_TYPES = ("byte", "short", "integer", "long", "unsigned_long")

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class RecordChecker:
    """Creates documents from records and refuses those that cannot be indexed.

    To refuse repeated ids, a checker stores a 64-bit hash of each id, which takes about 80 bytes of memory (80 MB for a
    million documents). The probability that two of a hundred million ids share a hash is 0.03 %.

    Attributes:
        fields: Declared top-level fields besides title, text and metadata.
        texts: Those of which bytes are text in UTF-8; in others, they become Base64.
        generate_ids: Whether ids are generated for records without one.
    """

    def __init__(
        self, fields: Collection[str] = (), *, generate_ids: bool = False, refuse_repeated: bool = True
    ) -> None:
        """Create a checker for one corpus.

        Args:
            fields: Top-level fields that the index declares besides title, text and metadata, with types if known.
                For a `boolean`, True and False may be strings as Python and R write them; an integer must be whole.
            generate_ids: Use the SHA-256 of the content as the id of records without one, instead of refusing them.
            refuse_repeated: Refuse the second and later records with an id.

        Raises:
            ValueError: `fields` is a single string.
        """
        if isinstance(fields, str):
            raise ValueError(f"fields must be a collection of names, got the string {fields!r}; pass [{fields!r}].")
        self.fields = frozenset(fields) - set(RESERVED)
        types = fields if isinstance(fields, Mapping) else {}
        self.texts = frozenset(name for name in self.fields if types.get(name) not in (None, *_TYPES_OF_BYTES))
        self._booleans = frozenset(name for name in self.fields if types.get(name) == "boolean")
        self._integers = frozenset(name for name in self.fields if types.get(name) in _INTEGER_TYPES)
        self.generate_ids = generate_ids
        self._seen: set[int] | None = set() if refuse_repeated else None

    def check(self, record: Mapping[str, Any]) -> Document:
        """Return the record as a document.

        Args:
            record: `_id` (string or integer), `text` and the optional `title` (strings; None means absent), `metadata`
                (an object), `_version` (an integer), `_routing` (string or integer), and declared fields. Title and
                text must not both be blank.

        Raises:
            ValueError: The record is invalid; the message is the reason for a `MalformedRecord`.
        """
        doc_id = self._doc_id(record)
        title, text = _string(record, "title"), _string(record, "text")
        if not title.strip() and not text.strip():
            raise ValueError("has an empty 'text' and no 'title'; there is nothing to encode")
        metadata = _object(record, "metadata")
        version = _version(record)
        fields = {key: stored(value) for key, value in record.items() if key not in RESERVED}
        for key in self._booleans & fields.keys():
            if str(fields[key]) in _TRUTHS:
                fields[key] = str(fields[key]).lower() == "true"
        for key in self._integers & fields.keys():
            _refuse_fraction(key, fields[key])
        unknown = [key for key in fields if key not in self.fields]
        if unknown:
            key, *others = unknown
            if not isinstance(key, str):
                raise ValueError(f"has the key {key!r}, which is not a string")
            declarable = "" if key.startswith("_") or "." in key else ", or declare it as a field of a new index"
            likewise = f"; likewise {listed(others)}" if others else ""
            raise ValueError(
                f"field {key!r} is not in the mapping; put it under 'metadata' or remove it{declarable}{likewise}"
            )
        written = _write(title, text, metadata, fields)
        check_depth({"metadata": metadata, **fields}, written)
        if doc_id is None:
            doc_id = hashlib.sha256(written).hexdigest()
        self._refuse_repeated(doc_id)
        return Document(doc_id, text, title, metadata, fields, version, read_routing(record))

    def identify(self, record: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Return the id and the routing of a record, which may be malformed otherwise; None for what is unreadable."""
        doc_id = routing = None
        with suppress(ValueError):
            doc_id = self._doc_id(record)
        with suppress(ValueError):
            routing = read_routing(record)
        return doc_id, routing

    def _doc_id(self, record: Mapping[str, Any]) -> str | None:
        doc_id = exact(record.get("_id"))
        if isinstance(doc_id, int) and not isinstance(doc_id, bool):
            doc_id = str(doc_id)
        if doc_id is not None and not isinstance(doc_id, str):
            raise ValueError(f"'_id' is {_kind(doc_id)}, not a string or an integer")
        if doc_id is None or not doc_id.strip():
            if self.generate_ids:
                return None
            similar = next((key for key in record if key not in RESERVED and str(key).lower().endswith("id")), None)
            hint = "" if similar is None else f"; if {similar!r} is the id, set the id field"
            raise ValueError(f"has no '_id'; add one, or generate ids from the content{hint}")
        try:
            size = len(doc_id.encode())
        except UnicodeEncodeError as error:
            raise ValueError(f"'_id' cannot be sent as UTF-8: {error}") from None
        if size > MAX_ID_BYTES:
            raise ValueError(f"'_id' is {size} bytes long, the server allows {MAX_ID_BYTES}; shorten it")
        return doc_id

    def _refuse_repeated(self, doc_id: str) -> None:
        if self._seen is None:
            return
        # Not hash(), which differs between processes: a resumed run must refuse the same records.
        digest = int.from_bytes(hashlib.blake2b(doc_id.encode(), digest_size=8).digest(), "little")
        if digest in self._seen:
            raise ValueError(f"{repeated(doc_id)}; ids must be unique")
        self._seen.add(digest)


def repeated(doc_id: str) -> str:
    """The beginning of the reason for a record whose id an earlier record has."""
    return f"'_id' {doc_id!r} {REPEATED_ID}"


def read_routing(record: Mapping[str, Any]) -> str | None:
    """Return the `_routing` of a record; None if it has none.

    Raises:
        ValueError: It is neither a string nor an integer, or cannot be sent.
    """
    value = exact(record.get("_routing"))
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"'_routing' is {_kind(value)}, not a string or an integer")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"'_routing' cannot be sent as UTF-8: {error}") from None
    return value


def _string(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if is_missing(value):
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{key!r} is {_kind(value)}, not a string")
    return value


def _object(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    if is_missing(value):
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key!r} is {_kind(value)}, not an object")
    for name in value:
        if not isinstance(name, str):
            raise ValueError(f"{key!r} has the key {name!r}, which is not a string")
    converted: dict[str, Any] = stored(value)
    return converted


def _refuse_fraction(key: str, value: Any) -> None:  # noqa: ANN401
    """Refuse numbers that the server would truncate, so that filters would find another value than the stored one."""
    for each in value if isinstance(value, list) else [value]:
        if _is_fraction(each):
            raise ValueError(f"field {key!r} is an integer in the index, got {each}; round it, or declare it as double")


def _is_fraction(value: Any) -> bool:  # noqa: ANN401
    """Whether a value is a number that is not whole, or such a number as a string; the server judges other strings."""
    if isinstance(value, float):
        return not value.is_integer()
    if not isinstance(value, str):
        return False
    try:
        number = Decimal(value)
    except InvalidOperation:
        return False
    return number.is_finite() and number != number.to_integral_value()


def _version(record: Mapping[str, Any]) -> int | None:
    value = exact(record.get("_version"))
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"'_version' is {_kind(value)}, not an integer")
    if not 0 <= value < 2**63:
        raise ValueError(f"'_version' is {value}, the server allows 0 to 2^63 - 1")
    return value


def listed(names: Collection[str], most: int = 10) -> str:
    """The first names, quoted, and the number of others."""
    shown = ", ".join(map(repr, list(names)[:most])) or "nothing"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _write(title: str, text: str, metadata: dict[str, Any], fields: dict[str, Any]) -> bytes:
    """Serialize the content as canonical JSON; fails for values that cannot be sent to a server."""
    content = {"title": title, "text": text, "metadata": metadata, "fields": fields}
    try:
        return _canonical(content)
    except (ValueError, TypeError, RecursionError) as error:
        # The faulty part is only searched for in refused records.
        parts: dict[str, Any] = {"title": title, "text": text, **fields}
        parts |= {f"metadata.{key}": {key: value} for key, value in metadata.items()}
        for name, value in parts.items():
            _refuse_unwritable(name, value)
        raise ValueError(f"cannot be written as JSON: {error}") from None


def _refuse_unwritable(name: str, value: object) -> None:
    try:
        _canonical(value)
    except UnicodeEncodeError as error:
        raise ValueError(f"{name!r} cannot be sent as UTF-8: {error}") from None
    except (ValueError, TypeError, RecursionError) as error:
        infinite = "; leave infinite numbers out" if "Out of range float" in str(error) else ""
        raise ValueError(f"{name!r} cannot be written as JSON: {error}{infinite}") from None


def _canonical(value: object) -> bytes:
    return _CANONICAL.encode(value).encode()


def _kind(value: object) -> str:
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a float",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), f"of type {type(value).__name__}")
