"""Rows of Arrow tables -> documents: from Parquet files and from Ray. Arrow itself is imported by those who read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from connector.corpus.columns import Columns
from connector.corpus.layout import RecordMapper
from connector.corpus.values import plain
from connector.types import Document, MalformedRecord

_EXTENSIONS = ("arrow.uuid", "arrow.json", "arrow.bool8")
"""Types of extension whose values are known; of others (tensors, pickles) there is nothing to be stored."""


class ArrowReader:
    """Reads the rows of one table.

    Values are converted to Python's types, maps to objects; NaN is not a value. Columns of bytes, tensors and the like
    are left out unless they are needed, so that no row is lost for what nobody searches.

    Attributes:
        names: The columns that are read; others need not be decoded.
    """

    def __init__(self, schema: Any, mapper: RecordMapper, *, table: str) -> None:  # noqa: ANN401
        """Read the schema.

        Args:
            schema: Of the table, from pyarrow.
            mapper: Knows the layout and the declared fields.
            table: What errors call the table.

        Raises:
            CorpusError: A column has another's name, or there is none for the text or the id.
        """
        columns = Columns(schema.names, mapper, table=table)
        for field in schema:
            reason = _unstorable(field.type)
            if reason and not columns.is_left_out(field.name) and not columns.is_needed(field.name):
                columns.leave_out(field.name, reason)
        self._columns = columns
        self.names = [name for name in schema.names if not columns.is_left_out(name)]

    def rows(self, batch: Any, *, place: str, before: int = 0) -> Iterator[Document | MalformedRecord]:  # noqa: ANN401
        """Read a document from each row of a `RecordBatch`.

        Args:
            batch: With the columns of the schema, or those of `names`.
            place: What the location of a malformed record begins with; the row's number follows, from 1.
            before: Rows before this batch.
        """
        batch = batch.select(self.names)
        arrays = [_in_microseconds(array) for array in batch.columns]
        for index in range(batch.num_rows):
            record: Document | MalformedRecord
            try:
                record = self._columns.document(self._cells(arrays, index))
            except ValueError as error:
                record = MalformedRecord(f"{place}{before + index + 1}", str(error), _raw(batch, index))
            yield record

    def _cells(self, arrays: list[Any], index: int) -> dict[str, Any]:
        """One row's cells by name, or the `ValueError` that names the cell at fault."""
        cells: dict[str, Any] = {}
        for name, array in zip(self.names, arrays, strict=True):
            try:
                cell = _value(array[index].as_py())
                cells[name] = cell.decode() if isinstance(cell, bytes) and self._columns.is_text(name) else cell
            except (ValueError, OverflowError) as error:
                reason = f"not UTF-8: {error}" if isinstance(error, UnicodeDecodeError) else str(error)
                if self._columns.is_needed(name):
                    raise ValueError(f"column {name!r} cannot be read: {reason}") from None
                self._columns.leave_out_cell(name, f"has cells that cannot be read ({reason})")
        return cells


def _unstorable(kind: Any) -> str | None:  # noqa: ANN401
    """Why nothing of a type can be stored; None if it can."""
    extension = getattr(kind, "extension_name", None)
    if extension is not None and extension not in _EXTENSIONS:
        return f"is of the type {extension}"
    return "holds bytes" if "binary" in str(kind) else None


def _in_microseconds(array: Any) -> Any:  # noqa: ANN401
    """The same times without nanoseconds, which Python does not have."""
    kind = str(array.type)
    if "[ns" not in kind or not kind.startswith(("timestamp", "time64", "duration")):
        return array
    return array.cast(_microseconds(array.type), safe=False)


def _microseconds(kind: Any) -> Any:  # noqa: ANN401
    import pyarrow

    if pyarrow.types.is_timestamp(kind):
        return pyarrow.timestamp("us", tz=kind.tz)
    return pyarrow.time64("us") if pyarrow.types.is_time64(kind) else pyarrow.duration("us")


def _value(value: Any) -> Any:  # noqa: ANN401
    """Return a value as Arrow's `as_py` converts it, with objects for maps, without NaN, and whole floats as integers.

    Raises:
        ValueError: It is infinite.
    """
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError(f"{value} is not JSON number")
        # Integers are floats in a column that lacks some, ids and versions too.
        return None if math.isnan(value) else plain(value)
    if isinstance(value, dict):
        return {key: _value(item) for key, item in value.items()}
    if isinstance(value, list):
        return _from_pairs(value) if value and all(isinstance(item, tuple) for item in value) else [*map(_value, value)]
    return value


def _from_pairs(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """An object for a map; a key that has several values gets the list of them."""
    found: dict[str, Any] = {}
    several: set[str] = set()
    for key, value in pairs:
        name, item = str(key), _value(value)
        if name not in found:
            found[name] = item
        elif name in several:
            found[name].append(item)
        else:
            found[name] = [found[name], item]
            several.add(name)
    return found


def _raw(batch: Any, index: int) -> str:  # noqa: ANN401
    """Write one row as JSON, cells that are no text with their bytes escaped."""
    row = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        cell = column[index]
        try:
            row[name] = cell.as_py()
        except UnicodeDecodeError:
            # A string's bytes; inside of a list or struct they are only to be had by repr.
            row[name] = cell.as_buffer().to_pybytes() if hasattr(cell, "as_buffer") else repr(cell)
        except (ValueError, OverflowError):
            row[name] = repr(cell)
    return json.dumps(row, default=_escape)


def _escape(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
