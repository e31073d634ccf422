"""How metadata can be asked for: as typed values where a store made the index, as words where `ksparse ingest` did."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

from connector.query import terms
from connector.query.clauses import Clause, negation, some
from connector.query.filters import words_equal
from connector.query.terms import Naive


class Metadata(Protocol):
    """Questions to metadata, by the path of a key. Values are Python's; errors are `ValueError`s."""

    def any_of(self, path: str, values: Iterable[Any]) -> Clause:
        """A value is equal to one of some; None is one that is missing."""
        ...

    def missing(self, path: str) -> Clause:
        """There is no value."""
        ...

    def empty(self, path: str) -> Clause:
        """There is no value, or an empty string or list."""
        ...

    def compare(self, path: str, operator: str, value: Any) -> Clause:  # noqa: ANN401
        """A value compares to another one by one of `COMPARISONS`."""
        ...

    def contains(self, path: str, text: str, *, ignore_case: bool) -> Clause:
        """A string holds another one."""
        ...


class TypedMetadata:
    """Metadata that a store keeps typed (`connector.query.terms`): numbers and dates compare as what they are.

    Args:
        naive: What a date without a zone is.
    """

    def __init__(self, naive: Naive = "utc") -> None:
        self._naive = naive

    def any_of(self, path: str, values: Iterable[Any]) -> Clause:
        """See `Metadata`."""
        return terms.any_of(path, values, naive=self._naive)

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
    """Metadata as an index of `ksparse ingest` has it: words, which cannot be compared as numbers or dates."""

    def any_of(self, path: str, values: Iterable[Any]) -> Clause:
        """See `Metadata`."""
        return words_equal(f"metadata.{path}", values)

    def missing(self, path: str) -> Clause:
        """See `Metadata`."""
        return negation({"exists": {"field": f"metadata.{path}"}})

    def empty(self, path: str) -> Clause:
        """See `Metadata`."""
        return some([self.missing(path), words_equal(f"metadata.{path}", [""])])

    def compare(self, path: str, operator: str, value: Any) -> Clause:  # noqa: ANN401
        """See `Metadata`."""
        raise ValueError(
            f"{operator!r} cannot compare {path!r}: the index keeps metadata as words. An index that this store makes "
            "keeps it typed; add the documents to a new one."
        )

    def contains(self, path: str, text: str, *, ignore_case: bool) -> Clause:
        """See `Metadata`."""
        pattern = re.sub(r"([*?\\])", r"\\\1", text)
        return {"wildcard": {f"metadata.{path}": {"value": f"*{pattern}*", "case_insensitive": ignore_case}}}
