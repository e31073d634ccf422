"""Read a corpus, from wherever it comes, as documents and malformed records."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from connector.corpus.check import RESERVED, RecordChecker
from connector.corpus.jsonl import read_documents
from connector.corpus.layout import Layout, RecordMapper
from connector.corpus.lines import read_lines
from connector.corpus.parquet import count_rows, read_parquet
from connector.corpus.raw import abridge
from connector.corpus.source import Format, Source, find_sources
from connector.corpus.tables import read_table
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

CorpusRecord = Document | MalformedRecord

_MAX_COUNTED_BYTES = 200 * 1000 * 1000
"""A larger gzip file would take seconds to unpack only to count its lines."""


def read_corpus(
    path: str | Path,
    *,
    fields: Collection[str] = (),
    format: Format | None = None,
    generate_ids: bool = False,
    refuse_repeated: bool = True,
    layout: Layout | None = None,
) -> Iterator[CorpusRecord]:
    """Read a corpus record by record; memory does not grow with it, but for the ids (see `refuse_repeated`).

    A record has an id (`_id`, else `id`), `text`, and the optional `title`, `metadata`, `_version` and `_routing`;
    `layout` names others. Further columns of CSV, TSV and Parquet become keys of the metadata, and so do those of the
    documents of dumps and bulk bodies. A further key of JSONL must be a declared field.
    Blank lines are skipped. Compressed files are recognised by their first bytes, whatever the name.

    Args:
        path: A file; a folder in BEIR's layout (`corpus.jsonl`, packed or not); any other folder, of which all files
            are read, and what it says of them as `lang=en/part-0.parquet` becomes a column; or `-` for standard input.
        fields: Top-level fields that the index declares; their values go to `Document.fields`.
        format: Overrules the suffix. Standard input is JSONL without it.
        generate_ids: Give a record without an id the SHA-256 of its content, instead of refusing it.
        refuse_repeated: Refuse the second and later records of an id. This takes about 80 bytes of memory per id.
        layout: Names of keys and columns, separator and encoding, where they are not as expected.

    Returns:
        A `Document` for each record that can be indexed, a `MalformedRecord` with file, line and whole content for
        each that cannot, in the file's order. The first is read at once, so that a file that cannot be read as a
        corpus is refused here; the others as they are asked for.

    Raises:
        CorpusError: The file does not exist, has no known format, or lacks a column; while iterating, it cannot be
            read to its end.
        ValueError: `format` is unknown, or `fields` is a single string.
    """
    checker = RecordChecker(fields, generate_ids=generate_ids, refuse_repeated=refuse_repeated)
    mapper = RecordMapper(checker, layout or Layout())
    sources = find_sources(path, format)
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
    """Check documents that come from Python by the rules of `read_corpus`, one at a time.

    Args:
        documents: Documents, or mappings with the keys of a JSONL record. What is known to be malformed passes.
        fields: As for `read_corpus`, like the other arguments.
        generate_ids: For a document whose `doc_id` is empty as well.
        refuse_repeated: The location of a malformed record is `document 17`, counted from 1.
        layout: Of mappings; a `Document` has its own names.

    Returns:
        What `read_corpus` returns. Metadata and fields are copied, not deeply.

    Raises:
        ValueError: `fields` is a single string.
    """
    checker = RecordChecker(fields, generate_ids=generate_ids, refuse_repeated=refuse_repeated)
    return _check(documents, RecordMapper(checker, layout or Layout()))


def count_records(path: str | Path, *, format: Format | None = None) -> int | None:
    """Count the records of a corpus for a progress bar, quickly and not exactly: blank lines count.

    Returns:
        The lines of JSONL files and the rows of Parquet files. None for standard input, for CSV (whose cells may hold
        line feeds) and for files above 200 MB, where counting takes long; Parquet of any size is counted.

    Raises:
        CorpusError: The path does not exist or has no known format.
        ValueError: `format` is unknown.
    """
    counts = [_count(source) for source in find_sources(path, format)]
    return None if None in counts else sum(count or 0 for count in counts)


def check_layout(sources: Sequence[Source], layout: Layout) -> None:
    """Refuse a layout of which none of the files heeds a part.

    Raises:
        CorpusError: It names a separator or an encoding that no file has.
    """
    formats = {source.format for source in sources}
    if layout.separator is not None and not formats & {"csv", "tsv"}:
        raise CorpusError(
            f"separator {layout.separator!r} is of CSV and TSV; the corpus is {', '.join(sorted(formats))}."
        )
    if layout.encoding is not None and formats == {"parquet"}:
        raise CorpusError(f"encoding {layout.encoding!r} is of text files, and the corpus is Parquet.")


def read_source(source: Source, mapper: RecordMapper) -> Iterator[CorpusRecord]:
    """Read one file of a corpus record by record, as `read_corpus` does."""
    mapper = mapper.with_partition(source.partition)
    if source.format == "jsonl":
        return read_documents(source.path, mapper)
    if source.format == "parquet" and source.path is not None:
        return read_parquet(source.path, mapper)
    return read_table(source, mapper)


def _count(source: Source) -> int | None:
    if source.path is None or source.format in ("csv", "tsv"):
        return None
    if source.format == "parquet":
        return count_rows(source.path)
    if source.path.stat().st_size > _MAX_COUNTED_BYTES:
        return None
    try:
        return sum(1 for _ in read_lines(source.path))
    except CorpusError:
        # What is wrong is said when it is read; up to there it is a corpus.
        return None


def _check(
    documents: Iterable[Document | MalformedRecord | Mapping[str, Any]], mapper: RecordMapper
) -> Iterator[CorpusRecord]:
    for number, document in enumerate(documents, 1):
        if isinstance(document, MalformedRecord):
            yield document
            continue
        record: CorpusRecord
        try:
            values = _as_record(document)
            if isinstance(document, Document):
                record = mapper.checker.check(values)
            else:
                record = mapper.document(values, flat=False)
        except ValueError as error:
            record = MalformedRecord(f"document {number}", str(error), _raw(document))
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
        return json.dumps(dict(record), default=str)
    except (ValueError, TypeError, RecursionError):
        return json.dumps(abridge(record))
