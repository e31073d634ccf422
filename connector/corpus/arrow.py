"""Convert rows of Arrow tables (Parquet, Ray) to documents. pyarrow is imported on demand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate, chain
from typing import Any

from connector.corpus.arrow_types import Skip, converter_of, in_microseconds
from connector.corpus.columns import Columns
from connector.corpus.layout import RecordMapper
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord


def read_frame(frame: Any, mapper: RecordMapper) -> Iterator[Document | MalformedRecord]:  # noqa: ANN401
    """Read the rows of a table in memory (pandas, Polars, Arrow), by the Arrow PyCapsule interface.

    Raises:
        CorpusError: pyarrow is missing or cannot convert the table, or as in `ArrowReader`.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise CorpusError(f"a {type(frame).__name__} needs pyarrow; pip install 'ksparse[parquet]'.") from error
    try:
        table = pyarrow.table(frame)
    except pyarrow.ArrowException as error:  # e.g. for a column of values of several types
        raise CorpusError(
            f"the table cannot be converted to Arrow ({error}). Pass its rows as dictionaries."
        ) from error
    reader = ArrowReader(table.schema, mapper, table="the table")
    batches = table.to_batches()
    starts = accumulate((batch.num_rows for batch in batches), initial=0)
    return chain.from_iterable(
        reader.rows(batch, place="document ", before=before) for batch, before in zip(batches, starts, strict=False)
    )


class ArrowReader:
    """Reads the rows of a table.

    Maps are converted to objects, and NaN counts as missing. Columns and members of structs that contain bytes, tensors
    etc. are skipped unless they are required, so that they do not make rows invalid.

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
        self._columns = columns
        self._partition = mapper.partition
        self._converters: dict[str, Callable[[Any], Any]] = {}
        for field in schema:
            if columns.is_skipped(field.name):
                continue
            converter = converter_of(field.type, self._skip(field.name))
            if isinstance(converter, str):
                columns.skip(field.name, converter)
            else:
                self._converters[field.name] = converter
        self.names = [name for name in schema.names if name in self._converters]

    def rows(self, batch: Any, *, place: str, before: int = 0) -> Iterator[Document | MalformedRecord]:  # noqa: ANN401
        """Read a document from each row of a `RecordBatch`.

        Args:
            batch: Batch with the columns of the schema, or those of `names`.
            place: Prefix of the location of a malformed record, followed by the row number from 1.
            before: Number of rows before this batch.
        """
        batch = batch.select(self.names)
        arrays = [in_microseconds(array) for array in batch.columns]
        for index in range(batch.num_rows):
            record: Document | MalformedRecord
            try:
                record = self._columns.document(self._cells(arrays, index))
            except ValueError as error:
                location = f"{place}{before + index + 1}"
                record = MalformedRecord(location, str(error), _raw(batch, index), self._partition, flat=True)
            yield record

    def _skip(self, column: str) -> Skip | None:
        """Warns of skipped members of a column; None if it needs all its members."""
        if self._columns.is_needed(column) and column != "metadata":
            return None
        return partial(self._columns.skip_member, column)

    def _cells(self, arrays: list[Any], index: int) -> dict[str, Any]:
        """Return the cells of a row by name; raise a `ValueError` that names the faulty column."""
        cells: dict[str, Any] = {}
        for name, array in zip(self.names, arrays, strict=True):
            try:
                cell = self._converters[name](array[index].as_py())
                cells[name] = cell.decode() if isinstance(cell, bytes) and self._columns.is_text(name) else cell
            except (ValueError, OverflowError) as error:
                reason = f"not UTF-8: {error}" if isinstance(error, UnicodeDecodeError) else str(error)
                if self._columns.is_needed(name):
                    raise ValueError(f"column {name!r} cannot be read: {reason}") from None
                self._columns.skip_cell(name, f"has cells that cannot be read ({reason})")
        return cells


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
            row[name] = _shown(cell)
    return json.dumps(row, default=_escape)


def _shown(cell: Any) -> str:  # noqa: ANN401
    try:
        return repr(cell)
    except ValueError:  # a time in an unknown zone
        return f"a cell of type {cell.type}"


def _escape(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
