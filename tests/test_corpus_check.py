"""Rules for documents, tested through `check_documents` without files."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from connector.corpus import Layout, check_documents
from connector.corpus.check import RecordChecker
from connector.corpus.jsonl import read_document
from connector.corpus.layout import RecordMapper
from connector.errors import CorpusError
from connector.limits import MAX_DEPTH
from connector.types import Document, MalformedRecord


def check(record: Mapping[str, Any] | Document, **options: Any) -> Document | MalformedRecord:  # noqa: ANN401
    [found] = check_documents([record], **options)
    return found


def reason(record: Mapping[str, Any] | Document, **options: Any) -> str:  # noqa: ANN401
    found = check(record, **options)
    assert isinstance(found, MalformedRecord)
    return found.reason


def test_a_whole_record_becomes_a_document() -> None:
    record = {"_id": "d1", "title": "T", "text": "body", "metadata": {"year": 2020}, "lang": "en"}
    assert check(record, fields=["lang"]) == Document("d1", "body", "T", {"year": 2020}, {"lang": "en"})


def test_an_integer_id_becomes_a_string() -> None:
    assert check({"_id": 7, "text": "body"}) == Document("7", "body")


def test_a_title_without_text_is_a_document() -> None:
    assert check({"_id": "d1", "title": "T"}) == Document("d1", "", "T")


def test_null_title_and_metadata_count_as_absent() -> None:
    assert check({"_id": "d1", "title": None, "text": "body", "metadata": None}) == Document("d1", "body")


@pytest.mark.parametrize("text", ["", " \n", None])
def test_blank_text_without_title_is_refused(text: str | None) -> None:
    assert reason({"_id": "d1", "text": text}).startswith("has an empty 'text' and no 'title'")


@pytest.mark.parametrize("doc_id", [None, "", "  "])
def test_a_missing_id_is_refused(doc_id: str | None) -> None:
    assert reason({"_id": doc_id, "text": "body"}).startswith("has no '_id'")


def test_a_float_id_is_refused() -> None:
    assert reason({"_id": 1.0, "text": "body"}) == "'_id' is a float, not a string or an integer"


def test_a_boolean_id_is_refused() -> None:
    assert reason({"_id": True, "text": "body"}) == "'_id' is a boolean, not a string or an integer"


def test_an_id_of_512_bytes_is_taken() -> None:
    assert check({"_id": "é" * 256, "text": "body"}) == Document("é" * 256, "body")


def test_an_id_is_measured_in_bytes_not_characters() -> None:
    assert reason({"_id": "é" * 256 + "e", "text": "body"}).startswith("'_id' is 513 bytes long")


def test_a_generated_id_is_the_hash_of_the_canonical_content() -> None:
    content = '{"fields":{},"metadata":{"a":1,"b":2},"text":"é","title":""}'
    found = check({"text": "é", "metadata": {"b": 2, "a": 1}}, generate_ids=True)
    assert isinstance(found, Document)
    assert found.doc_id == hashlib.sha256(content.encode()).hexdigest()


def test_a_given_id_is_kept_when_ids_are_generated() -> None:
    assert check({"_id": "d1", "text": "body"}, generate_ids=True) == Document("d1", "body")


def test_a_text_that_is_no_string_is_refused() -> None:
    assert reason({"_id": "d1", "text": ["body"]}) == "'text' is an array, not a string"


def test_metadata_that_is_no_object_is_refused() -> None:
    assert reason({"_id": "d1", "text": "body", "metadata": "x"}) == "'metadata' is a string, not an object"


def test_an_undeclared_field_is_named_with_the_next_step() -> None:
    assert reason({"_id": "d1", "text": "body", "lang": "en"}) == (
        "field 'lang' is not in the mapping; put it under 'metadata' or remove it, or declare it as a field "
        "of a new index"
    )


def test_a_lone_surrogate_is_refused() -> None:
    assert reason({"_id": "d1", "text": "a\ud800"}).startswith("'text' cannot be sent as UTF-8")


def test_a_lone_surrogate_in_an_id_is_refused() -> None:
    assert reason({"_id": "\ud800", "text": "body"}).startswith("'_id' cannot be sent as UTF-8")


def test_nan_counts_as_missing_and_infinity_is_refused_by_its_key() -> None:
    record = {"_id": "d1", "text": "body", "metadata": {"a": 1.5, "b": float("nan")}, "c": [{"d": float("nan")}]}
    assert check(record, fields=["c"]) == Document(
        "d1", "body", metadata={"a": 1.5, "b": None}, fields={"c": [{"d": None}]}
    )
    found = reason(record | {"metadata": {"good": 1.0, "bad": float("-inf")}}, fields=["c"])
    assert found.startswith("'metadata.bad' cannot be written as JSON") and found.endswith("leave infinite numbers out")


@pytest.mark.parametrize(
    "value",
    [2020.5, [2020, 2020.5], np.float32(0.25), "2020.5", ["2020", "2020.5"], "5e-1", decimal.Decimal("1.5")],
)
def test_a_fraction_in_an_integer_field_is_refused(value: object) -> None:
    record = {"_id": "d1", "text": "body", "year": value}
    assert reason(record, fields={"year": "integer"}).startswith("field 'year' is an integer in the index, got ")
    assert isinstance(check(record, fields={"year": "double"}), Document)
    assert check(record | {"year": [2020.0, "2021"]}, fields={"year": "long"}) == Document(
        "d1", "body", fields={"year": [2020, "2021"]}
    )
    judged_by_the_server = ["2020.0", "2e3", "soon", "NaN", "Infinity", ""]
    assert check(record | {"year": judged_by_the_server}, fields={"year": "long"}) == Document(
        "d1", "body", fields={"year": judged_by_the_server}
    )


def test_a_value_that_json_lacks_is_refused_by_its_key() -> None:
    record = {"_id": "d1", "text": "body", "day": object()}
    assert reason(record, fields=["day"]) == (
        "'day' cannot be written as JSON: Object of type object is not JSON serializable"
    )


def test_values_of_python_become_those_of_json() -> None:
    day = datetime.date(2020, 1, 1)
    found = check({"_id": uuid.UUID(int=7), "text": "body", "day": day, "metadata": {"year": 2020.0}}, fields=["day"])
    assert isinstance(found, Document) and found.doc_id == "00000000-0000-0000-0000-000000000007"
    assert (found.fields, found.metadata) == ({"day": "2020-01-01"}, {"year": 2020})
    assert json.dumps(found.metadata) == '{"year": 2020}'


def test_values_are_stored_as_json_has_them() -> None:
    metadata = {
        "day": datetime.date(2020, 1, 2),
        "year": 2020.0,
        "price": decimal.Decimal("1.50"),
        "count": decimal.Decimal("3.00"),
        "nested": {"m": [1e3, -0.0, 0.5]},
        "big": 12345678901234567890123,
        "large": 1e300,
        "took": datetime.timedelta(seconds=5),
        "key": uuid.UUID(int=1),
    }
    assert check({"_id": "d1", "text": "body", "metadata": metadata}) == Document(
        "d1",
        "body",
        metadata={
            "day": "2020-01-02",
            "year": 2020,
            "price": "1.50",
            "count": 3,
            "nested": {"m": [1000, 0, 0.5]},
            "big": 12345678901234567890123,
            "large": 1e300,
            "took": 5,
            "key": "00000000-0000-0000-0000-000000000001",
        },
    )


def test_a_whole_float_is_stored_as_an_integer_wherever_it_stands() -> None:
    found = check({"_id": "d", "text": "b", "metadata": {"n": 1.0}, "year": 2020.0}, fields=["year"])
    assert isinstance(found, Document)
    assert repr((found.metadata, found.fields)) == "({'n': 1}, {'year': 2020})"


def test_a_name_that_cannot_be_declared_is_not_advised_to_be() -> None:
    assert reason({"_id": "d1", "text": "body", "_index": "old"}) == (
        "field '_index' is not in the mapping; put it under 'metadata' or remove it"
    )


def test_id_replaces_the_id_in_python_too() -> None:
    assert check({"id": 7, "text": "body"}) == Document("7", "body")


def test_metadata_nested_beyond_what_json_writes_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    found = check({"_id": "d1", "text": "x" * 1000, "metadata": {"deep": nested}})
    assert isinstance(found, MalformedRecord) and "recursion" in found.reason
    assert json.loads(found.raw)["text"] == "x" * 1000


def test_metadata_that_holds_itself_is_refused() -> None:
    metadata: dict[str, Any] = {}
    metadata["self"] = metadata
    assert "Circular reference" in reason({"_id": "d1", "text": "body", "metadata": metadata})


def test_a_metadata_key_that_is_no_string_is_refused() -> None:
    assert reason({"_id": "d1", "text": "b", "metadata": {1: "x"}}) == "'metadata' has the key 1, which is not a string"


@pytest.mark.parametrize("key", [1, None, ("a", "b"), b"a"])
def test_a_key_that_is_no_string_is_refused(key: Any) -> None:  # noqa: ANN401
    wanted = f"has the key {key!r}, which is not a string"
    assert reason({"_id": "1", "text": "a", key: "b"}) == wanted
    assert reason(Document("1", "a", fields={key: "b"})) == wanted


def test_a_key_within_metadata_that_json_lacks_is_refused() -> None:
    found = reason({"_id": "1", "text": "a", "metadata": {"deep": {(1, 2): "b"}}})
    assert "'metadata.deep' cannot be written as JSON" in found


def test_later_records_of_an_id_are_refused() -> None:
    found = list(check_documents([Document("a", "1"), Document("b", "2"), Document("a", "3"), Document("a", "4")]))
    assert [type(record) for record in found] == [Document, Document, MalformedRecord, MalformedRecord]


def test_a_repeated_id_is_located_where_it_repeats() -> None:
    _, second = check_documents([Document("a", "1"), Document("a", "2")])
    assert isinstance(second, MalformedRecord)
    assert (second.location, second.reason[:19]) == ("document 2", "'_id' 'a' is repeat")


def test_a_refused_record_does_not_take_its_id() -> None:
    _, second = check_documents([Document("a", ""), Document("a", "body")])
    assert second == Document("a", "body")


def test_repeated_ids_pass_on_request() -> None:
    found = list(check_documents([Document("a", "1"), Document("a", "2")], refuse_repeated=False))
    assert found == [Document("a", "1"), Document("a", "2")]


def test_equal_content_without_ids_is_repeated() -> None:
    _, second = check_documents([{"text": "body"}, {"text": "body"}], generate_ids=True)
    assert isinstance(second, MalformedRecord)


def test_a_document_passes_unchanged() -> None:
    document = Document("d1", "body", "T", {"a": [1]}, {"lang": "en"})
    assert check(document, fields=["lang"]) == document


def test_a_documents_field_called_text_is_refused() -> None:
    assert reason(Document("d1", "body", fields={"text": "other"})).startswith("'fields' has the reserved key 'text'")


def test_something_else_than_a_document_is_refused() -> None:
    [found] = check_documents(["body"])  # type: ignore[list-item]
    assert found == MalformedRecord("document 1", "is of type str, not a Document or a mapping", "'body'")


def test_the_raw_record_is_whole() -> None:
    record = {"_id": "d1", "text": "\ud800" + "x" * 20_000}
    found = check(record)
    assert isinstance(found, MalformedRecord)
    assert json.loads(found.raw) == record


def test_documents_are_read_lazily() -> None:
    taken: list[int] = []

    def documents() -> Any:  # noqa: ANN401
        for number in range(3):
            taken.append(number)
            yield Document(str(number), "body")

    next(check_documents(documents()))
    assert taken == [0]


def test_fields_as_one_string_are_refused() -> None:
    with pytest.raises(ValueError, match="collection of names, got the string 'lang'"):
        check_documents([], fields="lang")


def test_a_version_may_come_with_a_record() -> None:
    found = check({"_id": "d1", "text": "body", "_version": 7})
    assert found == Document("d1", "body", version=7)
    assert check(found) == found


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("7", "'_version' is a string"),
        (True, "a boolean"),
        (1.5, "a float"),
        (-1, "allows 0 to"),
        (2**63, "allows 0 to"),
    ],
)
def test_a_version_is_an_integer_that_the_server_takes(version: object, expected: str) -> None:
    assert expected in reason({"_id": "d1", "text": "body", "_version": version})


def test_an_integer_that_python_does_not_write_is_refused_and_its_record_kept() -> None:
    found = check({"_id": "d1", "text": "body", "metadata": {"a": 10**5_000, "b": 1}})
    assert isinstance(found, MalformedRecord) and "4300 digits" in found.reason
    assert json.loads(found.raw)["text"] == "body"


@pytest.mark.parametrize("kind", [list, dict])
def test_nesting_is_limited_because_a_server_may_die_of_it(kind: type) -> None:
    def nested(depth: int) -> object:
        return 1 if depth == 0 else [nested(depth - 1)] if kind is list else {"a": nested(depth - 1)}

    assert isinstance(check({"_id": "d1", "text": "b", "metadata": {"a": nested(MAX_DEPTH - 1)}}), Document)
    assert reason({"_id": "d1", "text": "b", "metadata": {"a": nested(MAX_DEPTH)}}) == (
        "'metadata' is nested deeper than 100 arrays and objects, which can crash a node; flatten it"
    )


def test_many_short_values_are_not_deep() -> None:
    assert isinstance(check({"_id": "d1", "text": "b", "metadata": {"a": [[1]] * 1_000}}), Document)


def test_what_is_known_to_be_malformed_keeps_its_place() -> None:
    broken = MalformedRecord("letters:2", "not valid JSON", "{")
    found = list(check_documents([Document("a", "1"), broken, Document("a", "3")]))
    assert found[:2] == [Document("a", "1"), broken]
    assert isinstance(found[2], MalformedRecord) and found[2].location == "document 3"


@pytest.mark.parametrize(("given", "kept"), [("t1", "t1"), (7, "7"), ("", None), (None, None)])
def test_a_routing_may_come_with_a_record(given: object, kept: str | None) -> None:
    found = check({"_id": "d1", "text": "body", "_routing": given})
    assert isinstance(found, Document) and found.routing == kept
    assert ("_routing" in found.to_record()) == (kept is not None)


@pytest.mark.parametrize(
    ("routing", "expected"), [(True, "a boolean"), (["t1"], "an array"), ("half \ud800", "cannot be sent as UTF-8")]
)
def test_a_routing_is_a_string_or_an_integer(routing: object, expected: str) -> None:
    assert expected in reason({"_id": "d1", "text": "body", "_routing": routing})


def test_versions_and_routings_are_numbers_of_any_kind() -> None:
    for number in (np.int64(7), decimal.Decimal(7)):
        assert check({"_id": number, "text": "body", "_version": number, "_routing": number}) == Document(
            "7", "body", version=7, routing="7"
        )
    assert "'_version' is a string" in reason({"_id": "d1", "text": "body", "_version": decimal.Decimal("7.5")})


def test_rows_of_pandas_lack_what_is_missing() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"_id": ["1", "2"], "text": ["body", "more"], "title": ["T", None]})
    frame["_version"] = pandas.array([None, 7], dtype="Int64")
    frame["metadata"] = [{"n": pandas.NA, "t": pandas.NaT}, None]
    first, second = check_documents(frame.to_dict("records"))
    assert (first, second) == (Document("1", "body", "T", {"n": None, "t": None}), Document("2", "more", version=7))
    assert list(check_documents(frame)) == [first, second]
    missing = check({"_id": float("nan"), "text": "body"})
    assert isinstance(missing, MalformedRecord) and missing.reason.startswith("has no '_id'")


def test_other_columns_of_a_table_in_memory_are_metadata() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"id": [1, 2, 3], "text": ["a b", "c d", ""], "lang": ["en", None, "en"], "n": [1, 2.5, 3]}
    )
    documents = list(check_documents(frame[frame["id"] > 1], fields={"n": "double"}))
    assert documents[0] == Document("2", "c d", fields={"n": 2.5})
    assert isinstance(documents[1], MalformedRecord) and documents[1].location == "document 2"
    arrow = pytest.importorskip("pyarrow").Table.from_pandas(frame[:1])
    assert list(check_documents(arrow)) == [Document("1", "a b", metadata={"lang": "en", "n": 1})]
    frame["mixed"] = [1, "a", None]
    with pytest.raises(CorpusError, match="cannot be converted to Arrow .*mixed.* Pass its rows as dictionaries"):
        check_documents(frame)
    with pytest.raises(CorpusError, match="the table.*text"):
        check_documents(frame[["id", "lang"]])


def test_all_undeclared_fields_are_named_at_once() -> None:
    found = reason({"_id": "d1", "text": "body", "lang": "en", "a.b": 1} | {f"k{number}": 1 for number in range(10)})
    assert found == (
        "field 'lang' is not in the mapping; put it under 'metadata' or remove it, or declare it as a field of a new "
        "index; likewise 'a.b', 'k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', 'k8' and 1 more"
    )
    mixed: dict[Any, Any] = {"_id": "d1", "text": "body", 5: 1}
    assert reason(mixed).startswith("has the key 5, which is not a string")


def test_a_record_without_an_id_names_what_may_be_it() -> None:
    assert reason({"docid": "d1", "text": "body"}) == (
        "has no '_id'; add one, or generate ids from the content; if 'docid' is the id, set the id field"
    )


def test_a_boolean_may_be_spelled_as_tables_do() -> None:
    fields = {"new": "boolean", "word": "keyword"}
    for written, meant in (("True", True), ("FALSE", False), (True, True), ("true", "true"), (np.bool_(True), True)):
        record = {"_id": "d1", "text": "body", "new": written, "word": "True"}
        assert check(record, fields=fields) == Document("d1", "body", fields={"new": meant, "word": "True"})


@pytest.mark.parametrize(
    "value",
    [
        {"a", "b"},
        datetime.datetime(2020, 1, 1),
        datetime.timedelta(seconds=90),
        decimal.Decimal("2.00"),
        np.float32(4.99),
        np.array([1.0, 2.5]),
        b"bytes",
        uuid.UUID(int=7),
        float("nan"),
        {"deep": [{"day": datetime.date(2020, 1, 2)}]},
        None,
    ],
)
def test_a_malformed_record_that_is_corrected_is_read_as_a_valid_one(value: object) -> None:
    record = {"_id": "d1", "text": "", "metadata": {"value": value}, "declared": value}
    fields = {"declared": "keyword"}
    malformed = check(record, fields=fields)
    assert isinstance(malformed, MalformedRecord) and malformed.doc_id == "d1"
    corrected = json.dumps(json.loads(malformed.raw) | {"text": "body"})
    found = read_document(corrected, RecordMapper(RecordChecker(fields), Layout()))
    assert found == check(record | {"text": "body"}, fields=fields)


@pytest.mark.parametrize(
    ("record", "place"),
    [
        ({"sku": "a", "text": "", "_routing": 7}, ("a", "7")),
        ({"sku": 7, "text": ""}, ("7", None)),
        ({"sku": "a", "text": "", "_routing": []}, ("a", None)),
        ({"sku": True, "text": "body"}, (None, None)),
        ({"sku": "x" * 513, "text": "body"}, (None, None)),
        ({"id": "a", "text": "body"}, (None, None)),
    ],
)
def test_a_malformed_record_has_the_id_of_its_layout(
    record: Mapping[str, Any], place: tuple[str | None, str | None]
) -> None:
    found = check(record, layout=Layout(id_field="sku"))
    assert isinstance(found, MalformedRecord) and (found.doc_id, found.routing) == place


def test_a_malformed_document_has_its_own_id_whatever_the_layout() -> None:
    found = check(Document("a", "", routing="r"), layout=Layout(id_field="sku"))
    assert isinstance(found, MalformedRecord) and (found.doc_id, found.routing) == ("a", "r")
