"""Read Parquet files with pyarrow, which is optional."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from connector.corpus.arrow import ArrowReader
from connector.corpus.layout import RecordMapper
from connector.corpus.lines import unreadable
from connector.corpus.streams import refuse_foreign
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

_BATCH_ROWS = 1000


def read_parquet(
    path: Path, mapper: RecordMapper, *, start: int = 0, stop: int | None = None
) -> Iterator[Document | MalformedRecord]:
    """Read a document from each row.

    Args:
        path: The file.
        mapper: Converts rows to documents.
        start: First row, from 0.
        stop: First row after the last one; None reads to the end.

    Raises:
        CorpusError: pyarrow is missing, the file cannot be read completely, or it lacks a column.
    """
    with open_parquet(path) as file:
        reader = ArrowReader(file.schema_arrow, mapper, table=str(path))
        groups, number = _groups(file, start, stop)
        # pyarrow would interpret a dot in a name as a field of a struct.
        some = None if any("." in name for name in reader.names) else reader.names
        batches = file.iter_batches(batch_size=_BATCH_ROWS, row_groups=groups, columns=some)
        while True:
            try:
                batch = next(batches, None)
            except _pyarrow_errors() as error:
                raise unreadable(path, f"row {number}", error) from error
            if batch is None:
                return
            skipped = max(0, start - number)
            wanted = batch.slice(skipped, None if stop is None else max(0, stop - number - skipped))
            yield from reader.rows(wanted, place=f"{path}:row ", before=number + skipped)
            number += batch.num_rows


def row_groups(path: Path) -> list[range]:
    """The rows of each row group.

    Raises:
        CorpusError: pyarrow is missing, or the file is not a Parquet.
    """
    with open_parquet(path) as file:
        return _row_groups(file)


def count_rows(path: Path) -> int:
    """Return the number of rows in the file's footer.

    Raises:
        CorpusError: pyarrow is missing, or the file is not a Parquet.
    """
    with open_parquet(path) as file:
        return int(file.metadata.num_rows)


def open_parquet(path: Path) -> Any:  # noqa: ANN401
    """Open the file with pyarrow.

    Raises:
        CorpusError: pyarrow is missing, or the file is not a Parquet.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise CorpusError(f"{path} needs pyarrow; pip install 'ksparse[parquet]'.") from error
    try:
        # By default, INT96, in which Spark and Hive write times, becomes nanoseconds, which end in the year 2262.
        return pyarrow.parquet.ParquetFile(path, coerce_int96_timestamp_unit="us")
    except _pyarrow_errors() as error:
        if not _is_begun(path):
            refuse_foreign(path)
        raise CorpusError(
            f"{path} is not a readable Parquet file: {error}. Create it again, or set its format."
        ) from error


def _is_begun(path: Path) -> bool:
    """Whether a file begins as a Parquet; it may be truncated."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(4) == b"PAR1"
    return False


def _pyarrow_errors() -> tuple[type[Exception], ...]:
    """Errors of reading a file. Not all of pyarrow's own, such as that of an unknown compression, are a ValueError."""
    import pyarrow

    return (OSError, ValueError, pyarrow.ArrowException)


def _row_groups(file: Any) -> list[range]:  # noqa: ANN401
    sizes = [int(file.metadata.row_group(group).num_rows) for group in range(file.metadata.num_row_groups)]
    return [range(end - size, end) for end, size in zip(accumulate(sizes), sizes, strict=True)]


def _groups(file: Any, start: int, stop: int | None) -> tuple[list[int], int]:  # noqa: ANN401
    """The row groups of a range of rows, and the number of rows before the first group."""
    chosen = [
        (group, rows.start)
        for group, rows in enumerate(_row_groups(file))
        if rows.stop > start and (stop is None or rows.start < stop)
    ]
    return [group for group, _ in chosen], chosen[0][1] if chosen else 0
