"""Parquet -> documents, batch by batch. The only file of the connector with pyarrow, which is optional."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from connector.corpus.check import RecordChecker
from connector.corpus.columns import Columns
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

_BATCH_ROWS = 1000


def read_parquet(
    path: Path,
    checker: RecordChecker,
    fields: Collection[str],
    *,
    generate_ids: bool,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[Document | MalformedRecord]:
    """Read a document from each row. Dates and times become ISO 8601 strings, decimals strings.

    Args:
        path: The file.
        checker: Knows the rules.
        fields: Top-level fields that the index declares.
        generate_ids: Whether the file may do without ids.
        start: The first row that is read, from 0.
        stop: The first row behind them; None reads to the end.

    Raises:
        CorpusError: pyarrow is missing, the file cannot be read to its end, or it lacks a column.
    """
    with open_parquet(path) as file:
        columns = Columns(file.schema_arrow.names, fields, table=str(path), generate_ids=generate_ids)
        groups, number = _groups(file, start, stop)
        batches = file.iter_batches(batch_size=_BATCH_ROWS, row_groups=groups)
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
            skipped = max(0, start - number)
            wanted = batch.slice(skipped, None if stop is None else max(0, stop - number - skipped))
            yield from check_rows(wanted, columns, checker, place=f"{path}:row ", before=number + skipped)
            number += batch.num_rows


def check_rows(
    batch: Any,  # noqa: ANN401
    columns: Columns,
    checker: RecordChecker,
    *,
    place: str,
    before: int = 0,
) -> Iterator[Document | MalformedRecord]:
    """Read a document from each row of a pyarrow `RecordBatch`.

    Args:
        batch: With `columns`, in their order.
        columns: Which column becomes what.
        checker: Knows the rules.
        place: What the location of a malformed record begins with; the row's number follows, from 1.
        before: Rows before this batch.
    """
    for index in range(batch.num_rows):
        record: Document | MalformedRecord
        try:
            record = checker.check(columns.record(_cells(batch, index)))
        except ValueError as error:
            record = MalformedRecord(f"{place}{before + index + 1}", str(error), _raw(batch, index))
        yield record


def row_groups(path: Path) -> list[range]:
    """The rows of each row group.

    Raises:
        CorpusError: pyarrow is missing, or the file is no Parquet.
    """
    with open_parquet(path) as file:
        return _row_groups(file)


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


def _row_groups(file: Any) -> list[range]:  # noqa: ANN401
    sizes = [int(file.metadata.row_group(group).num_rows) for group in range(file.metadata.num_row_groups)]
    return [range(end - size, end) for end, size in zip(accumulate(sizes), sizes, strict=True)]


def _groups(file: Any, start: int, stop: int | None) -> tuple[list[int], int]:  # noqa: ANN401
    """The row groups that hold some rows, and the rows before the first of them."""
    chosen = [
        (group, rows.start)
        for group, rows in enumerate(_row_groups(file))
        if rows.stop > start and (stop is None or rows.start < stop)
    ]
    return [group for group, _ in chosen], chosen[0][1] if chosen else 0


def _cells(batch: Any, index: int) -> list[Any]:  # noqa: ANN401
    """Return one row's cells as Python has them, or raise the `ValueError` that names the cell at fault."""
    cells = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            cells.append(column[index].as_py())
        except (ValueError, OverflowError) as error:
            reason = f"not UTF-8: {error}" if isinstance(error, UnicodeDecodeError) else str(error)
            raise ValueError(f"column {name!r} cannot be read: {reason}") from None
    return cells


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
