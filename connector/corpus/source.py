"""Find the files of a corpus and their formats, by names alone."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn, get_args

from connector.corpus.check import listed
from connector.corpus.layout import Layout, Partition
from connector.corpus.partitions import folder_above, partition_of
from connector.corpus.streams import refuse_foreign
from connector.errors import CorpusError

_log = logging.getLogger("ksparse.corpus")

Format = Literal["jsonl", "csv", "tsv", "parquet"]

Corpus = str | Path | Sequence[str | Path]
"""A file, a folder, several of them, or `-` for standard input."""

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
_DIGESTED_BYTES, _LEAST_DIGESTED_BYTES = 1 << 20, 1 << 14
"""Bytes of all beginnings, and at least of each: files may be many."""

_BEIR_NAMES = tuple(f"corpus.jsonl{packed}" for packed in ("", *_PACKED))
CHECKPOINT_END = ".checkpoint.json"
_OWN_ENDS = (".dead-letters.jsonl", CHECKPOINT_END)
"""Ends of the names of files that runs write."""

_DESCRIPTIONS = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")
"""Names of files in which Hugging Face describes the dataset of a folder."""

_TABLE_FORMATS = {"_delta_log": "a Delta", ".hoodie": "a Hudi", "metadata/*.metadata.json": "an Iceberg"}
"""Signs of table formats in a folder."""


class Source(NamedTuple):
    """One corpus file and how to read it.

    Attributes:
        path: The file; None is standard input.
        format: Format of its records. Compression is detected by the first bytes.
        partition: Partition values from its folders: those in the folder of the corpus, and those directly above the
            given file or folder.
        in_folder: Whether it was found in the folder of the corpus. Such a table may be empty, without a header.
    """

    path: Path | None
    format: Format
    partition: Partition = ()
    in_folder: bool = False


def find_source(path: str | Path, format: Format | None = None) -> Source:
    """Find one file and its format.

    Args:
        path: A file, or `-` for standard input.
        format: The format; None uses the suffix, or JSONL for standard input.

    Raises:
        CorpusError: The path does not exist, or the suffix is unknown.
        ValueError: `format` is unknown.
    """
    _check_arguments(path, format)
    if str(path) == STANDARD_INPUT:
        if format == "parquet":
            raise CorpusError("Parquet needs seeking and cannot be read from standard input; give the path of a file.")
        return Source(None, format or "jsonl")
    path = Path(path)
    if not path.exists():
        if path.is_symlink():
            raise CorpusError(f"{path} is a link to {path.readlink()}, which does not exist; restore that file.")
        raise CorpusError(f"{path} does not exist; give a file, a folder, or - for standard input.")
    if not path.is_file():
        # A pipe cannot be read twice.
        raise CorpusError(f"{path} is not a file; give the path of a file, or pipe its content to - (standard input).")
    found = format or format_of(path)
    if found is None:
        refuse_foreign(path)
        raise CorpusError(
            f"{path} has an unknown suffix; known are {', '.join(_SUFFIXES)}, and all but Parquet with "
            f"{', '.join(_PACKED)}. Rename it or set the format."
        )
    return Source(path, found, partition_of(path, folder_above(path.parent)))


def find_sources(path: Corpus, format: Format | None = None) -> list[Source]:
    """Find the files of a corpus.

    Args:
        path: As in `find_source`, a BEIR folder, or another folder: all its files of a known format, recursively and
            sorted by name, except hidden ones, those that begin with `_`, descriptions of a Hugging Face dataset, and
            dead letters and checkpoints. Of several paths, the files in this order, without dead letters and
            checkpoints, which a shell's pattern also matches.
        format: Format of all files; None uses their suffixes.

    Raises:
        CorpusError: There is no file, a folder cannot be read, or as in `find_source`.
        ValueError: `format` is unknown.
    """
    if not isinstance(path, str | Path):
        return _sources_of_several(path, format)
    _check_arguments(path, format)
    folder = Path(path)
    if str(path) == STANDARD_INPUT or not folder.is_dir():
        return [find_source(path, format)]
    if (corpus := _beir_corpus(folder)) is not None:
        return [find_source(corpus, format)]
    for name, kind in _TABLE_FORMATS.items():
        if any(folder.glob(name)):
            raise CorpusError(
                f"folder {folder} is {kind} table, whose files also contain changed and deleted rows; export it as "
                "Parquet files first."
            )
    names = {entry.name.partition(".")[0] for entry in folder.iterdir()}
    if "qrels" in names or {"queries", "corpus"} <= names or (folder / "queries.jsonl").exists():
        raise CorpusError(
            f"folder {folder} has queries or qrels like a BEIR folder, but no corpus.jsonl; give the path of the "
            "corpus."
        )
    files = [file for file in _files_in(folder) if file.name not in _DESCRIPTIONS]
    arrow = next((file for file in files if file.suffix == ".arrow"), None)
    if arrow is not None and format is None:
        raise CorpusError(
            f"folder {folder} has Arrow files, e.g. {arrow.name}, as Hugging Face's save_to_disk writes them; export "
            "the data as Parquet (to_parquet) and give that."
        )
    above = folder_above(folder)
    sources = [
        find_source(file, format)._replace(partition=partition_of(file, above), in_folder=True)
        for file in files
        if format or format_of(file)
    ]
    if not sources:
        raise CorpusError(f"folder {folder} contains no corpus file; known suffixes: {', '.join(_SUFFIXES)}.")
    return sources


def warn_of_unread(path: Corpus, format: Format | None = None) -> None:
    """Log a warning that names the files that `find_sources` does not find.

    These have another suffix, describe a dataset, were written by runs, or are in a BEIR folder.
    """
    if not isinstance(path, str | Path):
        read = _without_own(path)
        if unread := [str(each) for each in path if each not in read]:
            _log.warning(
                "Not read, because runs wrote them: %s. `ksparse replay` retries dead letters.", listed(unread)
            )
        for each in read:
            warn_of_unread(each, format)
        return
    folder = Path(path)
    if (corpus := _beir_corpus(folder)) is not None:
        _warn_of_others(folder, corpus)
        return
    if not folder.is_dir():
        return
    files = _files_in(folder)
    if described := [str(file.relative_to(folder)) for file in files if file.name in _DESCRIPTIONS]:
        _log.warning("Files of %s that are not read, because they describe a dataset: %s.", folder, listed(described))
    if format is None and (unread := [str(file.relative_to(folder)) for file in files if not format_of(file)]):
        _log.warning("Files of %s that are not read, because of their suffix: %s.", folder, listed(unread))


def _warn_of_others(folder: Path, corpus: Path) -> None:
    """Warn of files in a BEIR folder that may be a part of the corpus."""
    unread: list[str] = []
    with suppress(CorpusError):  # a subfolder that cannot be read does not matter here
        for file in _files_in(folder):
            name = file.relative_to(folder)
            if file == corpus or not format_of(file) or file.name in _DESCRIPTIONS:
                continue
            if not name.parts[0].startswith(("queries", "qrels")):
                unread.append(str(name))
    if unread:
        _log.warning(
            "%s is read as a BEIR folder, of which %s is the corpus; not read: %s. If these belong to the corpus, give "
            "the paths of all files.",
            folder,
            corpus.name,
            listed(unread),
        )


def digest_source(path: Corpus, format: Format | None = None, layout: Layout | None = None) -> str:
    """Digest of a corpus and its layout (SHA-256, 16 hex digits), from the size, beginning and end of each file.

    Raises:
        CorpusError: As in `find_sources`, or the corpus is standard input.
    """
    digest = hashlib.sha256()
    sources = find_sources(path, format)
    most = max(_LEAST_DIGESTED_BYTES, _DIGESTED_BYTES // len(sources))
    for source in sources:
        if source.path is None:
            raise CorpusError("Standard input cannot be resumed; give the path of a file.")
        size = source.path.stat().st_size
        digest.update(f"{source.format} {size}".encode())
        if source.partition:
            digest.update(repr(source.partition).encode())
        with source.path.open("rb") as stream:
            digest.update(stream.read(most))
            stream.seek(max(0, size - most))
            digest.update(stream.read(most))
    if layout is not None and layout != Layout():
        digest.update(json.dumps(layout.to_json(), sort_keys=True).encode())
    return digest.hexdigest()[:16]


def format_of(path: Path) -> Format | None:
    """The format of a file by its suffix; None if it is unknown."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] != [] and suffixes[-1] in _PACKED
    found = _SUFFIXES.get("".join(suffixes[:-1][-1:] if packed else suffixes[-1:]))
    return None if packed and found == "parquet" else found


