"""Convert rows of Arrow tables (Parquet, Ray) to documents. pyarrow is imported on demand."""

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
"""Supported extension types; others (tensors, pickles) are skipped."""


class ArrowReader:
    """Reads the rows of a table.

    Maps are converted to objects, and NaN counts as missing. Columns of bytes, tensors etc. are skipped unless they are
    required, so that they do not make rows invalid.

    Attributes:
        names: Columns that are read; others need not be decoded.
    """

    def __init__(self, schema: Any, mapper: RecordMapper, *, table: str) -> None:  # noqa: ANN401
        """Read the schema.

        Args:
            schema: pyarrow schema of the table.
            mapper: Mapper with the layout and the declared fields.
            table: Name of the table in errors.

        Raises:
            CorpusError: A column name is repeated, or the text or id column is missing.
        """
        columns = Columns(schema.names, mapper, table=table)
        for field in schema:
            reason = _unstorable(field.type)
            if reason and not columns.is_skipped(field.name) and not columns.is_needed(field.name):
                columns.skip(field.name, reason)
        self._columns = columns
        self.names = [name for name in schema.names if not columns.is_skipped(name)]

    def rows(self, batch: Any, *, place: str, before: int = 0) -> Iterator[Document | MalformedRecord]:  # noqa: ANN401
        """Read a document from each row of a `RecordBatch`.

        Args:
            batch: Batch with the columns of the schema, or those of `names`.
            place: Prefix of the location of a malformed record, followed by the row number from 1.
            before: Number of rows before this batch.
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
        """Return the cells of a row by name; raise a `ValueError` that names the faulty column."""
        cells: dict[str, Any] = {}
        for name, array in zip(self.names, arrays, strict=True):
            try:
                cell = _value(array[index].as_py())
                cells[name] = cell.decode() if isinstance(cell, bytes) and self._columns.is_text(name) else cell
            except (ValueError, OverflowError) as error:
                reason = f"not UTF-8: {error}" if isinstance(error, UnicodeDecodeError) else str(error)
                if self._columns.is_needed(name):
                    raise ValueError(f"column {name!r} cannot be read: {reason}") from None
                self._columns.skip_cell(name, f"has cells that cannot be read ({reason})")
        return cells


def _unstorable(kind: Any) -> str | None:  # noqa: ANN401
    """The reason why values of a type cannot be stored; None if they can."""
    extension = getattr(kind, "extension_name", None)
    if extension is not None and extension not in _EXTENSIONS:
        return f"has the type {extension}"
    return "contains bytes" if "binary" in str(kind) else None


def _in_microseconds(array: Any) -> Any:  # noqa: ANN401
    """Convert times with nanoseconds, which Python does not support, to microseconds."""
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
    """Convert a result of Arrow's `as_py`: maps to objects, NaN to None, whole floats to integers.

    Raises:
        ValueError: The value is infinite.
    """
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError(f"{value} is not a JSON number")
        # Integer columns with missing values are floats, including ids and versions.
        return None if math.isnan(value) else plain(value)
    if isinstance(value, dict):
        return {key: _value(item) for key, item in value.items()}
    if isinstance(value, list):
        return _from_pairs(value) if value and all(isinstance(item, tuple) for item in value) else [*map(_value, value)]
    return value


def _from_pairs(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Convert the pairs of a map to an object; repeated keys get a list of their values."""
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
    """Serialize a row as JSON, with bytes escaped."""
    row = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        cell = column[index]
        try:
            row[name] = cell.as_py()
        except UnicodeDecodeError:
            # The bytes of a string; for lists and structs only repr is available.
            row[name] = cell.as_buffer().to_pybytes() if hasattr(cell, "as_buffer") else repr(cell)
        except (ValueError, OverflowError):
            row[name] = repr(cell)
    return json.dumps(row, default=_escape)


def _escape(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
