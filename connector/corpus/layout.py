"""Which names of a record hold which part of a document: one rule for all formats."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from connector.corpus.check import RESERVED, RecordChecker
from connector.types import Document

_log = logging.getLogger("ksparse.corpus")

_OWN = ("_version", "_routing", "metadata")
"""Names that mean the same in every corpus."""

Partition = tuple[tuple[str, str | int], ...]
"""Names and values that the folders of a file say of each of its records."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the records of a corpus are laid out, where it is not as expected.

    Attributes:
        id_field: What holds the id; `_id`, else `id`, if None.
        title_field: What holds the title; `title` if None.
        text_fields: What holds the text, joined by line feeds if there are several; `text` if there are none.
        exclude: Keys and columns that are left out.
        separator: What stands between the cells of a CSV or TSV file; found by the header if None.
        encoding: Of text files; UTF-8, or what a byte order mark says, if None.
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
                raise ValueError(f"{name!r} is named and excluded; do one of the two.")
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n'):
            raise ValueError(f"separator {self.separator!r} is not one character other than a quote or a line end.")
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(f"encoding {self.encoding!r} is unknown; try utf-16, cp1252 or latin-1.") from None

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of what holds the text."""
        return self.text_fields or ("text",)

    @property
    def title(self) -> str | None:
        """The name of what holds the title; None if that is taken for something else."""
        if self.title_field is not None:
            return self.title_field
        return None if "title" in (self.id_field, *self.text_fields) else "title"

    def id_of(self, names: Collection[str], fields: Collection[str]) -> str:
        """The name of what holds the id, among the names that there are."""
        if self.id_field is not None:
            return self.id_field
        return "id" if "id" in names and "_id" not in names and "id" not in fields else "_id"

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON has them, the same in each process."""
        return asdict(self) | {"text_fields": list(self.text_fields), "exclude": sorted(self.exclude)}


class RecordMapper:
    """Turns what a file holds into documents.

    Args:
        checker: Knows the rules of documents, and the declared fields.
        layout: Of the file.
        partition: What its folders say of each record; what a record says itself counts more.
    """

    def __init__(self, checker: RecordChecker, layout: Layout, partition: Partition = ()) -> None:
        self.checker = checker
        self.layout = layout
        self.partition = partition
        self._id_name: str | None = None
        self._said: set[str] = set()
        self._places: dict[str, dict[str, str | None]] = {}

    def with_id(self, name: str) -> RecordMapper:
        """The same for records whose id is called so; else each record decides, as it has one or not."""
        found = self.with_partition(self.partition)
        found._id_name = name
        return found

    def with_partition(self, partition: Partition) -> RecordMapper:
        """The same for other folders of the corpus."""
        found = RecordMapper(self.checker, self.layout, partition)
        found._said = self._said
        return found

    def say_once(self, about: str, message: str) -> None:
        """Log a warning, the first of the corpus about something."""
        if about not in self._said:
            self._said.add(about)
            _log.warning("%s.", message)

    def document(self, values: Mapping[str, Any], *, flat: bool) -> Document:
        """Return a record as a document.

        Args:
            values: By name.
            flat: Names that mean nothing to us are keys of the metadata; else they are refused.

        Raises:
            ValueError: The record breaks a rule; the message is the reason, fit for a `MalformedRecord`.
        """
        record = self._arranged(values, flat=flat)
        metadata = record.get("metadata")
        for name, value in self.partition:
            if name in self.layout.exclude:
                continue
            if name in self.checker.fields:
                record.setdefault(name, value)
            elif metadata is None or isinstance(metadata, Mapping):
                metadata = {name: value} | dict(metadata or {})
                record["metadata"] = metadata
        return self.checker.check(record)

    def _arranged(self, values: Mapping[str, Any], *, flat: bool) -> dict[str, Any]:
        """The record with the names that the checker knows."""
        layout = self.layout
        id_name = self._id_name or layout.id_of(values, self.checker.fields)
        places = self._places.get(id_name) or self._places_by(id_name)
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
            raise ValueError(f"has no {layout.id_field!r}, which was named as the id; it has {_listed(values)}")
        if not texts and "title" not in record:
            raise ValueError(
                f"has no {' or '.join(map(repr, layout.texts))} and no 'title'; it has {_listed(values)}. Name the "
                "field that holds the text"
            )
        record["text"] = _joined([texts[name] for name in layout.texts if name in texts])
        if flat:
            record["metadata"] = _merged(record.get("metadata"), others)
            return record
        if not others:
            return record
        for name in others:
            if name in RESERVED:
                raise ValueError(f"has the key {name!r} beside the one that was named for it; leave one of them out")
        return record | others

    def _places_by(self, id_name: str) -> dict[str, str | None]:
        """From a name to the checker's name for it, where the id is called so; None is left out."""
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
            raise ValueError(f"has {text!r} as a part of the text, which is not a string")
    return "\n".join(text for text in texts if text)


def _merged(metadata: Any, others: dict[str, Any]) -> Any:  # noqa: ANN401
    if metadata is None or not others:
        return others if metadata is None else metadata
    if not isinstance(metadata, Mapping):
        raise ValueError("'metadata' is not an object")
    for key in metadata.keys() & others.keys():
        raise ValueError(f"key {key!r} stands in 'metadata' and beside it as well; drop one")
    return {**metadata, **others}


def _listed(names: Collection[str], most: int = 10) -> str:
    shown = ", ".join(map(repr, list(names)[:most])) or "nothing"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
