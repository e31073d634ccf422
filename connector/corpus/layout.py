"""Map the names of a record to the parts of a document, for all formats."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from connector.corpus.check import RESERVED, RecordChecker, listed
from connector.corpus.values import HOLDS_EMBEDDINGS, is_embedding
from connector.types import Document

_log = logging.getLogger("ksparse.corpus")

_OWN = ("_version", "_routing", "metadata")
"""Names with the same meaning in every corpus."""

Partition = tuple[tuple[str, str | int], ...]
"""Names and values from the folders of a file, which apply to all its records."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names, separator and encoding of a corpus that differ from the defaults.

    Attributes:
        id_field: Field of the id; None means `_id`, else `id`.
        title_field: Field of the title; None means `title`.
        text_fields: Fields of the text, joined by line feeds; empty means `text`.
        exclude: Keys and columns to skip.
        separator: Separator of CSV or TSV files; None detects it from the header.
        encoding: Encoding of text files; None means UTF-8, or that of the byte order mark.
    """

    id_field: str | None = None
    title_field: str | None = None
    text_fields: tuple[str, ...] = ()
    exclude: frozenset[str] = frozenset()
    separator: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        for name in ("text_fields", "exclude"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a collection of names, got the string {getattr(self, name)!r}.")
        object.__setattr__(self, "text_fields", tuple(self.text_fields))
        object.__setattr__(self, "exclude", frozenset(self.exclude))
        named = [name for name in (self.id_field, self.title_field, *self.text_fields) if name is not None]
        for name in named:
            if named.count(name) > 1:
                raise ValueError(f"{name!r} is named twice; id, title and text are different fields.")
            if name in self.exclude:
                raise ValueError(f"{name!r} is both named and excluded; choose one.")
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n'):
            raise ValueError(f"separator {self.separator!r} must be one character, but not a quote or a line end.")
        if self.encoding is not None:
            try:
                # Python also knows codecs that are no encodings of text, such as base64.
                "".encode(self.encoding)
            except (LookupError, ValueError):
                raise ValueError(f"encoding {self.encoding!r} is unknown; try utf-16, cp1252 or latin-1.") from None

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the text fields."""
        return self.text_fields or ("text",)

    @property
    def title(self) -> str | None:
        """Name of the title field; None if `title` is used as the id or text."""
        if self.title_field is not None:
            return self.title_field
        return None if "title" in (self.id_field, *self.text_fields) else "title"

    def id_of(self, names: Collection[str], fields: Collection[str]) -> str:
        """Name of the id field, given the names of a record or table and the declared fields."""
        if self.id_field is not None:
            return self.id_field
        return "id" if "id" in names and "_id" not in names and "id" not in fields else "_id"

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON values, in a fixed order."""
        return asdict(self) | {"text_fields": list(self.text_fields), "exclude": sorted(self.exclude)}


class RecordMapper:
    """Converts the records of a file to documents.

    Args:
        checker: Checks documents, and has the declared fields.
        layout: Layout of the file.
        partition: Partition values of the file; values in a record take precedence.
    """

    def __init__(self, checker: RecordChecker, layout: Layout, partition: Partition = ()) -> None:
        self.checker = checker
        self.layout = layout
        self.partition = partition
        self._id_name: str | None = None
        self._said: set[str] = set()
        self._places: dict[str, dict[str, str | None]] = {}

    def with_id(self, name: str) -> RecordMapper:
        """Return a mapper with a fixed id field; otherwise it is determined for each record."""
        found = self.with_partition(self.partition)
        found._id_name = name
        return found

    def with_partition(self, partition: Partition) -> RecordMapper:
        """Return a mapper for a file in other folders of the corpus."""
        found = RecordMapper(self.checker, self.layout, partition)
        found._said = self._said
        return found

    def say_once(self, about: str, message: str) -> None:
        """Log a warning, once per corpus and subject."""
        if about not in self._said:
            self._said.add(about)
            _log.warning("%s.", message)

    def document(self, values: Mapping[str, Any], *, flat: bool) -> Document:
        """Convert a record to a document.

        Args:
            values: Values by name.
            flat: Whether unknown names become metadata; otherwise they are refused.

        Raises:
            ValueError: The record is invalid; the message is the reason for a `MalformedRecord`.
        """
        record = self._arranged(values, flat=flat)
        metadata = record.get("metadata")
        for name, value in self.partition:
            if name in self.layout.exclude:
                continue
            if name in self.checker.fields:
                if record.get(name) is None:
                    record[name] = value
            elif metadata is None or isinstance(metadata, Mapping):
                given = {key: each for key, each in (metadata or {}).items() if key != name or each is not None}
                record["metadata"] = metadata = {name: value} | given
        return self.checker.check(record)

    def identify(self, values: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Return the id and the routing of a record, which may be malformed otherwise; None for what is unreadable."""
        places = self._places_of(values)
        return self.checker.identify({place: value for name, value in values.items() if (place := places.get(name))})

    def _arranged(self, values: Mapping[str, Any], *, flat: bool) -> dict[str, Any]:
        """Return the record with the names that the checker expects."""
        layout = self.layout
        places = self._places_of(values)
        record: dict[str, Any] = {}
        texts: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name, value in values.items():
            if name not in places:
                others[name] = value
            elif (place := places[name]) == "text":
                texts[name] = value
            elif place is not None:
                record[place] = value
        if layout.id_field is not None and "_id" not in record and not self.checker.generate_ids:
            raise ValueError(f"has no id field {layout.id_field!r}; it has {listed(values)}")
        if not texts and "title" not in record:
            missing = f"has no {' or '.join(map(repr, layout.texts))} and no 'title'; it has {listed(values)}"
            raise ValueError(f"{missing}. {_advice(values)}")
        record["text"] = _joined([texts[name] for name in layout.texts if name in texts])
        if flat:
            record["metadata"] = _merged(record.get("metadata"), self._without_embeddings(others))
            return record
        if not others:
            return record
        for name in others:
            if name in RESERVED:
                raise ValueError(
                    f"has the key {name!r} in addition to the one that the layout uses for it; exclude one"
                )
        return record | others

    def _without_embeddings(self, others: dict[str, Any]) -> dict[str, Any]:
        """Leave embeddings out, with a warning."""
        embeddings = [name for name, value in others.items() if is_embedding(value)]
        for name in embeddings:
            self.say_once(name, f"Key {name!r} {HOLDS_EMBEDDINGS}; such values are skipped")
        return {name: value for name, value in others.items() if name not in embeddings} if embeddings else others

    def _places_of(self, values: Mapping[str, Any]) -> dict[str, str | None]:
        id_name = self._id_name or self.layout.id_of(values, self.checker.fields)
        return self._places.get(id_name) or self._places_by(id_name)

    def _places_by(self, id_name: str) -> dict[str, str | None]:
        """Map names to those of the checker, or to None if excluded, for a given id field."""
        layout = self.layout
        places: dict[str, str | None] = {name: name for name in (*_OWN, *self.checker.fields)}
        if layout.title is not None:
            places[layout.title] = "title"
        places |= dict.fromkeys(layout.texts, "text") | {id_name: "_id"} | dict.fromkeys(layout.exclude)
        self._places[id_name] = places
        return places


