"""Folders of partitions, as Hive, Spark and Arrow write them."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest

from connector.corpus import Layout, read_corpus
from connector.corpus.check import RecordChecker
from connector.corpus.layout import RecordMapper
from connector.corpus.parts import read_part, split_corpus
from connector.corpus.read import CorpusRecord
from connector.types import Document


@pytest.fixture
def hive(tmp_path: Path) -> Path:
    """Two partitions as Arrow writes them, and files of other formats in folders of the same form."""
    rows = [{"_id": "1", "text": "Otters dive.", "lang": "en", "year": 2020}]
    rows += [{"_id": "2", "text": "Biber bauen.", "lang": "de", "year": 2021}]
    pyarrow.dataset.write_dataset(
        pyarrow.Table.from_pylist(rows), tmp_path, format="parquet", partitioning=["lang", "year"],
        partitioning_flavor="hive",
    )  # fmt: skip
    for name, content in {
        "lang=fr/year=007/a.jsonl": '{"_id": "3", "text": "Les castors."}\n',
        "lang=a%2Fb/a.csv": "_id,text,lang\n4,Nutrias,own\n5,Coypus,\n",
        "lang=__HIVE_DEFAULT_PARTITION__/a.tsv": "_id\ttext\n6\tVoles\n",
        "lang=it/_temporary/a.tsv": "_id\ttext\n7\tArvicole\n",
        "lang=it/_SUCCESS": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


EXPECTED = {
    "1": {"lang": "en", "year": 2020},
    "2": {"lang": "de", "year": 2021},
    "3": {"lang": "fr", "year": "007"},
    "4": {"lang": "own"},
    "5": {"lang": "a/b"},
    "6": {},
}


def by_id(records: list[CorpusRecord]) -> dict[str, dict[str, object]]:
    assert all(isinstance(record, Document) for record in records)
    return {record.doc_id: dict(record.metadata) for record in records if isinstance(record, Document)}


def test_what_folders_say_is_metadata(hive: Path) -> None:
    assert by_id(list(read_corpus(hive))) == EXPECTED


def test_parts_know_their_partition(hive: Path) -> None:
    mapper = RecordMapper(RecordChecker(), Layout())
    records = [record for part in split_corpus(hive, part_bytes=10) for record in read_part(part, mapper)]
    assert by_id(records) == EXPECTED


def test_what_folders_say_may_be_declared_or_left_out(hive: Path) -> None:
    found = list(read_corpus(hive, fields=["lang"], layout=Layout(exclude=frozenset({"year"}))))
    fields = {record.doc_id: record.fields for record in found if isinstance(record, Document)}
    assert fields["1"] == {"lang": "en"} and fields["4"] == {"lang": "own"} and fields["6"] == {}
    assert all("year" not in record.metadata for record in found if isinstance(record, Document))


def test_a_file_or_folder_given_itself_has_what_the_folders_directly_above_it_say(hive: Path) -> None:
    """As a shell's pattern gives them."""
    expected = {"3": {"lang": "fr", "year": "007"}}
    for given in (hive / "lang=fr" / "year=007" / "a.jsonl", hive / "lang=fr" / "year=007", hive / "lang=fr"):
        assert by_id(list(read_corpus(given))) == expected
        mapper = RecordMapper(RecordChecker(), Layout())
        parts = split_corpus(given, part_bytes=10)
        assert by_id([record for part in parts for record in read_part(part, mapper)]) == expected
    folders = [folder for folder in sorted(hive.glob("lang=*")) if folder.name != "lang=it"]
    assert by_id(list(read_corpus(folders))) == EXPECTED
    files = [path for path in sorted(hive.glob("**/*.*")) if path.is_file() and "_temporary" not in path.parts]
    assert by_id(list(read_corpus(files))) == EXPECTED
    (hive / "lang=fr" / "plain").mkdir()
    (hive / "lang=fr" / "year=007" / "a.jsonl").rename(hive / "lang=fr" / "plain" / "a.jsonl")
    assert by_id(list(read_corpus(hive / "lang=fr" / "plain" / "a.jsonl"))) == {"3": {}}, "not directly above it"


def test_a_relative_path_has_what_the_folders_above_it_say(hive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hive / "lang=fr")
    for given in (".", "year=007", "year=007/a.jsonl"):
        assert by_id(list(read_corpus(given))) == {"3": {"lang": "fr", "year": "007"}}


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.parquet"])
def test_a_null_takes_what_folders_say_in_any_format(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "lang=en" / "year=2020"
    folder.mkdir(parents=True)
    if name == "p.jsonl":
        (folder / name).write_text('{"_id": "1", "text": "a", "year": null, "metadata": {"lang": null, "by": "me"}}\n')
    elif name == "p.csv":
        (folder / name).write_text("_id,text,year,lang,by\n1,a,,,me\n")
    else:
        row = {"_id": "1", "text": "a", "year": None, "lang": None, "by": "me"}
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), folder / name)
    expected = Document("1", "a", metadata={"lang": "en", "by": "me"}, fields={"year": 2020})
    assert list(read_corpus(tmp_path, fields={"year": "integer"})) == [expected]
