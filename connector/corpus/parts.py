"""A corpus in parts that can be read apart: lines of a JSONL file, rows of a Parquet file, or whole files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from connector.corpus.check import RecordChecker
from connector.corpus.jsonl import check_lines
from connector.corpus.parquet import read_parquet, row_groups
from connector.corpus.read import CorpusRecord, read_source
from connector.corpus.source import Format, Source, find_source, find_sources, is_packed, read_line_range
from connector.errors import CorpusError

_PART_BYTES = 16 * 2**20
_PART_ROWS = 20_000


class Part(NamedTuple):
    """Some records of a corpus.

    Attributes:
        path: The file that holds them.
        format: Of the file.
        start: Where they begin: a byte of JSONL, a row of Parquet.
        stop: Where the next ones begin; None where the part is the whole file.
    """

    path: str
    format: Format
    start: int = 0
    stop: int | None = None


def split_corpus(
    path: str | Path, format: Format | None = None, *, part_bytes: int = _PART_BYTES, part_rows: int = _PART_ROWS
) -> Iterator[Part]:
    """Cut a corpus into parts, in its order. JSONL and Parquet are cut; CSV, TSV and whatever is packed go as files.

    Args:
        path: A file, a folder in BEIR's layout, or a folder with any number of corpus files.
        format: Overrules the suffixes.
        part_bytes: Of JSONL, about.
        part_rows: Of Parquet, at most.

    Raises:
        CorpusError: There is no corpus, or a file cannot be read.
    """
    for source in find_sources(Path(path), format) if Path(path).is_dir() else [find_source(path, format)]:
        yield from _split(source, part_bytes, part_rows)


def read_part(part: Part, checker: RecordChecker) -> Iterator[CorpusRecord]:
    """Read the records of a part, as `read_corpus` reads those of a file.

    A malformed line of a range is located by the byte that it begins with: how many lines come before is not known.

    Raises:
        CorpusError: The file cannot be read to the end of the part, or lacks a column.
    """
    path = Path(part.path)
    if part.stop is None:
        return read_source(Source(path, part.format), checker, checker.fields, checker.generate_ids)
    if part.format == "parquet":
        return read_parquet(
            path, checker, checker.fields, generate_ids=checker.generate_ids, start=part.start, stop=part.stop
        )
    lines = read_line_range(path, part.start, part.stop)
    return check_lines(((f"{path}:byte {place}", line) for place, line in lines), checker.check)


def _split(source: Source, part_bytes: int, part_rows: int) -> Iterator[Part]:
    if source.path is None:
        raise CorpusError("Standard input cannot be read by many; give a file or a folder that all machines see.")
    path = str(source.path)
    if source.format == "parquet":
        for rows in row_groups(source.path):
            for start in range(rows.start, rows.stop, part_rows):
                yield Part(path, source.format, start, min(start + part_rows, rows.stop))
        return
    size = source.path.stat().st_size
    if source.format != "jsonl" or size <= part_bytes or is_packed(source.path):
        yield Part(path, source.format)
        return
    for start in range(0, size, part_bytes):
        yield Part(path, source.format, start, min(start + part_bytes, size))
