"""Filters on metadata: typed if a store created the index, as strings if `ksparse ingest` did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from connector.query import terms
from connector.query.clauses import Clause, literally, negation, some
from connector.query.filters import field_exists, in_range, words_equal
from connector.query.paths import TEXT_TYPES, WORD_TYPES, exact_path, is_declared
from connector.query.terms import COMPARISONS, Naive


class Metadata(Protocol):
    """Builds clauses on metadata keys. Values are Python values; errors are `ValueError`s."""

    def any_of(self, path: str, values: Iterable[Any]) -> Clause:
        """The field equals one of the values; None means missing."""
        ...

    def any_string(self, path: str, values: Iterable[str]) -> Clause:
        """The field is one of the strings as written, even if they are dates."""
        ...

    def missing(self, path: str) -> Clause:
        """The field is missing."""
        ...

    def empty(self, path: str) -> Clause:
        """The field is missing, or an empty string or list."""
        ...

    def compare(self, path: str, operator: str, value: Any) -> Clause:  # noqa: ANN401
        """The field compares to a value by one of `COMPARISONS`."""
        ...

    def contains(self, path: str, text: str, *, ignore_case: bool) -> Clause:
        """The field contains a substring."""
        ...


class TypedMetadata:
    """Typed metadata of a store (`connector.query.terms`), which supports comparisons of numbers and dates.

    Args:
        naive: How to read dates without a time zone.
    """

    def __init__(self, naive: Naive = "utc") -> None:
        self._naive = naive

    def any_of(self, path: str, values: Iterable[Any]) -> Clause:
        """See `Metadata`."""
        return terms.any_of(path, values, naive=self._naive)

    def any_string(self, path: str, values: Iterable[str]) -> Clause:
        """See `Metadata`."""
        return terms.any_string(path, values)

    def missing(self, path: str) -> Clause:
        """See `Metadata`."""
        return terms.missing(path)

    def empty(self, path: str) -> Clause:
        """See `Metadata`."""
        return terms.any_of(path, [None, "", []])

    def compare(self, path: str, operator: str, value: Any) -> Clause:  # noqa: ANN401
        """See `Metadata`."""
        return terms.compare(path, operator, value, naive=self._naive)

    def contains(self, path: str, text: str, *, ignore_case: bool) -> Clause:
        """See `Metadata`."""
        return terms.contains(path, text, ignore_case=ignore_case)


class WordsMetadata:
    """Metadata of an index of `ksparse ingest`: strings, and the declared fields with their types.

    Of a `text` field, its keyword subfield is compared; without one, only `missing` can be asked.

    Args:
        fields: Types of the fields that the index declares and of their subfields, by path.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def any_of(self, path: str, values: Iterable[Any]) -> Clause:
        """See `Metadata`."""
        return words_equal(self._place(path), values, fields=self._fields)

    def any_string(self, path: str, values: Iterable[str]) -> Clause:
        """See `Metadata`."""
        return self.any_of(path, values)

    def missing(self, path: str) -> Clause:
        """See `Metadata`."""
        return negation(field_exists(self._place(path), fields=self._fields))

    def empty(self, path: str) -> Clause:
        """See `Metadata`."""
        if self._fields.get(path, WORD_TYPES[0]) not in (*WORD_TYPES, *TEXT_TYPES):
            return self.missing(path)
        return some([self.missing(path), self.any_of(path, [""])])

    def compare(self, path: str, operator: str, value: Any) -> Clause:  # noqa: ANN401
        """See `Metadata`."""
        if path in self._fields:
            return in_range(exact_path(path, self._fields), operator, COMPARISONS[operator], value)
        raise ValueError(
            f"{operator!r} cannot compare {path!r}: the index has metadata as strings. Declare it as a field of the "
            "index, or add the documents to an index that this store creates, which has typed metadata."
        )

    def contains(self, path: str, text: str, *, ignore_case: bool) -> Clause:
        """See `Metadata`."""
        place = exact_path(self._place(path), self._fields)
        if ignore_case and not text.isascii():
            return terms.contains_in_any_case(place, text)
        return {"wildcard": {place: {"value": f"*{literally(text)}*", "case_insensitive": ignore_case}}}

    def _place(self, path: str) -> str:
        return path if is_declared(path, self._fields) else f"metadata.{path}"
