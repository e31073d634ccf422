"""Convert rows of Arrow tables (Parquet, Ray) to documents. pyarrow is imported on demand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate, chain
from typing import Any

from connector.corpus.arrow_types import Skip, converter_of, holds_floats, in_microseconds, is_embedding_type
from connector.corpus.columns import Columns
from connector.corpus.layout import RecordMapper
from connector.corpus.values import EMBEDDING_NUMBERS, HOLDS_EMBEDDINGS, stored
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
    etc. are skipped unless they are required, so that they do not make rows invalid; and so are columns of embeddings.

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
        self._floats: set[str] = set()
        for field in schema:
            if columns.is_skipped(field.name):
                continue
            needed = columns.is_needed(field.name)
            if not needed and is_embedding_type(field.type):
                columns.skip(field.name, HOLDS_EMBEDDINGS)
                continue
            if not needed and holds_floats(field.type):
                self._floats.add(field.name)
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
        arrays = [in_microseconds(array) for array in batch.select(self.names).columns]
        for index in range(batch.num_rows):
            record: Document | MalformedRecord
            try:
                record = self._columns.document(self._cells(arrays, index))
            except ValueError as error:
                record = self._malformed(f"{place}{before + index + 1}", error, arrays, index)
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
                cell = self._cell(name, array[index])
            except (ValueError, OverflowError) as error:
                reason = f"not UTF-8: {error}" if isinstance(error, UnicodeDecodeError) else str(error)
                if self._columns.is_needed(name):
                    raise ValueError(f"column {name!r} cannot be read: {reason}") from None
                self._columns.skip_cell(name, f"has cells that cannot be read ({reason})")
                continue
            if self._is_embedding(name, cell):
                self._columns.skip_cell(name, HOLDS_EMBEDDINGS)
            else:
                cells[name] = cell
        return cells

    def _is_embedding(self, name: str, cell: Any) -> bool:  # noqa: ANN401
        return name in self._floats and cell is not None and len(cell) >= EMBEDDING_NUMBERS

    def _cell(self, name: str, cell: Any) -> Any:  # noqa: ANN401
        """Convert a cell; raise a `ValueError` or an `OverflowError` if it cannot be."""
        value = self._converters[name](cell.as_py())
        return _decoded(value) if self._columns.is_text(name) else value

    def _malformed(self, location: str, error: ValueError, arrays: list[Any], index: int) -> MalformedRecord:
        """Keep a row in the form in which a replay reads it as it would have been read here."""
        row: dict[str, Any] = {}
        for name, array in zip(self.names, arrays, strict=True):
            try:
                cell = self._cell(name, array[index])
            except (ValueError, OverflowError):
                if self._columns.is_needed(name):
                    row[name] = _as_it_is(array[index])
            else:
                if not self._is_embedding(name, cell):
                    row[name] = stored(cell)
        doc_id, routing = self._columns.identify(row)
        raw = json.dumps(row, default=_escape)
        return MalformedRecord(location, str(error), raw, self._partition, flat=True, doc_id=doc_id, routing=routing)


def _decoded(value: Any) -> Any:  # noqa: ANN401
    """Decode bytes, also those of a list."""
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def _as_it_is(cell: Any) -> Any:  # noqa: ANN401
    """The value of a cell that cannot be converted."""
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        # The bytes of a string; for lists and structs only repr is available.
        return cell.as_buffer().to_pybytes() if hasattr(cell, "as_buffer") else repr(cell)
    except (ValueError, OverflowError):
        return _shown(cell)


def _shown(cell: Any) -> str:  # noqa: ANN401
    try:
        return repr(cell)
    except ValueError:  # a time in an unknown zone
        return f"a cell of type {cell.type}"


def _escape(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