def _joined(texts: list[Any]) -> Any:  # noqa: ANN401
    if len(texts) <= 1:
        return texts[0] if texts else None
    for text in texts:
        if text is not None and not isinstance(text, str):
            raise ValueError(f"has a text field with {text!r}, which is not a string")
    return "\n".join(text for text in texts if text)


def _merged(metadata: Any, others: dict[str, Any]) -> Any:  # noqa: ANN401
    if not (metadata is None or isinstance(metadata, Mapping)):
        if not others:
            return metadata  # refused later
        raise ValueError("'metadata' is not an object")
    merged = dict(metadata or {})
    for name, value in others.items():
        key = name.removeprefix("metadata.")  # as exports flatten objects
        if key in merged:
            raise ValueError(f"key {key!r} occurs both in 'metadata' and at the top level; remove one")
        merged[key] = value
    return merged


def _advice(values: Mapping[str, Any]) -> str:
    """The next step for a record without text, which may contain the records instead."""
    if {"operation", "reason", "attempts"} <= values.keys():
        return "It is a dead letter; use `ksparse replay`"
    hits = values.get("hits")
    if isinstance(hits, Mapping) and isinstance(hits.get("hits"), list):
        return "It is the reply of a search; give its hits, as an array or one a line (jq -c '.hits.hits[]')"
    for name, value in values.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            return f"The records seem to be in {name!r}; give that array alone"
    if len(values) > 1 and all(isinstance(item, Mapping) for item in values.values()):
        return "The records seem to be the values of this object; give them as an array or one a line (jq -c '.[]')"
    return "Set the text field"
