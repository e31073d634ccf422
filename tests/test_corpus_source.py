"""Paths, folders and standard input: the files found, and errors before a record is read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet
import pytest
import zstandard

from connector.corpus import Layout, count_records, read_corpus
from connector.corpus.check import RecordChecker
from connector.corpus.layout import RecordMapper
from connector.corpus.lines import read_entries
from connector.corpus.parts import read_part, split_corpus
from connector.corpus.source import Format, digest_source
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

GOOD = b'{"_id": "d1", "text": "body"}\n'


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))


@pytest.mark.parametrize("name", ["c.jsonl", "c.ndjson", "C.JSONL", "a.b.jsonl"])
def test_suffixes_of_json_lines(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(GOOD)
    assert list(read_corpus(tmp_path / name)) == [Document("d1", "body")]


def test_gzip_is_recognised_without_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(gzip.compress(GOOD))
    assert list(read_corpus(str(tmp_path / "c.jsonl"))) == [Document("d1", "body")]


def test_the_format_overrules_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes(GOOD)
    assert list(read_corpus(tmp_path / "c.txt", format="jsonl")) == [Document("d1", "body")]


def test_a_missing_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none\.jsonl does not exist; give a file, a folder, or -"):
        read_corpus(tmp_path / "none.jsonl")


@pytest.mark.parametrize("name", ["c.txt", "corpus", "c.gz", "c.parquet.gz"])
def test_an_unknown_suffix_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(GOOD)
    with pytest.raises(CorpusError, match=r"unknown suffix; known are \.jsonl, \.ndjson, \.json, \.csv"):
        read_corpus(tmp_path / name)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="format 'xml' is unknown; choose one of jsonl, csv, tsv, parquet"):
        read_corpus(tmp_path, format="xml")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_a_folder_is_read_as_beir(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(GOOD) if name.endswith(".gz") else GOOD)
    (tmp_path / "queries.jsonl").write_bytes(b"broken")
    assert list(read_corpus(tmp_path)) == [Document("d1", "body")]


def test_all_files_of_a_folder_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("_id,text\nd2,more\n")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(GOOD))
    (tmp_path / "notes.txt").write_text("no corpus")
    assert list(read_corpus(tmp_path)) == [Document("d1", "body"), Document("d2", "more")]
    assert count_records(tmp_path) is None


def test_an_id_that_two_files_of_a_folder_have_is_refused(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(GOOD)
    _, second = read_corpus(tmp_path)
    assert isinstance(second, MalformedRecord) and second.location == f"{tmp_path / 'b.jsonl'}:1"
    assert count_records(tmp_path) == 2


def test_several_paths_are_one_corpus(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "more.csv").write_text("_id,text\nd2,more\n")
    (tmp_path / "b.jsonl").write_bytes(GOOD)
    (tmp_path / "a.jsonl").write_bytes(GOOD.replace(b"d1", b"d3"))
    several: list[str | Path] = [str(tmp_path / "b.jsonl"), tmp_path / "a.jsonl"]
    assert list(read_corpus(several)) == [Document("d1", "body"), Document("d3", "body")]
    assert count_records(several) == 2
    assert list(read_corpus([folder, *several]))[0] == Document("d2", "more")
    assert digest_source(several[:1]) == digest_source(several[0]) != digest_source(several)
    assert digest_source(several) != digest_source(several[::-1])


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "The list of paths is empty"),
        (["a.jsonl", "-"], r"Standard input \(-\) cannot be combined with other paths"),
        (["a.jsonl", "./a.jsonl"], "a.jsonl is given twice"),
        (["a.jsonl", "."], "a.jsonl is given twice, alone or in a folder"),
        (["a.jsonl", ""], "The path of the corpus is empty"),
        (["a.jsonl", "missing.jsonl"], "missing.jsonl does not exist"),
    ],
)
def test_several_paths_that_are_no_corpus_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    with pytest.raises(CorpusError, match=message):
        read_corpus(paths)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"contains no corpus file; known suffixes: \.jsonl, "):
        read_corpus(tmp_path)


def test_a_beir_folder_without_its_corpus_does_not_give_its_queries(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_bytes(GOOD)
    with pytest.raises(CorpusError, match=r"has queries or qrels like a BEIR folder, but no corpus\.jsonl"):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("start", "named"),
    [
        (b"PK\x03\x04rest", "a ZIP archive or an Excel workbook"),
        (b"PAR1", "a Parquet file; set the format"),
        (b"Obj\x01", "an Avro file"),
        (
            gzip.compress(b"corpus.jsonl" + b"\0" * 245 + b"ustar\x0000" + b"\0" * 300, mtime=0),
            "a tar archive; unpack it",
        ),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, start: bytes, named: str) -> None:
    for name in ("c.jsonl", "c.csv"):
        (tmp_path / name).write_bytes(start)
        with pytest.raises(CorpusError, match=f"{name} is {named}"):
            read_corpus(tmp_path / name)


@pytest.mark.parametrize("start", ["ORCID", "PAR1", "SQLite format 3", "%PDF"])
def test_a_text_may_begin_with_letters_of_a_signature(tmp_path: Path, start: str) -> None:
    (tmp_path / "c.csv").write_text(f"{start},_id,text\nx,d1,body\n")
    assert list(read_corpus(tmp_path / "c.csv")) == [Document("d1", "body", metadata={start: "x"})]
    (tmp_path / "queries.txt").write_text(f"{start}\nsecond\n")
    assert list(read_entries(tmp_path / "queries.txt")) == [start, "second"]


def tar(name: str = "corpus.jsonl", *, version_7: bool = False) -> bytes:
    """An archive of one file; one of version 7 of Unix has nothing behind the name of a link in its header."""
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            member = tarfile.TarInfo(name)
            member.size = len(GOOD)
            archive.addfile(member, io.BytesIO(GOOD))
        content = bytearray(file.getvalue())
    if version_7:
        content[257:512] = bytes(255)
        content[148:156] = b" " * 8
        content[148:156] = b"%06o\0 " % sum(content[:512])
    return bytes(content)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("version_7", [False, True])
def test_an_archive_is_recognised_by_its_header(
    tmp_path: Path, pack: Callable[[bytes], bytes], *, version_7: bool
) -> None:
    for name in ("c.jsonl", "c.csv"):
        (tmp_path / name).write_bytes(pack(tar(version_7=version_7)))
        with pytest.raises(CorpusError, match=f"{name} is a tar archive; unpack it and give the folder"):
            read_corpus(tmp_path / name)


def test_a_text_may_contain_the_magic_of_an_archive(tmp_path: Path) -> None:
    start = '{"_id": "d1", "text": "'
    text = "x" * (257 - len(start)) + "ustar is the magic of a tar archive" + " and so on" * 40
    (tmp_path / "c.jsonl").write_text(f'{start}{text}"}}\n')
    assert (tmp_path / "c.jsonl").read_bytes()[257:262] == b"ustar"
    assert list(read_corpus(tmp_path / "c.jsonl")) == [Document("d1", text)]


def test_binary_files_are_named_by_their_signature(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["body"]}), tmp_path / "parquet.csv")
    pyarrow.orc.write_table(pyarrow.table({"text": ["body"]}), tmp_path / "orc.csv")
    pyarrow.feather.write_feather(pyarrow.table({"text": ["body"]}), tmp_path / "arrow.csv")
    for name, kind in (("parquet", "a Parquet file"), ("orc", "an ORC file"), ("arrow", "an Arrow or Feather file")):
        with pytest.raises(CorpusError, match=f"{name}.csv is {kind}"):
            read_corpus(tmp_path / f"{name}.csv")


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstandard.compress)],
)
def test_compressed_files_are_read_whatever_their_name(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    # Several members, as `cat a.gz b.gz` makes them.
    content = pack(GOOD) + pack(b'{"_id": "d2", "text": "more"}\n')
    for name in (f"c.jsonl{suffix}", "c.ndjson"):
        (tmp_path / name).write_bytes(content)
        assert [record.doc_id for record in read_corpus(tmp_path / name) if isinstance(record, Document)] == [
            "d1",
            "d2",
        ]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstandard.compress)],
)
def test_a_compressed_table_cut_short_is_an_error_and_not_its_end(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    rows = b"_id,text\n" + b"".join(b"d%d,text %d\n" % (row, row * 7919 % 1_000) for row in range(20_000))
    (tmp_path / f"c.csv{suffix}").write_bytes(pack(rows)[:-20])
    with pytest.raises(CorpusError, match="cannot be read after line .*ended before the end-of-stream marker"):
        list(read_corpus(tmp_path / f"c.csv{suffix}"))


def test_a_damaged_zstandard_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(GOOD)[:8] + b"\xff" * 40)
    with pytest.raises(CorpusError, match="cannot be read after line 0"):
        list(read_corpus(tmp_path / "c.jsonl.zst"))


def test_without_its_package_a_zstandard_file_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.jsonl").write_bytes(zstandard.compress(GOOD))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(CorpusError, match="is compressed with Zstandard; pip install zstandard, or decompress it"):
        read_corpus(tmp_path / "c.jsonl")


def test_standard_input_is_read_as_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, GOOD + b"broken\n")
    document, record = read_corpus("-")
    assert document == Document("d1", "body")
    assert isinstance(record, MalformedRecord) and record.location == "<stdin>:2"


def test_standard_input_may_be_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"_id,text\nd1,body\n")
    assert list(read_corpus("-", format="csv")) == [Document("d1", "body")]


def test_standard_input_may_be_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, gzip.compress(GOOD))
    assert list(read_corpus("-")) == [Document("d1", "body")]


def test_standard_input_that_cannot_be_peeked_into_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # click's CliRunner puts such a stream in its place.
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD)))
    assert list(read_corpus("-")) == [Document("d1", "body")]


def test_standard_input_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, GOOD)
    list(read_corpus("-"))
    assert not sys.stdin.buffer.closed


def test_standard_input_that_is_closed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CorpusError, match="Standard input is closed; pipe the content to it, or give a file"):
        read_corpus("-")


def test_parquet_from_standard_input_is_refused() -> None:
    with pytest.raises(CorpusError, match="Parquet needs seeking and cannot be read from standard input"):
        read_corpus("-", format="parquet")


def test_standard_input_has_no_count() -> None:
    assert count_records("-") is None


def test_a_digest_tells_contents_apart(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b"a" * 3_000_000)
    first = digest_source(path)
    assert digest_source(path) == first and len(first) == 16
    for content in (b"a" * 3_000_001, b"b" + b"a" * 2_999_999, b"a" * 2_999_999 + b"b"):
        path.write_bytes(content)
        assert digest_source(path) != first
    (tmp_path / "other.jsonl").write_bytes(b"a" * 3_000_000)
    assert digest_source(tmp_path / "other.jsonl") == first, "the name does not count"
    with pytest.raises(CorpusError, match="Standard input cannot be resumed"):
        digest_source("-")


@pytest.mark.parametrize(
    ("inside", "kind"),
    [("_delta_log/0.json", "a Delta"), (".hoodie/x", "a Hudi"), ("metadata/v1.metadata.json", "an Iceberg")],
)
def test_the_files_of_a_table_that_keeps_old_rows_are_not_read(tmp_path: Path, inside: str, kind: str) -> None:
    (tmp_path / "part.jsonl").write_bytes(GOOD)
    (tmp_path / inside).parent.mkdir()
    (tmp_path / inside).touch()
    with pytest.raises(CorpusError, match=f"is {kind} table, whose files also contain changed and deleted rows"):
        read_corpus(tmp_path)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.jsonl")
    with pytest.raises(CorpusError, match=r"c\.jsonl is not a file; give the path of a file, or pipe its content to -"):
        read_corpus(tmp_path / "c.jsonl")


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("c.jsonl", Layout(separator=";"), "separator ';' applies to CSV and TSV; the corpus is jsonl"),
        ("c.parquet", Layout(encoding="cp1252"), "encoding 'cp1252' applies to text files; the corpus is Parquet"),
    ],
)
def test_a_layout_that_no_file_uses_is_refused(tmp_path: Path, name: str, layout: Layout, message: str) -> None:
    (tmp_path / name).write_bytes(GOOD)
    with pytest.raises(CorpusError, match=message):
        read_corpus(tmp_path / name, layout=layout)
    with pytest.raises(CorpusError, match=message):
        list(split_corpus(tmp_path / name, layout=layout))


def test_a_digest_tells_layouts_and_folders_apart(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(GOOD)
    digests = {digest_source(tmp_path), digest_source(tmp_path / "a.jsonl")}
    digests |= {digest_source(tmp_path, layout=Layout(text_fields=(name,))) for name in ("a", "b")}
    digests.add(digest_source(tmp_path, layout=Layout(exclude=frozenset({"a", "b", "c"}))))
    assert len(digests) == 5
    assert digest_source(tmp_path, layout=Layout()) == digest_source(tmp_path)


def test_an_empty_path_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.jsonl").write_bytes(GOOD)
    monkeypatch.chdir(tmp_path)
    for function in (read_corpus, count_records, digest_source):
        with pytest.raises(CorpusError, match="path of the corpus is empty; give a file, a folder, or -"):
            function("")
    assert list(read_corpus(".")) == [Document("d1", "body")]


def test_files_that_a_folder_has_besides_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "sub").mkdir()
    for name in ("sub/b.jsonl.zip", "notes.txt", "_SUCCESS", ".hidden.csv", "docs.checkpoint.json"):
        (tmp_path / name).write_text("no corpus")
    (tmp_path / "docs.dead-letters.jsonl").write_text("{}")
    assert list(read_corpus(tmp_path)) == [Document("d1", "body")]
    assert caplog.messages == [
        f"Files of {tmp_path} that are not read, because of their suffix: 'notes.txt', 'sub/b.jsonl.zip'."
    ]


@pytest.mark.parametrize("file_format", [None, "jsonl"])
def test_files_that_a_beir_folder_has_besides_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file_format: Format | None
) -> None:
    for folder in ("qrels", "sub"):
        (tmp_path / folder).mkdir()
    for name in ("corpus.jsonl", "corpus-2.jsonl", "sub/more.csv"):
        (tmp_path / name).write_bytes(GOOD)
    for name in ("queries.jsonl", "queries-dev.jsonl", "qrels/test.tsv", "qrels.tsv", "notes.txt"):
        (tmp_path / name).write_text("no corpus")
    assert list(read_corpus(tmp_path, format=file_format)) == [Document("d1", "body")]
    assert caplog.messages == [
        f"{tmp_path} is read as a BEIR folder, of which corpus.jsonl is the corpus; not read: 'corpus-2.jsonl', "
        "'sub/more.csv'. If these belong to the corpus, give the paths of all files."
    ]


def test_what_runs_wrote_is_not_read_because_a_pattern_matches_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run of `*.json*` writes files that the same pattern matches when it is resumed."""
    for name in ("a.jsonl", "b.json", "docs.checkpoint.json", "docs.dead-letters.jsonl"):
        (tmp_path / name).write_bytes(GOOD.replace(b"d1", name[:1].encode()))
    corpus = sorted(tmp_path.iterdir())
    assert list(read_corpus(corpus)) == [Document("a", "body"), Document("b", "body")]
    assert caplog.messages == [
        f"Not read, because runs wrote them: '{corpus[2]}', '{corpus[3]}'. `ksparse replay` retries dead letters."
    ]
    assert digest_source(corpus) == digest_source(corpus[:2])


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.jsonl").write_bytes(GOOD)
    for link, target in (("one", elsewhere), ("two", elsewhere), ("round", folder)):
        (folder / link).symlink_to(target)
    assert list(read_corpus(folder)) == [Document("d1", "body")]


