"""Find the files of a corpus and their formats, by names alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from connector.corpus.layout import Layout, Partition
from connector.corpus.partitions import partition_of
from connector.errors import CorpusError

Format = Literal["jsonl", "csv", "tsv", "parquet"]

STANDARD_INPUT = "-"

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
}
_PACKED = (".gz", ".bz2", ".xz", ".zst")
_DIGESTED_BYTES = 1 << 20
_BEIR_NAMES = tuple(f"corpus.jsonl{packed}" for packed in ("", *_PACKED))
_BEIR_OTHERS = ("queries.jsonl", "qrels")
_TABLE_FORMATS = {"_delta_log": "a Delta", ".hoodie": "a Hudi", "metadata/*.metadata.json": "an Iceberg"}
"""Signs of table formats in a folder."""


class Source(NamedTuple):
    """One corpus file and how to read it.

    Attributes:
        path: The file; None is standard input.
        format: Format of its records. Compression is detected by the first bytes.
        partition: Partition values from its folders.
    """

    path: Path | None
    format: Format
    partition: Partition = ()


def find_source(path: str | Path, format: Format | None = None) -> Source:
    """Find one file and its format.

    Args:
        path: A file, or `-` for standard input.
        format: The format; None uses the suffix, or JSONL for standard input.

    Raises:
        CorpusError: The path does not exist, or the suffix is unknown.
        ValueError: `format` is unknown.
    """
    _check_format(format)
    if str(path) == STANDARD_INPUT:
        if format == "parquet":
            raise CorpusError("Parquet needs seeking and cannot be read from standard input; give the path of a file.")
        return Source(None, format or "jsonl")
    path = Path(path)
    if not path.exists():
        raise CorpusError(f"{path} does not exist; give a file, a folder, or - for standard input.")
    if not path.is_file():
        # A pipe cannot be read twice.
        raise CorpusError(f"{path} is not a file; give the path of a file, or pipe its content to - (standard input).")
    return Source(path, format or _format_of(path))


def find_sources(path: str | Path, format: Format | None = None) -> list[Source]:
    """Find the files of a corpus.

    Args:
        path: As in `find_source`, a BEIR folder, or another folder: all its files of a known format, recursively and
            sorted by name, except hidden ones and those that begin with `_`.
        format: Format of all files; None uses their suffixes.

    Raises:
        CorpusError: There is no file, or as in `find_source`.
        ValueError: `format` is unknown.
    """
    _check_format(format)
    folder = Path(path)
    if str(path) == STANDARD_INPUT or not folder.is_dir():
        return [find_source(path, format)]
    for name in _BEIR_NAMES:
        if (folder / name).is_file():
            return [find_source(folder / name, format)]
    for name, kind in _TABLE_FORMATS.items():
        if any(folder.glob(name)):
            raise CorpusError(
                f"folder {folder} is {kind} table, whose files also contain changed and deleted rows; export it as "
                "Parquet files first."
            )
    if any((folder / name).exists() for name in _BEIR_OTHERS):
        raise CorpusError(
            f"folder {folder} has queries or qrels like a BEIR folder, but no corpus.jsonl; give the path of the "
            "corpus."
        )
    files = [each for each in sorted(folder.rglob("*")) if each.is_file() and not _is_hidden(each.relative_to(folder))]
    sources = [
        find_source(file, format)._replace(partition=partition_of(file, folder))
        for file in files
        if format or _is_known(file)
    ]
    if not sources:
        raise CorpusError(f"folder {folder} contains no corpus file; known suffixes: {', '.join(_SUFFIXES)}.")
    return sources


def digest_source(path: str | Path, format: Format | None = None, layout: Layout | None = None) -> str:
    """Digest of a corpus and its layout (SHA-256, 16 hex digits), from the size, beginning and end of each file.

    Raises:
        CorpusError: As in `find_sources`, or the corpus is standard input.
    """
    digest = hashlib.sha256()
    for source in find_sources(path, format):
        if source.path is None:
            raise CorpusError("Standard input cannot be resumed; give the path of a file.")
        size = source.path.stat().st_size
        digest.update(f"{source.format} {size}".encode())
        with source.path.open("rb") as stream:
            digest.update(stream.read(_DIGESTED_BYTES))
            stream.seek(max(0, size - _DIGESTED_BYTES))
            digest.update(stream.read(_DIGESTED_BYTES))
    if layout is not None and layout != Layout():
        digest.update(json.dumps(layout.to_json(), sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _check_format(format: Format | None) -> None:
    if format is not None and format not in get_args(Format):
        raise ValueError(f"format {format!r} is unknown; choose one of {', '.join(get_args(Format))}.")


def _format_of(path: Path) -> Format:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] != [] and suffixes[-1] in _PACKED
    suffix = "".join(suffixes[:-1][-1:] if packed else suffixes[-1:])
    found = _SUFFIXES.get(suffix)
    if found is None or (packed and found == "parquet"):
        raise CorpusError(
            f"{path} has an unknown suffix; known are {', '.join(_SUFFIXES)}, and all but Parquet with "
            f"{', '.join(_PACKED)}. Rename it or set the format."
        )
    return found


def _is_known(path: Path) -> bool:
    try:
        return bool(_format_of(path))
    except CorpusError:
        return False


def _is_hidden(path: Path) -> bool:
    # Partition folders may also begin with `_`: `_date=2026-01-01`.
    return any(part.startswith((".", "_")) and "=" not in part for part in path.parts)
