"""Read a corpus as documents and malformed records."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from connector.corpus.arrow import read_frame
from connector.corpus.check import RESERVED, RecordChecker
from connector.corpus.jsonl import count_lines, read_documents
from connector.corpus.layout import Layout, RecordMapper
from connector.corpus.parquet import count_rows, read_parquet
from connector.corpus.raw import abridge
from connector.corpus.source import Corpus, Format, Source, find_sources, warn_of_unread
from connector.corpus.tables import read_table
from connector.corpus.values import stored
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

CorpusRecord = Document | MalformedRecord

_MAX_COUNTED_BYTES = 200 * 1000 * 1000
"""Counting more would take seconds."""


def read_corpus(
    path: Corpus,
    *,
    fields: Collection[str] = (),
    format: Format | None = None,
    generate_ids: bool = False,
    refuse_repeated: bool = True,
    layout: Layout | None = None,
) -> Iterator[CorpusRecord]:
    """Read a corpus lazily, with constant memory except for ids (see `refuse_repeated`).

    A record has an id (`_id`, else `id`), `text`, and the optional `title`, `metadata`, `_version` and `_routing`;
    `layout` can name other fields. Further columns of CSV, TSV and Parquet become metadata, as do further keys of
    documents in dumps and bulk bodies. Further keys of JSONL must be declared fields. Blank lines are skipped.
    Compression is detected by the first bytes, whatever the file name.

    Args:
        path: A file; a BEIR folder (`corpus.jsonl`, compressed or not); another folder, of which all files are read,
            with partition values such as `lang=en/part-0.parquet` as columns; several of these; or `-` for standard
            input.
        fields: Top-level fields that the index declares, for `Document.fields`.
        format: The format; None uses the suffix, or JSONL for standard input.
        generate_ids: Use the SHA-256 of the content as the id of records without one, instead of refusing them.
        refuse_repeated: Refuse the second and later records with an id. This takes about 80 bytes of memory per id.
        layout: Names of fields, separator and encoding that differ from the defaults.

    Returns:
        A `Document` for each valid record, and a `MalformedRecord` with location and complete content for each invalid
        one, in the order of the file. The first record is read immediately, so that errors of the file are raised here.

    Raises:
        CorpusError: The file does not exist, has an unknown format, or lacks a column; during iteration, it cannot be
            read completely.
        ValueError: `format` is unknown, or `fields` is a single string.
    """
    checker = RecordChecker(fields, generate_ids=generate_ids, refuse_repeated=refuse_repeated)
    mapper = RecordMapper(checker, layout or Layout())
    sources = find_sources(path, format)
    warn_of_unread(path, format)
    check_layout(sources, mapper.layout)
    records = chain.from_iterable(read_source(source, mapper) for source in sources)
    first = next(records, None)
    return iter(()) if first is None else chain((first,), records)


def check_documents(
    documents: Iterable[Document | MalformedRecord | Mapping[str, Any]],
    *,
    fields: Collection[str] = (),
    generate_ids: bool = False,
    refuse_repeated: bool = True,
    layout: Layout | None = None,
) -> Iterator[CorpusRecord]:
    """Check Python documents lazily by the rules of `read_corpus`.

    The location of a malformed record is its number from 1, e.g. `document 17`.

    Args:
        documents: Documents, or mappings with the keys of a JSONL record. Malformed records are passed through. Or a
            table of pandas, Polars or Arrow: like a Parquet file, its other columns are metadata.
        fields: As in `read_corpus`.
        generate_ids: As in `read_corpus`; also for documents with an empty `doc_id`.
        refuse_repeated: As in `read_corpus`.
        layout: Layout of mappings.

    Returns:
        As `read_corpus`, with shallow copies of metadata and fields.

    Raises:
        ValueError: `fields` is a single string, or `documents` a single document or an asynchronous iterable.
        CorpusError: A table lacks the text or id column, repeats a name, or pyarrow is missing.
    """
    if isinstance(documents, str | bytes | Mapping | Document):
        raise ValueError(
            f"documents must be a list of documents, got a single {type(documents).__name__}; put it in a list."
        )
    if isinstance(documents, AsyncIterable):
        raise ValueError("documents come from an asynchronous iterable; pass it to `SparseIndex.add_async`.")
    mapper = RecordMapper(
        RecordChecker(fields, generate_ids=generate_ids, refuse_repeated=refuse_repeated), layout or Layout()
    )
    if hasattr(documents, "__arrow_c_stream__"):
        return read_frame(documents, mapper)
    if hasattr(documents, "columns"):  # a table, whose items are names or columns
        kind = type(documents).__name__
        raise ValueError(f"documents must be a list of documents, got a {kind}; pass its rows as dictionaries.")
    if not isinstance(documents, Iterable):
        raise ValueError(f"documents must be a list of documents, got {documents!r}.")
    return _check(documents, mapper)


def count_records(path: Corpus, *, format: Format | None = None) -> int | None:
    """Estimate the number of records of a corpus for a progress bar.

    Returns:
        The number of lines (JSONL, including blank ones; half of them for a bulk body) or rows (Parquet). None for
        standard input, for other JSON, for CSV and TSV, whose cells may contain line feeds, and for more than 200 MB of
        JSONL, which would take long.

    Raises:
        CorpusError: The path does not exist or has an unknown format.
        ValueError: `format` is unknown.
    """
    sources = find_sources(path, format)
    files = [(source.path, source.format) for source in sources if source.path is not None]
    if len(files) < len(sources) or any(kind in ("csv", "tsv") for _, kind in files):
        return None
    if sum(path.stat().st_size for path, kind in files if kind == "jsonl") > _MAX_COUNTED_BYTES:
        return None
    total = 0
    for file, kind in files:
        count = count_rows(file) if kind == "parquet" else _count(file)
        if count is None:
            return None
        total += count
    return total


def check_layout(sources: Sequence[Source], layout: Layout) -> None:
    """Refuse a layout whose separator or encoding applies to none of the files.

    Raises:
        CorpusError: The separator or the encoding would be ignored.
    """
    formats = {source.format for source in sources}
    if layout.separator is not None and not formats & {"csv", "tsv"}:
        raise CorpusError(
            f"separator {layout.separator!r} applies to CSV and TSV; the corpus is {', '.join(sorted(formats))}."
        )
    if layout.encoding is not None and formats == {"parquet"}:
        raise CorpusError(f"encoding {layout.encoding!r} applies to text files; the corpus is Parquet.")


def read_source(source: Source, mapper: RecordMapper) -> Iterator[CorpusRecord]:
    """Read one file of a corpus record by record, as `read_corpus` does."""
    mapper = mapper.with_partition(source.partition)
    if source.format == "jsonl":
        return read_documents(source.path, mapper)
    if source.format == "parquet" and source.path is not None:
        return read_parquet(source.path, mapper)
    return read_table(source, mapper)


def _count(path: Path) -> int | None:
    try:
        return count_lines(path)
    except CorpusError:
        # The error is raised when the file is read.
        return None


def _check(
    documents: Iterable[Document | MalformedRecord | Mapping[str, Any]], mapper: RecordMapper
) -> Iterator[CorpusRecord]:
    for number, document in enumerate(documents, 1):
        if isinstance(document, MalformedRecord):
            yield document
            continue
        record: CorpusRecord
        values: Mapping[str, Any] = {}
        # A Document has the names of the checker, whatever the layout.
        reader: RecordChecker | RecordMapper = mapper.checker if isinstance(document, Document) else mapper
        try:
            values = _as_record(document)
            if isinstance(document, Document):
                record = mapper.checker.check(values)
            else:
                record = mapper.document(values, flat=False)
        except ValueError as error:
            doc_id, routing = reader.identify(values)
            record = MalformedRecord(f"document {number}", str(error), _raw(document), doc_id=doc_id, routing=routing)
        yield record


def _as_record(document: Document | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(document, Mapping):
        return document
    if not isinstance(document, Document):
        raise ValueError(f"is of type {type(document).__name__}, not a Document or a mapping")
    for name in RESERVED:
        if name in document.fields:
            raise ValueError(f"'fields' has the reserved key {name!r}; rename it")
    return document.to_record()


def _raw(document: Document | Mapping[str, Any]) -> str:
    try:
        record = _as_record(document)
    except ValueError:
        return repr(document)
    try:
        return json.dumps({key: stored(value) for key, value in record.items()}, default=str)
    except (ValueError, TypeError, RecursionError):
        return json.dumps(abridge(record))
