"""The writer on a real node, with a proxy between the two that breaks requests and replies."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, ConnectionTimeout, TransportError

from connector.connection.client import connect
from connector.errors import BulkWriteError
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.outcome import WriteResult
from connector.index.schema import prepare_index
from connector.index.writer import BulkWriter
from connector.query.body import without_features
from connector.types import Deletion, EncoderFingerprint, SparseDocument
from tests.fault_proxy import (
    Fault,
    FaultProxy,
    Forward,
    Reply,
    at_most,
    broken_after,
    broken_before,
    busy_for,
    empty,
    fault_proxy,
    half_json,
    page,
    slow,
    status,
    truncated,
    without_last_item,
)
from tests.patience import PATIENCE_S, wait_until

pytestmark = pytest.mark.opensearch

MakeWriter = Callable[..., BulkWriter]


@pytest.fixture
def proxy(opensearch_url: str) -> Iterator[FaultProxy]:
    with fault_proxy(opensearch_url) as proxy:
        yield proxy


@pytest.fixture
def ready_index(client: OpenSearch, index: str, fingerprint: EncoderFingerprint) -> str:
    prepare_index(client, index, IndexMeta(fingerprint), NewIndex(settings={"number_of_replicas": 0}))
    return index


@pytest.fixture
def make_writer(proxy: FaultProxy, ready_index: str) -> Iterator[MakeWriter]:
    """A writer that talks to the node through the proxy, and waits little."""
    clients: list[OpenSearch] = []

    def make(index: str = ready_index, *, timeout_s: float = 30.0, **settings: Any) -> BulkWriter:  # noqa: ANN401
        clients.append(connect(proxy.url, timeout_s=timeout_s))
        quick = {"initial_backoff": 0.01, "max_backoff": 0.05, "retry_deadline_s": 20.0}
        return BulkWriter(clients[-1], index, **(quick | settings))

    yield make
    for client in clients:
        client.close()


def documents(*ids: str) -> list[SparseDocument]:
    return [SparseDocument(doc_id, {"3": 0.5}, {"text": f"text of {doc_id}"}) for doc_id in ids]


def ids_in(client: OpenSearch, index: str) -> set[str]:
    client.indices.refresh(index=index)
    found_by_feature = {"rank_feature": {"field": "features.3", "linear": {}}}
    reply = client.search(index=index, body={"query": found_by_feature, "size": 1000})
    return {hit["_id"] for hit in reply["hits"]["hits"]}


def test_documents_are_indexed_with_features_and_fields(
    make_writer: MakeWriter, client: OpenSearch, ready_index: str
) -> None:
    result = make_writer().write(documents("d1", "d2"))
    assert (result.indexed, result.refused) == (2, ())
    assert ids_in(client, ready_index) == {"d1", "d2"}
    assert client.get(index=ready_index, id="d1")["_source"] == {"text": "text of d1"}


def test_refresh_makes_documents_visible(make_writer: MakeWriter, client: OpenSearch, ready_index: str) -> None:
    writer = make_writer()
    writer.write(documents("d1"))
    writer.refresh()
    assert client.count(index=ready_index)["count"] == 1


def test_a_refresh_is_retried_as_writes_are(
    make_writer: MakeWriter, monkeypatch: pytest.MonkeyPatch, client: OpenSearch, ready_index: str
) -> None:
    writer = make_writer()
    writer.write(documents("d1"))
    refresh = writer._client.indices.refresh
    failures = [TransportError(503, "no master", {}), ConnectionTimeout("N/A", "no reply", {})]

    def busy_twice(**how: Any) -> Any:  # noqa: ANN401
        if failures:
            raise failures.pop()
        return refresh(**how)

    monkeypatch.setattr(writer._client.indices, "refresh", busy_twice)
    writer.refresh()
    assert client.count(index=ready_index)["count"] == 1 and not failures


def test_a_user_who_may_only_write_need_not_refresh(
    make_writer: MakeWriter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ready_index: str
) -> None:
    def refuse(**_: object) -> None:
        raise AuthorizationException(403, "security_exception", {"error": {"reason": "no permissions"}})

    writer = make_writer()
    writer.write(documents("d1"))
    monkeypatch.setattr(writer._client.indices, "refresh", refuse)
    writer.refresh()
    assert f"{ready_index} is not refreshed" in caplog.text and "no permissions" in caplog.text


def test_nothing_to_write_sends_nothing(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    assert make_writer().write([]).indexed == 0
    assert proxy.bulks == []


def test_a_refused_document_is_named_and_the_others_are_indexed(
    make_writer: MakeWriter, client: OpenSearch, ready_index: str
) -> None:
    unknown = SparseDocument("d2", {"3": 0.5}, {"text": "x", "colour": "red"})
    result = make_writer().write([*documents("d1"), unknown, *documents("d3")])
    [refusal] = result.refused
    assert result.indexed == 2
    assert (refusal.document, refusal.status, refusal.attempts) == (unknown, 400, 1)
    assert refusal.kind == "strict_dynamic_mapping_exception"
    assert "[colour]" in refusal.reason
    assert ids_in(client, ready_index) == {"d1", "d3"}


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf, 1e-39, 1e39])
def test_a_weight_that_rank_features_cannot_store_never_reaches_the_server(
    make_writer: MakeWriter, proxy: FaultProxy, weight: float
) -> None:
    result = make_writer().write([SparseDocument("d1", {"3": 0.5, "4": weight})])
    assert proxy.bulks == []
    [refusal] = result.refused
    assert (result.indexed, refusal.status, refusal.kind, refusal.attempts) == (0, 0, "invalid_document", 0)
    assert refusal.reason.startswith(
        f"the weight of feature '4' is {weight!r}; rank_features stores only normal floats"
    )


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (SparseDocument("d1", {}), "the vector has no features"),
        (SparseDocument("d1", {"a.b": 1.0}), "feature name 'a.b' is empty or contains a dot"),
        (SparseDocument("", {"3": 1.0}), "_id '' must be 1 to 512 bytes long"),
        (SparseDocument("é" * 257, {"3": 1.0}), "must be 1 to 512 bytes long"),
        (SparseDocument("d1", {"3": 1.0}, {"metadata": {"x": math.nan}}), "Out of range float values"),
        (SparseDocument("d1", {"3": 1.0}, {"metadata": {"x": {1, 2}}}), "set is not JSON serializable"),
        (SparseDocument("d1", {"3": 1.0}, {"text": "half \ud800 a pair"}), "surrogates not allowed"),
    ],
)
def test_a_document_that_cannot_be_sent_is_refused_here(
    make_writer: MakeWriter, proxy: FaultProxy, document: SparseDocument, reason: str
) -> None:
    result = make_writer().write([document, *documents("good")])
    assert proxy.ids() == [["good"]]
    [refusal] = result.refused
    assert (result.indexed, refusal.status) == (1, 0)
    assert reason in refusal.reason


def test_an_id_of_512_bytes_is_taken(make_writer: MakeWriter, client: OpenSearch, ready_index: str) -> None:
    doc_id = "é" * 256
    assert make_writer().write(documents(doc_id)).indexed == 1
    assert ids_in(client, ready_index) == {doc_id}


def test_requests_are_cut_by_count(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    assert make_writer(chunk_size=2).write(documents("a", "b", "c", "d", "e")).indexed == 5
    assert proxy.ids() == [["a", "b"], ["c", "d"], ["e"]]


def test_requests_are_cut_by_bytes_and_a_larger_document_goes_alone(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    writer = make_writer()
    writer.write(documents("a"))
    one = len(proxy.bulks.pop())
    large = SparseDocument("large", {"3": 0.5}, {"text": "x" * 4 * one})
    writer = make_writer(max_chunk_bytes=2 * one)
    assert writer.write([*documents("a", "b", "c"), large, *documents("d")]).indexed == 5
    assert proxy.ids() == [["a", "b"], ["c"], ["large"], ["d"]]
    assert len(proxy.bulks[0]) == 2 * one


@pytest.mark.parametrize("settings", [{"chunk_size": 0}, {"max_chunk_bytes": 0}])
def test_sizes_below_1_are_refused(make_writer: MakeWriter, settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        make_writer(**settings)


def test_writing_again_changes_nothing(make_writer: MakeWriter, client: OpenSearch, ready_index: str) -> None:
    for _ in range(2):
        assert make_writer().write(documents("d1", "d2")).indexed == 2
    assert ids_in(client, ready_index) == {"d1", "d2"}
    assert client.get(index=ready_index, id="d1")["_version"] == 2


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_request_that_a_busy_server_refuses_is_sent_again(
    make_writer: MakeWriter, proxy: FaultProxy, client: OpenSearch, ready_index: str, code: int
) -> None:
    proxy.faults.extend([status(code), status(code)])
    assert make_writer().write(documents("d1", "d2")).indexed == 2
    assert proxy.ids() == [["d1", "d2"]] * 3
    assert ids_in(client, ready_index) == {"d1", "d2"}


@pytest.mark.parametrize(
    ("fault", "writes"),
    [
        (broken_before, 1),
        (broken_after, 2),
        (truncated, 2),
        (without_last_item, 2),
        (half_json, 2),
        (empty, 2),
        (page, 2),
    ],
)
def test_an_unclear_reply_is_answered_by_sending_again(
    make_writer: MakeWriter, proxy: FaultProxy, client: OpenSearch, ready_index: str, fault: Fault, writes: int
) -> None:
    proxy.faults.append(fault)
    result = make_writer().write(documents("d1", "d2"))
    assert (result.indexed, result.refused) == (2, ())
    assert proxy.ids() == [["d1", "d2"]] * 2
    assert ids_in(client, ready_index) == {"d1", "d2"}
    assert client.get(index=ready_index, id="d1")["_version"] == writes


def test_no_reply_in_time_is_answered_by_sending_again(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    # The first reply comes once the second request has.
    def late(body: bytes, forward: Forward) -> Reply:
        wait_until(lambda: len(proxy.bulks) > 1)
        return forward(body)

    proxy.faults.append(late)
    assert make_writer(timeout_s=3.0, retry_deadline_s=PATIENCE_S).write(documents("d1")).indexed == 1
    assert len(proxy.bulks) > 1


def test_only_the_documents_that_were_rejected_are_sent_again(
    make_writer: MakeWriter, proxy: FaultProxy, client: OpenSearch, ready_index: str
) -> None:
    unknown = SparseDocument("bad", {"3": 0.5}, {"colour": "red"})
    proxy.faults.extend([busy_for("d2"), busy_for("d2")])
    result = make_writer().write([*documents("d1", "d2"), unknown, *documents("d3")])
    assert proxy.ids() == [["d1", "d2", "bad", "d3"], ["d2"], ["d2"]]
    assert (result.indexed, [refusal.document.doc_id for refusal in result.refused]) == (3, ["bad"])
    assert ids_in(client, ready_index) == {"d1", "d2", "d3"}


def test_a_block_that_is_lifted_in_time_costs_nothing(
    make_writer: MakeWriter, client: OpenSearch, ready_index: str
) -> None:
    block = "index.blocks.read_only_allow_delete"
    client.indices.put_settings(index=ready_index, body={block: True})
    timer = threading.Timer(0.5, client.indices.put_settings, kwargs={"index": ready_index, "body": {block: None}})
    timer.start()
    result = make_writer().write(documents("d1", "d2"))
    timer.join()
    assert (result.indexed, result.refused) == (2, ())
    assert ids_in(client, ready_index) == {"d1", "d2"}


def test_a_block_that_stays_is_given_up(make_writer: MakeWriter, client: OpenSearch, ready_index: str) -> None:
    client.indices.put_settings(index=ready_index, body={"index.blocks.write": True})
    with pytest.raises(BulkWriteError, match=r"did not accept 2 documents .* within 0 s \(cluster_block_exception"):
        make_writer(retry_deadline_s=0.2).write(documents("d1", "d2"))


def test_a_server_that_stays_unreachable_is_given_up(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    proxy.always = broken_before
    with pytest.raises(BulkWriteError, match=r"did not accept 1 documents .* \(no connection\).*no document is"):
        make_writer(retry_deadline_s=0.2).write(documents("d1"))
    assert len(proxy.bulks) > 2


def test_a_server_that_stays_busy_is_given_up_with_its_words(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    proxy.always = status(503, "no shard is available")
    with pytest.raises(BulkWriteError, match=r"\(status 503: no shard is available\)"):
        make_writer(retry_deadline_s=0.2).write(documents("d1"))


@pytest.mark.parametrize("code", [400, 401, 403])
def test_what_no_retry_can_fix_is_raised_at_once(make_writer: MakeWriter, proxy: FaultProxy, code: int) -> None:
    proxy.always = status(code, "not like this")
    with pytest.raises(BulkWriteError, match=rf"refused a write to .* \({code}\): not like this"):
        make_writer().write(documents("d1"))
    assert len(proxy.bulks) == 1


def test_one_document_that_is_too_long_does_not_stop_the_others(
    make_writer: MakeWriter, proxy: FaultProxy, client: OpenSearch, ready_index: str
) -> None:
    proxy.always = at_most(2_000)
    long = SparseDocument("long", {"3": 0.5}, {"text": "x" * 2_000})
    ids = [f"d{number}" for number in range(7)]
    result = make_writer().write([*documents(*ids[:3]), long, *documents(*ids[3:])])
    assert result.indexed == 7
    [refusal] = result.refused
    assert (refusal.document, refusal.status, refusal.kind) == (long, 413, "content_too_long")
    assert "bytes exceed the server's limit for one request" in refusal.reason
    assert ids_in(client, ready_index) == set(ids)


def test_the_real_limit_of_the_server_is_met_by_halving(
    make_writer: MakeWriter, client: OpenSearch, ready_index: str, opensearch_url: str
) -> None:
    """http.max_content_length is 100 MB by default: three documents of 36 MB are too much at once."""
    large = [
        SparseDocument(f"d{number}", {"3": 0.5}, {"metadata": {}, "text": " " * 36_000_000}) for number in range(3)
    ]
    with connect(opensearch_url) as direct:
        result = BulkWriter(direct, ready_index, max_chunk_bytes=10**9, initial_backoff=0.01).write(large)
    assert (result.indexed, result.refused) == (3, ())
    assert ids_in(client, ready_index) == {"d0", "d1", "d2"}


def test_an_index_that_is_gone_is_not_made_again_by_writing(
    make_writer: MakeWriter, client: OpenSearch, ready_index: str
) -> None:
    client.indices.delete(index=ready_index)
    with pytest.raises(BulkWriteError, match=f"Index '{ready_index}' was deleted"):
        make_writer().write(documents("d1"))
    assert not client.indices.exists(index=ready_index)


def test_an_index_deleted_while_a_request_is_in_flight_is_noticed_if_it_came_back(
    make_writer: MakeWriter, proxy: FaultProxy, client: OpenSearch, ready_index: str
) -> None:
    def deleted_first(body: bytes, forward: Forward) -> Reply:
        client.indices.delete(index=ready_index)
        return forward(body)

    writer = make_writer()
    proxy.faults.append(deleted_first)
    writer.write(documents("d1"))
    assert client.indices.exists(index=ready_index), "the server makes what it is written into"
    for again in (lambda: writer.write(documents("d2")), writer.refresh):
        with pytest.raises(BulkWriteError, match=f"Index '{ready_index}' was deleted and recreated"):
            again()
    assert proxy.ids() == [["d1"]]


def test_a_document_that_finds_no_index_ends_the_write_and_is_no_refusal(
    make_writer: MakeWriter, proxy: FaultProxy, ready_index: str
) -> None:
    item = {"index": {"status": 404, "error": {"type": "index_not_found_exception", "reason": "no such index"}}}
    proxy.faults.append(lambda _body, _forward: Reply(200, json.dumps({"items": [item]}).encode()))
    with pytest.raises(BulkWriteError, match=f"Index '{ready_index}' was deleted"):
        make_writer().write(documents("d1"))


def test_several_threads_may_write(make_writer: MakeWriter, client: OpenSearch, ready_index: str) -> None:
    writer = make_writer(chunk_size=3)
    batches = [[f"{batch}-{number}" for number in range(10)] for batch in range(8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda ids: writer.write(documents(*ids)), batches))
    assert sum(result.indexed for result in results) == 80
    assert len(ids_in(client, ready_index)) == 80


def test_a_line_holds_compact_json(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    make_writer().write([SparseDocument("dé", {"3": 0.5}, {"text": "é\n"})])
    action, body = proxy.bulks[0].decode().splitlines()
    assert action == '{"index":{"_id":"dé"}}'
    assert json.loads(body) == {"text": "é\n", "features": {"3": 0.5, "present": 1}}
    assert "é" in body


def test_a_document_that_lost_its_features_is_found(
    make_writer: MakeWriter, client: OpenSearch, ready_index: str
) -> None:
    make_writer().write(documents("d1", "d2"))
    client.update(index=ready_index, id="d2", body={"doc": {"text": "changed"}}, params={"refresh": "true"})
    hits = client.search(index=ready_index, body={"query": without_features()})["hits"]["hits"]
    assert [hit["_id"] for hit in hits] == ["d2"]


def test_a_feature_may_not_take_the_name_that_marks_presence(make_writer: MakeWriter) -> None:
    [refusal] = make_writer().write([SparseDocument("d1", {"present": 0.5})]).refused
    assert "'present' is reserved" in refusal.reason


def test_an_older_version_is_superseded_and_the_same_one_is_written_again(
    make_writer: MakeWriter, client: OpenSearch, ready_index: str
) -> None:
    writer = make_writer()

    def versions(*numbers: int | None) -> list[SparseDocument]:
        return [
            SparseDocument(f"d{row}", {"3": 0.5}, {"text": f"version {number}"}, version=number)
            for row, number in enumerate(numbers)
        ]

    assert writer.write(versions(5, 5, 5, None)).indexed == 4
    result = writer.write(versions(4, 5, 6, None))
    assert (result.indexed, result.superseded, result.refused) == (3, 1, ())
    texts = [client.get(index=ready_index, id=f"d{row}")["_source"]["text"] for row in range(4)]
    assert texts == ["version 5", "version 5", "version 6", "version None"]


def test_a_deletion_counts_only_what_was_there(make_writer: MakeWriter, client: OpenSearch, ready_index: str) -> None:
    writer = make_writer()
    writer.write(documents("d1", "d2"))
    result = writer.write([Deletion("d1"), Deletion("never there"), *documents("d3")])
    assert (result.indexed, result.deleted, result.not_found, result.refused) == (1, 1, 1, ())
    assert ids_in(client, ready_index) == {"d2", "d3"}


def test_an_older_deletion_is_superseded(make_writer: MakeWriter, client: OpenSearch, ready_index: str) -> None:
    writer = make_writer()
    writer.write([SparseDocument("d1", {"3": 0.5}, {"text": "x"}, version=5)])
    old = writer.write([Deletion("d1", 4)])
    assert (old.deleted, old.superseded) == (0, 1) and ids_in(client, ready_index) == {"d1"}
    assert writer.write([Deletion("d1", 6)]).deleted == 1
    late = writer.write([SparseDocument("d1", {"3": 0.5}, {"text": "x"}, version=5)])
    assert (late.indexed, late.superseded) == (0, 1) and ids_in(client, ready_index) == set()


def test_documents_that_are_written_again_soon_after_their_deletion_are_named_once(
    make_writer: MakeWriter, client: OpenSearch, ready_index: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer = make_writer()

    def written(version: int, *names: str) -> WriteResult:
        return writer.write([SparseDocument(name, {"3": 0.5}, {"text": "x"}, version=version) for name in names])

    assert written(5, "d1", "d2", "d3").indexed == 3
    assert written(4, "d1").superseded == 1 and not caplog.messages, "the index has a newer one"
    assert writer.write([Deletion("d1"), Deletion("d2")]).deleted == 2
    result = written(5, "d1", "d2", "d3")
    assert (result.indexed, result.superseded) == (1, 2) and ids_in(client, ready_index) == {"d3"}
    [message] = caplog.messages
    assert message.startswith(
        f"Documents count as superseded, but are not in {ready_index} (2 of one batch, e.g. 'd1'): they were deleted as"
    )
    assert written(5, "d1").superseded == 1 and len(caplog.messages) == 1


def test_a_deletion_in_an_index_that_is_gone_is_no_success(make_writer: MakeWriter, client: OpenSearch) -> None:
    with pytest.raises(BulkWriteError, match="'never-made' was deleted"):
        make_writer("never-made").write([Deletion("d1")])


def test_of_two_documents_with_one_id_the_later_one_stays(
    make_writer: MakeWriter, proxy: FaultProxy, client: OpenSearch, ready_index: str
) -> None:
    proxy.faults.append(busy_for("d1"))
    later = SparseDocument("d1", {"3": 0.5}, {"text": "later"})
    assert make_writer().write([*documents("d1", "d2"), later]).indexed == 3
    assert client.get(index=ready_index, id="d1")["_source"]["text"] == "later"
    assert proxy.ids() == [["d1", "d2"], ["d1"], ["d1"]]


def test_fewer_requests_are_in_flight_while_the_server_is_busy(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    writer = make_writer(max_in_flight=8)
    proxy.faults.extend([status(429), busy_for("d2")])
    assert writer.write(documents("d1", "d2")).indexed == 2
    assert writer.limit.allowed == 2
    for _ in range(20):
        writer.write(documents("d1"))
    assert writer.limit.allowed == 3


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_requests_than_the_limit_are_in_flight(make_writer: MakeWriter, proxy: FaultProxy, most: int) -> None:
    writer = make_writer(max_in_flight=most)
    lock, now, seen = threading.Lock(), 0, []

    def counted(body: bytes, forward: Forward) -> Reply:
        nonlocal now
        with lock:
            now += 1
            seen.append(now)
        reply = slow(0.05)(body, forward)
        with lock:
            now -= 1
        return reply

    proxy.always = counted
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: writer.write(documents(f"d{number}")), range(24)))
    assert sum(result.indexed for result in results) == 24
    assert max(seen) == most


def test_the_server_says_how_long_to_wait(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    proxy.faults.append(status(503, retry_after="0.6"))
    started = time.monotonic()
    assert make_writer().write(documents("d1")).indexed == 1
    assert time.monotonic() - started >= 0.6


@pytest.mark.parametrize("header", ["nonsense", "-5", ""])
def test_what_says_no_time_to_wait_is_passed_over(make_writer: MakeWriter, proxy: FaultProxy, header: str) -> None:
    proxy.faults.append(status(503, retry_after=header))
    assert make_writer().write(documents("d1")).indexed == 1


def test_a_date_says_how_long_to_wait_as_well(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    proxy.faults.append(status(429, retry_after=until))
    assert make_writer().write(documents("d1")).indexed == 1
    assert datetime.now(UTC) >= parsedate_to_datetime(until)


def test_a_wait_beyond_the_deadline_is_not_waited(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    proxy.faults.append(status(503, retry_after="3600"))
    with pytest.raises(BulkWriteError, match="did not accept 1 documents"):
        make_writer().write(documents("d1"))


def test_a_stopped_writer_sends_nothing_more(make_writer: MakeWriter, proxy: FaultProxy) -> None:
    stopped = threading.Event()
    writer = make_writer(initial_backoff=1e6, max_backoff=1e6, retry_deadline_s=1e7)
    proxy.always = status(503)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(writer.write, documents("d1"), stopped=stopped)
        wait_until(lambda: proxy.bulks)
        started = time.monotonic()
        stopped.set()
        with pytest.raises(BulkWriteError, match="Stopped; 1 documents for index .* were not sent"):
            waiting.result()
        assert time.monotonic() - started < 100, "it slept to the end"
    sent = len(proxy.bulks)
    with pytest.raises(BulkWriteError, match="Stopped"):
        writer.write(documents("d2"), stopped=stopped)
    assert len(proxy.bulks) == sent
    proxy.always = None
    assert writer.write(documents("d2")).indexed == 1, "others go on with the same writer"


def test_compressed_requests_are_read_by_the_server(client: OpenSearch, opensearch_url: str, ready_index: str) -> None:
    with connect(opensearch_url, http_compress=True) as compressing:
        assert BulkWriter(compressing, ready_index).write(documents("d1", "d2")).indexed == 2
    assert ids_in(client, ready_index) == {"d1", "d2"}
