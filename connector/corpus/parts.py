"""Split a corpus into parts that can be read independently: lines of JSONL, rows of Parquet, or whole files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from connector.corpus.jsonl import is_cuttable, map_documents
from connector.corpus.layout import Layout, RecordMapper
from connector.corpus.lines import read_line_range
from connector.corpus.parquet import read_parquet, row_groups
from connector.corpus.partitions import folder_above, partition_of
from connector.corpus.read import CorpusRecord, check_layout, read_source
from connector.corpus.source import Format, Source, find_sources
from connector.errors import CorpusError

_PART_BYTES = 16 * 2**20
_PART_ROWS = 20_000


class Part(NamedTuple):
    """Part of a corpus.

    Attributes:
        path: The file.
        format: Its format.
        start: First byte (JSONL) or row (Parquet).
        stop: First byte or row after the part; None if the part is the whole file.
        folder: A folder above the file; folders between them may be partitions. Empty for a file without partitions.
        in_folder: As in `Source`.
    """

    path: str
    format: Format
    start: int = 0
    stop: int | None = None
    folder: str = ""
    in_folder: bool = False


def split_corpus(
    path: str | Path,
    format: Format | None = None,
    *,
    layout: Layout | None = None,
    part_bytes: int = _PART_BYTES,
    part_rows: int = _PART_ROWS,
) -> Iterator[Part]:
    """Split a corpus into parts, in order. CSV, TSV and compressed files are not split.

    Args:
        path: A file, a BEIR folder, or a folder of corpus files.
        format: Format of all files; None uses their suffixes.
        layout: Layout of the corpus.
        part_bytes: Approximate size of parts of JSONL.
        part_rows: Maximum size of parts of Parquet.

    Raises:
        CorpusError: There is no corpus, or a file cannot be read.
    """
    folder = folder_above(Path(path) if Path(path).is_dir() else Path(path).parent)
    layout = layout or Layout()
    sources = find_sources(path, format)
    check_layout(sources, layout)
    for source in sources:
        for part in _split(source, layout.encoding, part_bytes, part_rows):
            yield part._replace(folder=str(folder), in_folder=source.in_folder)


def read_part(part: Part, mapper: RecordMapper) -> Iterator[CorpusRecord]:
    """Read the records of a part as `read_corpus` does.

    The location of a malformed line in a part is its first byte, because its line number is unknown.

    Raises:
        CorpusError: The file cannot be read to the end of the part, or lacks a column.
    """
    path = Path(part.path)
    partition = partition_of(path, Path(part.folder)) if part.folder else ()
    source = Source(path, part.format, partition, in_folder=part.in_folder)
    if part.stop is None:
        return read_source(source, mapper)
    mapper = mapper.with_partition(source.partition)
    if part.format == "parquet":
        return read_parquet(path, mapper, start=part.start, stop=part.stop)
    lines = read_line_range(path, part.start, part.stop)
    return map_documents(
        ((f"{path}:byte {place}", line.rstrip(b"\r\n")) for place, line in lines if line.strip()), mapper
    )


def _split(source: Source, encoding: str | None, part_bytes: int, part_rows: int) -> Iterator[Part]:
    if source.path is None:
        raise CorpusError(
            "Several machines cannot read standard input; use a file or a folder that all machines can read."
        )
    path = str(source.path)
    if source.format == "parquet":
        for rows in row_groups(source.path):
            for start in range(rows.start, rows.stop, part_rows):
                yield Part(path, source.format, start, min(start + part_rows, rows.stop))
        return
    size = source.path.stat().st_size
    if source.format != "jsonl" or size <= part_bytes or not is_cuttable(source.path, encoding):
        yield Part(path, source.format)
        return
    for start in range(0, size, part_bytes):
        yield Part(path, source.format, start, min(start + part_bytes, size))