def _sources_of_several(paths: Sequence[str | Path], format: Format | None) -> list[Source]:
    if not paths:
        raise CorpusError("The list of paths is empty; give a file, a folder, or - for standard input.")
    if len(paths) > 1 and STANDARD_INPUT in map(str, paths):
        raise CorpusError("Standard input (-) cannot be combined with other paths; give one or the others.")
    sources = [source for path in _without_own(paths) for source in find_sources(path, format)]
    seen: set[Path] = set()
    for source in sources:
        if source.path is not None:
            real = source.path.resolve()
            if real in seen:
                raise CorpusError(f"{source.path} is given twice, alone or in a folder; give it once.")
            seen.add(real)
    return sources


def _without_own(paths: Sequence[str | Path]) -> Sequence[str | Path]:
    """The paths that do not name files that runs write, unless all do."""
    return [path for path in paths if not str(path).endswith(_OWN_ENDS)] or paths


def _check_arguments(path: str | Path, format: Format | None) -> None:
    if not str(path):  # an unset variable of a shell; as a Path, it would be the current folder
        raise CorpusError("The path of the corpus is empty; give a file, a folder, or - for standard input.")
    if format is not None and format not in get_args(Format):
        raise ValueError(f"format {format!r} is unknown; choose one of {', '.join(get_args(Format))}.")


def _beir_corpus(folder: Path) -> Path | None:
    return next((folder / name for name in _BEIR_NAMES if (folder / name).is_file()), None)


def _files_in(folder: Path) -> list[Path]:
    """The files of a folder and its subfolders, linked ones included, sorted by name."""
    files: list[Path] = []
    visited: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # a link to a folder that is also found otherwise
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        files += (Path(place, name) for name in names if not _is_hidden(name) and not name.endswith(_OWN_ENDS))
    return sorted(files)


def _refuse_folder(error: OSError) -> NoReturn:
    raise CorpusError(f"folder {error.filename} cannot be read: {error.strerror}. Correct that and start again.")


def _is_hidden(name: str) -> bool:
    # Partition folders may also begin with `_`: `_date=2026-01-01`.
    return name.startswith((".", "_")) and "=" not in name
