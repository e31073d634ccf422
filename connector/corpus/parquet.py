"""Parquet -> documents, batch by batch. The only file of the connector with pyarrow, which is optional."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from connector.corpus.check import RecordChecker
from connector.corpus.columns import Columns
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

_BATCH_ROWS = 1000


def read_parquet(
    path: Path, checker: RecordChecker, fields: Collection[str], *, generate_ids: bool
) -> Iterator[Document | MalformedRecord]:
    """Read a document from each row. Dates and times become ISO 8601 strings, decimals strings.

    Raises:
        CorpusError: pyarrow is missing, the file cannot be read to its end, or it lacks a column.
    """
    number = 0
    with open_parquet(path) as file:
        columns = Columns(file.schema_arrow.names, fields, table=str(path), generate_ids=generate_ids)
        batches = file.iter_batches(batch_size=_BATCH_ROWS)
        while True:
            try:
                batch = next(batches, None)
            except (OSError, ValueError) as error:
                raise CorpusError(
                    f"{path} cannot be read after row {number}: {error}. What came before it was read; restore the "
                    "file and read it again."
                ) from error
            if batch is None:
                return
            for index in range(batch.num_rows):
                number += 1
                record: Document | MalformedRecord
                try:
                    record = checker.check(columns.record(_cells(batch, index)))
                except ValueError as error:
                    record = MalformedRecord(f"{path}:row {number}", str(error), _raw(batch, index))
                yield record


def count_rows(path: Path) -> int:
    """Return the rows that the file's footer counts.

    Raises:
        CorpusError: pyarrow is missing, or the file is no Parquet.
    """
    with open_parquet(path) as file:
        return int(file.metadata.num_rows)


def open_parquet(path: Path) -> Any:  # noqa: ANN401
    """Open the file with pyarrow.

    Raises:
        CorpusError: pyarrow is missing, or the file is no Parquet.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise CorpusError(f"{path} needs pyarrow to be read; pip install 'ksparse[parquet]'.") from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} is no readable Parquet file: {error}. Write it again or name its format.") from error


def _cells(batch: Any, index: int) -> list[Any]:  # noqa: ANN401
    """Return one row's cells as JSON has them, or raise the `ValueError` that names the cell at fault."""
    cells = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            cells.append(_plain(column[index].as_py()))
        except (ValueError, OverflowError) as error:
            reason = f"not UTF-8: {error}" if isinstance(error, UnicodeDecodeError) else str(error)
            raise ValueError(f"column {name!r} cannot be read: {reason}") from None
    return cells


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value) if isinstance(value, decimal.Decimal) else value


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
