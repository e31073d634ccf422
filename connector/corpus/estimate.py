"""Estimate the number of records of a corpus by the beginnings and the sizes of its files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from connector.corpus.dialect import find_separator
from connector.corpus.json_values import is_spread, read_values
from connector.corpus.jsonl import is_action
from connector.corpus.layout import Layout
from connector.corpus.lines import split_lines
from connector.corpus.parquet import count_rows
from connector.corpus.read import count_records
from connector.corpus.rows import read_rows
from connector.corpus.source import Corpus, Format, Source, find_sources
from connector.corpus.streams import READ_ERRORS, Opened, open_stream
from connector.errors import CorpusError

_SAMPLED = 20_000
"""Records that are read; the rest is extrapolated."""


def estimate_records(path: Corpus, *, format: Format | None = None, layout: Layout | None = None) -> int | None:
    """Estimate the number of records of a corpus, from which the size of a dictionary follows.

    Args:
        path: The corpus, as in `read_corpus`.
        format: As in `read_corpus`.
        layout: As in `read_corpus`.

    Returns:
        What `count_records` counts. Otherwise, the number of records per byte in the first files, compressed or not,
        times the size of all files. None for standard input.

    Raises:
        CorpusError: The path does not exist or has an unknown format.
        ValueError: `format` is unknown.
    """
    counted = count_records(path, format=format)
    if counted is not None:
        return counted
    layout = layout or Layout()
    records = rest = 0
    read, consumed = 0, 0
    for source in find_sources(path, format):
        if source.path is None:
            return None
        try:
            if source.format == "parquet":
                records += count_rows(source.path)
                continue
            size = source.path.stat().st_size
            if read < _SAMPLED:
                some, position, ended = _read_some(source, source.path, layout)
                read, consumed = read + some, consumed + position
                records, size = records + some, 0 if ended else size - position
            rest += max(0, size)
        except (*READ_ERRORS, CorpusError):
            continue  # the error is raised when the file is read
    return records + round(rest * read / max(1, consumed))


def _read_some(source: Source, path: Path, layout: Layout) -> tuple[int, int, bool]:
    """Read records of a file: their number, the bytes that they take in the file, and whether the file has ended."""
    with path.open("rb") as file:
        records = _records(source, path, layout, open_stream(file, str(path), layout.encoding))
        some = sum(1 for _ in islice(records, _SAMPLED))
        return some, file.tell(), next(records, None) is None


def _records(source: Source, path: Path, layout: Layout, opened: Opened) -> Iterator[object]:
    if source.format != "jsonl":
        first = opened.head.decode("utf-8", "replace").partition("\n")[0]
        separator = layout.separator or find_separator(first, "\t" if source.format == "tsv" else ",", {*layout.texts})
        return islice(read_rows(enumerate(split_lines(opened), 1), separator), 1, None)
    if is_spread(opened.head):
        return read_values(path, opened)
    lines = (line for line in split_lines(opened) if line.strip())
    start = next(lines, b"")
    return islice(chain([start] if start else [], lines), 0, None, 2 if is_action(start) else 1)
