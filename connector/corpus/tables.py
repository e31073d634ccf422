"""CSV and TSV -> documents. Cells are quoted as in RFC 4180: a quote inside a quoted cell is doubled."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator

from connector.corpus.check import RecordChecker
from connector.corpus.columns import Columns
from connector.corpus.jsonl import decode
from connector.corpus.source import Source, name_of, read_lines
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

MAX_CELL_CHARACTERS = 100 * 1024 * 1024
"""The server's default of `http.max_content_length`: no longer cell could be indexed."""


def read_table(
    source: Source, checker: RecordChecker, fields: Collection[str], *, generate_ids: bool
) -> Iterator[Document | MalformedRecord]:
    """Read a document from each row below the header.

    Raises:
        CorpusError: The file cannot be read to its end, has no header, or its header lacks a column.
    """
    name = name_of(source.path)
    # The limit is the process's; it is only ever raised, so that no one else's cells are refused.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARACTERS))
    rows = _Rows(read_lines(source.path), delimiter="\t" if source.format == "tsv" else ",")
    header = next(rows, None)
    if header is None:
        raise CorpusError(f"{name} is empty; its first line must name the columns, e.g. _id,title,text.")
    if isinstance(header, ValueError):
        raise CorpusError(f"the header of {name} cannot be read: {header}. Correct its first line.")
    columns = Columns([cell.strip() for cell in header], fields, table=name, generate_ids=generate_ids)
    for row in rows:
        record: Document | MalformedRecord
        try:
            if isinstance(row, ValueError):
                raise row
            if len(row) != len(header):
                raise ValueError(f"has {len(row)} cells, the header has {len(header)}")
            record = checker.check(columns.record(row))
        except ValueError as error:
            record = MalformedRecord(f"{name}:{rows.first_line}", str(error), rows.raw)
        yield record


class _Rows:
    """The rows of a CSV file, each with the lines it came from; a row that cannot be parsed is a `ValueError`."""

    def __init__(self, lines: Iterator[tuple[int, bytes]], *, delimiter: str) -> None:
        self.first_line = 0
        self._lines = lines
        self._consumed: list[bytes] = []
        self._reader = csv.reader(self._texts(), delimiter=delimiter, strict=True)

    @property
    def raw(self) -> str:
        """The current row as it stands in the file."""
        return b"".join(self._consumed).rstrip(b"\r\n").decode("utf-8", "backslashreplace")

    def __iter__(self) -> Iterator[list[str] | ValueError]:
        return self

    def __next__(self) -> list[str] | ValueError:
        while True:
            self._consumed = []
            try:
                row = next(self._reader)
                if len(row) < 2 and all(line.isspace() for line in self._consumed):
                    continue
                for line in self._consumed:
                    decode(line)
            except csv.Error as error:
                return ValueError(f"not valid CSV: {error}")
            except ValueError as error:
                return error
            if any(b"\0" in line for line in self._consumed):
                return ValueError("holds a NUL character; convert the file to UTF-8")
            return row

    def _texts(self) -> Iterator[str]:
        for number, line in self._lines:
            if not self._consumed:
                self.first_line = number
            self._consumed.append(line)
            # Bytes that are no UTF-8 must not break the rows' boundaries; the row is refused afterwards.
            yield line.decode("utf-8", "replace")
