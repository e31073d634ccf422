"""How values of Arrow types become JSON values. pyarrow is imported on demand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from connector.corpus.values import EMBEDDING_NUMBERS, plain, shortest

_EXTENSIONS = ("arrow.uuid", "arrow.json", "arrow.bool8")
"""Supported extension types; others (tensors, pickles) are skipped."""

_BYTES = "contains bytes"

Converter = Callable[[Any], Any]
"""Converts a result of Arrow's `as_py`; raises a `ValueError` for a value that JSON does not have."""

Skip = Callable[[str, str], None]
"""Called with the path of a skipped member of a struct and the reason."""


def converter_of(kind: Any, skip: Skip | None) -> Converter | str:  # noqa: ANN401
    """Return the converter of a type, or the reason why its values cannot be stored.

    Maps become objects; NaN, None; whole floats, integers; float32, its shortest decimal.

    Args:
        kind: A pyarrow type.
        skip: Called for each member of a struct that cannot be stored; None keeps all members and bytes.
    """
    return _converter(kind, skip, ())


def in_microseconds(array: Any) -> Any:  # noqa: ANN401
    """Convert times with nanoseconds, which Python does not support, to microseconds."""
    return array.cast(_with_microseconds(array.type), safe=False) if "[ns" in str(array.type) else array


def holds_floats(kind: Any) -> bool:  # noqa: ANN401
    """Whether a type is a list of floats, of any length."""
    from pyarrow import types

    return _is_list(kind) and bool(types.is_floating(kind.value_type))


def is_embedding_type(kind: Any) -> bool:  # noqa: ANN401
    """Whether all values of a type are embeddings: lists of floats whose length is fixed and at least 64."""
    from pyarrow import types

    return bool(types.is_fixed_size_list(kind)) and holds_floats(kind) and kind.list_size >= EMBEDDING_NUMBERS


def _converter(kind: Any, skip: Skip | None, path: tuple[str, ...]) -> Converter | str:  # noqa: ANN401
    from pyarrow import types

    if reason := skip and _unstorable(kind):
        return reason
    if types.is_dictionary(kind):
        return _converter(kind.value_type, skip, path)
    if types.is_struct(kind):
        return _of_struct(kind, skip, path)
    if types.is_map(kind):
        keys, items = (_converter(each, skip, path) for each in (kind.key_type, kind.item_type))
        if isinstance(keys, str) or isinstance(items, str):
            return _BYTES if _BYTES in (keys, items) else str(items)
        return lambda pairs: None if pairs is None else _from_pairs(pairs, items)
    if _is_list(kind):
        of_item = _converter(kind.value_type, skip, path)
        if isinstance(of_item, str):
            return of_item
        return lambda values: None if values is None else [of_item(value) for value in values]
    if types.is_float16(kind) or types.is_float32(kind):
        narrow = np.float16 if types.is_float16(kind) else np.float32
        return lambda value: None if value is None else _scalar(shortest(narrow(value)))
    return _scalar


def _is_list(kind: Any) -> bool:  # noqa: ANN401
    return "list" in str(kind).partition("<")[0]


def _of_struct(kind: Any, skip: Skip | None, path: tuple[str, ...]) -> Converter | str:  # noqa: ANN401
    members: dict[str, Converter] = {}
    skipped: dict[tuple[str, ...], str] = {}
    for field in kind:
        inner = (*path, field.name)
        found = _converter(field.type, skip, inner)
        if isinstance(found, str):
            skipped[inner] = found
        else:
            members[field.name] = found
    if skipped and not members:
        return next(iter(skipped.values()))
    if skip is not None:
        for inner, reason in skipped.items():
            skip(".".join(inner), reason)
    return lambda value: None if value is None else {name: convert(value[name]) for name, convert in members.items()}


def _unstorable(kind: Any) -> str | None:  # noqa: ANN401
    """The reason why values of a type that has no parts cannot be stored; None if they can."""
    extension = getattr(kind, "extension_name", None)
    if extension is not None and extension not in _EXTENSIONS:
        return f"has the type {extension}"
    text = str(kind)
    return _BYTES if "binary" in text and not any(part in text for part in ("struct<", "list", "map<")) else None


def _scalar(value: Any) -> Any:  # noqa: ANN401
    if not isinstance(value, float):
        return value
    if math.isinf(value):
        raise ValueError(f"{value} is not a JSON number")
    # Integer columns with missing values are floats, including ids and versions.
    return None if math.isnan(value) else plain(value)


def _from_pairs(pairs: list[tuple[Any, Any]], convert: Converter) -> dict[str, Any]:
    """Convert the pairs of a map to an object; repeated keys get a list of their values."""
    found: dict[str, list[Any]] = {}
    for key, value in pairs:
        found.setdefault(str(plain(key)), []).append(convert(value))
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def _with_microseconds(kind: Any) -> Any:  # noqa: ANN401
    """The type with microseconds instead of nanoseconds."""
    import pyarrow

    types = pyarrow.types
    if types.is_struct(kind):
        return pyarrow.struct([field.with_type(_with_microseconds(field.type)) for field in kind])
    if types.is_map(kind):
        return pyarrow.map_(_with_microseconds(kind.key_type), _with_microseconds(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind):
        make = pyarrow.list_ if types.is_list(kind) else pyarrow.large_list
        return make(kind.value_field.with_type(_with_microseconds(kind.value_type)))
    if types.is_timestamp(kind):
        return pyarrow.timestamp("us", tz=kind.tz)
    if types.is_time64(kind):
        return pyarrow.time64("us")
    return pyarrow.duration("us") if types.is_duration(kind) else kind