def test_a_link_to_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "b.jsonl").symlink_to(tmp_path / ".git" / "annex")
    with pytest.raises(CorpusError, match=r"b\.jsonl is a link to .*annex, which does not exist; restore that file"):
        read_corpus(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "closed").mkdir(mode=0o000)
    with pytest.raises(CorpusError, match="closed cannot be read: Permission denied"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("name", ["queries/a.parquet", "qrels.tsv", "queries.train.tsv"])
def test_queries_beside_a_corpus_are_no_documents(tmp_path: Path, name: str) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.jsonl").write_bytes(GOOD)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(CorpusError, match="has queries or qrels like a BEIR folder"):
        read_corpus(tmp_path)
    assert list(read_corpus(tmp_path / "corpus")) == [Document("d1", "body")]


def test_a_dataset_of_hugging_face_is_named(tmp_path: Path) -> None:
    for name in ("dataset_info.json", "state.json"):
        (tmp_path / name).write_text("{}")
    pyarrow.feather.write_feather(pyarrow.table({"text": ["body"]}), tmp_path / "data-00000-of-00001.arrow")
    with pytest.raises(CorpusError, match=r"has Arrow files, e\.g\. data-00000-of-00001\.arrow, as Hugging Face's"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("name", ["dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"])
@pytest.mark.parametrize("file_format", [None, "parquet"])
def test_the_description_of_a_dataset_is_no_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, file_format: Format | None
) -> None:
    (tmp_path / "data").mkdir()
    table = pyarrow.table({"_id": ["d1"], "text": ["body"]})
    pyarrow.parquet.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    (tmp_path / name).write_text('{"default": {"features": {}}}')
    assert list(read_corpus(tmp_path, format=file_format)) == [Document("d1", "body")]
    assert caplog.messages == [f"Files of {tmp_path} that are not read, because they describe a dataset: '{name}'."]


def test_an_empty_table_of_a_folder_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "part-0.csv").touch()
    (tmp_path / "part-1.csv.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "part-2.csv").write_text("_id,text\nd1,body\n")
    assert list(read_corpus(tmp_path)) == [Document("d1", "body")]
    mapper = RecordMapper(RecordChecker(), Layout())
    assert [record for part in split_corpus(tmp_path) for record in read_part(part, mapper)] == [Document("d1", "body")]


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("c.xlsx", b"PK\x03\x04rest", "a ZIP archive or an Excel workbook"),
        ("c.csv.zip", b"PK\x03\x04rest", "a ZIP archive or an Excel workbook"),
        ("c.tar.gz", gzip.compress(tar(), mtime=0), "a tar archive"),
        ("c.arrow", b"ARROW1\0\0", "an Arrow or Feather file"),
        ("c.7z", b"7z\xbc\xaf\x27\x1c\0\0", "a 7z archive"),
        ("c.jsonl.lz4", b"\x04\x22\x4d\x18rest", "compressed by LZ4"),
        ("c.jsonl", LFS, "a pointer of Git LFS"),
        ("c.csv", LFS, "a pointer of Git LFS"),
        ("c.parquet", LFS, "a pointer of Git LFS"),
        ("c.parquet", b"PK\x03\x04rest", "a ZIP archive"),
        ("c.parquet.gz", gzip.compress(b"PAR1\x15\x04\x15\0rest", mtime=0), "a compressed Parquet file; decompress it"),
        ("c.parquet", gzip.compress(b"PAR1\x15\x04\x15\0rest", mtime=0), "a compressed Parquet file; decompress it"),
    ],
)
def test_the_next_step_fits_what_a_file_is_and_not_its_name(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=f"{name} is {kind}"):
        read_corpus(tmp_path / name)


def test_zstandard_is_read_with_metadata_before_and_behind_and_with_long_windows(tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    long = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=0)
    packer = zstandard.ZstdCompressor(compression_params=long).compressobj()
    frame = packer.compress(GOOD) + packer.flush()
    (tmp_path / "c.jsonl.zst").write_bytes(skippable + frame + skippable)
    assert list(read_corpus(tmp_path / "c.jsonl.zst")) == [Document("d1", "body")]
