"""Where filters find a field in an index. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from connector.limits import MAX_TERM_BYTES

TEXT_TYPES = ("text", "match_only_text", "search_as_you_type", "annotated_text")
"""Field types that are analysed: a clause on them compares single words, not the whole value."""

FLAT_TYPES = ("flat_object", "flattened")
"""Field types whose keys are indexed as strings, without a mapping of their own."""

METADATA_KEYS = "metadata.*"
"""Name in types of fields that stands for all keys of `metadata`."""

WORD_TYPES = ("keyword", "constant_keyword", "wildcard", *FLAT_TYPES)
"""Field types that compare strings as written, not the numbers they represent."""

_NUMBER_TYPES = ("byte", "short", "integer", "long", "unsigned_long", "half_float", "float", "double", "scaled_float")

_WHOLE_TYPES = ("keyword", "constant_keyword", "wildcard")


class FieldType(str):
    """The type of a field.

    Attributes:
        longest: Length above which the server does not index a value (`ignore_above`); None without such a limit.
    """

    __slots__ = ("longest",)
    longest: int | None

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> FieldType:
        """The type in the definition of a field in a mapping."""
        made = cls(definition.get("type", "object"))
        made.longest = definition.get("ignore_above")
        return made


def is_declared(name: str, fields: Collection[str]) -> bool:
    """Whether a name is a declared field, or a key of a declared `flat_object`.

    Args:
        name: Name in a filter.
        fields: Declared fields and their subfields by path, with their types if known.

    Raises:
        ValueError: The field is, or lies in, one of type `nested`, in which clauses on a path find nothing.
    """
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        if _kind(above := ".".join(parts[:count]), fields) == "nested":
            raise ValueError(
                f"the field {name!r} cannot be compared by its name, because {above!r} has the type 'nested'. Pass a "
                f'query clause from Python, e.g. {{"nested": {{"path": "{above}", "query": {{...}}}}}}.'
            )
    return name in fields or ("." in name and _kind(name.partition(".")[0], fields) in FLAT_TYPES)


def path_of(name: str, fields: Collection[str]) -> str:
    """The path of a name in a filter: `_id` and declared fields as they are, other names under `metadata`.

    Args:
        name: Name in a filter.
        fields: As in `is_declared`.

    Raises:
        ValueError: As in `is_declared`.
    """
    own = name == "_id" or name.startswith("metadata.") or is_declared(name, fields)
    return name if own else f"metadata.{name}"


def is_flat_key(path: str, fields: Collection[str]) -> bool:
    """Whether a path is known to be a key of a `flat_object`, which indexes only the paths of strings.

    Args:
        path: Path of a field.
        fields: As in `is_declared`; `METADATA_KEYS` has the type of `metadata`.
    """
    top, dot, _ = path.partition(".")
    return bool(dot) and _kind(METADATA_KEYS if top == "metadata" else top, fields) == "flat_object"


def exact_path(path: str, fields: Collection[str]) -> str:
    """The path at which whole values are compared: of an analysed field, its keyword subfield.

    Args:
        path: Path of a field.
        fields: As in `is_declared`.

    Raises:
        ValueError: The field is analysed and has no such subfield.
    """
    kind = _kind(path, fields)
    if kind not in TEXT_TYPES or not isinstance(fields, Mapping):
        return path
    whole = [name for name, each in fields.items() if name.startswith(f"{path}.") and each in _WHOLE_TYPES]
    if not whole:
        raise ValueError(
            f"the field {path!r} has the type {kind!r}, which is indexed by words, so a filter cannot compare its "
            "whole value. Declare it as keyword in a new index, or pass a query clause from Python, e.g. "
            f'{{"match": {{"{path}": "x"}}}}.'
        )
    return f"{path}.keyword" if f"{path}.keyword" in whole else whole[0]


def check_lengths(path: str, values: Iterable[Any], fields: Collection[str]) -> None:
    """Refuse values that a field does not index, so that a filter would find no document, or with a negation all.

    Args:
        path: Path of the field that is compared.
        values: The values.
        fields: As in `is_declared`.

    Raises:
        ValueError: A string is longer than the field's `ignore_above`, or than a `flat_object` indexes.
    """
    longest = getattr(_kind(path, fields), "longest", None)
    for value in (each for each in values if isinstance(each, str)):
        if path.startswith("metadata.") and len(path.encode()) + len(value.encode()) > MAX_TERM_BYTES:
            raise ValueError(
                f"{path!r} is indexed up to {MAX_TERM_BYTES:,} bytes with its name, so a filter cannot compare a value "
                f"of {len(value):,} characters: {value[:20]!r}... Filter by another key, e.g. a digest of it."
            )
        if longest is not None and len(value) > longest:
            raise ValueError(
                f"the field {path!r} does not index values above {longest:,} characters (ignore_above), so a filter "
                f"cannot compare one of {len(value):,}: {value[:20]!r}... Ingest into a new index with a higher "
                "limit."
            )


def check_numbers(path: str, values: Iterable[Any], fields: Collection[str]) -> None:
    """Refuse values that a numeric field cannot be compared with; the server's error names neither field nor rule.

    Args:
        path: Path of the field that is compared.
        values: The values.
        fields: As in `is_declared`.

    Raises:
        ValueError: The field is numeric, and a value is not a number.
    """
    kind = _kind(path, fields)
    for value in values if kind in _NUMBER_TYPES else ():
        try:
            float(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"the field {path!r} has the type {kind}; compare it with a number, not {value!r}."
            ) from None


def _kind(path: str, fields: Collection[str]) -> str | None:
    """The type of a field; None if it is unknown."""
    kind: str | None = fields.get(path) if isinstance(fields, Mapping) else None
    return kind
