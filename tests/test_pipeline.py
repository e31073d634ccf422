"""The pipeline with a fake encoder and writer; tests/opensearch uses real ones."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from connector.errors import BulkWriteError, CorpusError
from connector.index.lookup import Held
from connector.index.outcome import Refusal, WriteResult
from connector.index.writer import BulkWriter
from connector.ingest.checkpoint import Checkpoint, Watermark
from connector.ingest.dead_letters import DeadLetters
from connector.ingest.ledger import IngestResult
from connector.ingest.letters import Letter
from connector.ingest.pipeline import IngestJob, ingest_documents, typical_write_size
from connector.ingest.preparation import to_sparse_documents
from connector.types import (
    Deletion,
    Document,
    EncoderFingerprint,
    MalformedRecord,
    SparseDocument,
    SparseVectors,
    StoredState,
)
from tests.patience import PATIENCE_S, wait_until


class LengthEncoder:
    """Weighs feature 7 by the length of the text."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.before = before
        self.calls = 0
        self.sizes: list[int] = []

    @property
    def fingerprint(self) -> EncoderFingerprint:
        raise NotImplementedError

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        self.calls += 1
        self.sizes.append(len(texts))
        self.before()
        weights = np.array([[len(text)] for text in texts], np.float32)
        return SparseVectors(np.full((len(texts), 1), 7, np.int32), weights)

    def encode_query(self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None) -> SparseVectors:
        raise NotImplementedError


class ListWriter:
    """Keeps documents in a list, refuses those whose id begins with `bad`, and can be held up."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.before = before
        self.taken: list[SparseDocument | Deletion] = []
        self.refreshes = 0
        self.stopped = threading.Event()

    def resolve(self, records: Sequence[Document | Deletion]) -> list[Document | Deletion | str]:
        return ["has no '_routing'" if record.doc_id.startswith("unrouted") else record for record in records]

    def held(self, wanted: Mapping[str, str | None], *, stopped: threading.Event | None = None) -> dict[str, Held]:
        return {doc_id: Held("uuid", StoredState(len(doc_id), 1)) for doc_id in wanted}

    def write(
        self, documents: Sequence[SparseDocument | Deletion], *, stopped: threading.Event | None = None
    ) -> WriteResult:
        self.stopped = stopped or self.stopped
        self.before()
        refused = [each for each in documents if each.doc_id.startswith("bad")]
        taken = [each for each in documents if each not in refused]
        self.taken += taken
        refusals = tuple(Refusal(each, 400, "mapper_parsing_exception", "no such field", 1) for each in refused)
        deleted = sum(isinstance(each, Deletion) for each in taken)
        return WriteResult(len(taken) - deleted, refusals, deleted=deleted)

    @property
    def written(self) -> list[SparseDocument]:
        return [each for each in self.taken if isinstance(each, SparseDocument)]

    def refresh(self) -> None:
        self.refreshes += 1


def run(
    records: Iterable[Document | MalformedRecord],
    writer: ListWriter,
    encoder: LengthEncoder | None = None,
    *,
    dead_letters: Path | None = None,
    strict: bool = False,
    write_size: int = 2,
    max_in_flight: int = 2,
    refresh: bool = True,
    progress: Callable[[int], None] | None = None,
) -> IngestResult:
    return ingest_documents(
        records,
        encoder or LengthEncoder(),
        cast(BulkWriter, writer),
        dead_letters=dead_letters,
        strict=strict,
        write_size=write_size,
        max_in_flight=max_in_flight,
        refresh=refresh,
        progress=progress,
    )


def documents(*ids: str) -> list[Document | MalformedRecord]:
    return [Document(doc_id, f"text of {doc_id}") for doc_id in ids]


MALFORMED = MalformedRecord("c.jsonl:4", "not valid JSON", '{"_id"')


def test_read_is_indexed_and_dead_lettered(tmp_path: Path) -> None:
    writer = ListWriter()
    records = [*documents("d1", "bad1", "d2"), MALFORMED, *documents("d3", "bad2"), MALFORMED]
    result = run(records, writer, dead_letters=tmp_path / "dead.jsonl")
    assert (result.read, result.indexed, result.dead_lettered) == (7, 3, 4)
    assert sorted(each.doc_id for each in writer.written) == ["d1", "d2", "d3"]
    assert result.dead_letters == tmp_path / "dead.jsonl"
    lines = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert sorted(line.get("_id", line.get("location")) for line in lines) == ["bad1", "bad2", *["c.jsonl:4"] * 2]
    assert set(result.reasons) == {
        "c.jsonl:4: not valid JSON",
        "document 'bad1': no such field",
        "document 'bad2': no such field",
    }


def test_no_failure_makes_no_file(tmp_path: Path) -> None:
    result = run(documents("d1"), ListWriter(), dead_letters=tmp_path / "dead.jsonl")
    assert (result.dead_letters, result.reasons, list(tmp_path.iterdir())) == (None, (), [])


def test_nothing_to_read_is_nothing_indexed() -> None:
    result = run([], ListWriter())
    assert (result.read, result.indexed, result.dead_lettered) == (0, 0, 0)


@pytest.mark.parametrize(("refresh", "refreshes"), [(True, 1), (False, 0)])
def test_documents_are_made_visible_once_if_asked(refresh: bool, refreshes: int) -> None:
    writer = ListWriter()
    run(documents("d1", "d2", "d3"), writer, refresh=refresh)
    assert writer.refreshes == refreshes


def test_malformed_records_alone_are_not_encoded() -> None:
    encoder = LengthEncoder()
    assert run([MALFORMED] * 3, ListWriter(), encoder).dead_lettered == 3
    assert encoder.calls == 0


def test_strict_stops_at_a_malformed_record() -> None:
    writer = ListWriter()
    with pytest.raises(CorpusError, match=r"Stopped at the first failure: c\.jsonl:4: not valid JSON"):
        run([*documents("d1", "d2"), MALFORMED, *documents("d3", "d4")], writer, strict=True)
    assert {each.doc_id for each in writer.written} == {"d1", "d2"}


def test_strict_stops_at_a_refused_document() -> None:
    read: list[str] = []

    def records() -> Iterator[Document]:
        for doc_id in ("bad1", *(f"d{number}" for number in range(100))):
            read.append(doc_id)
            yield Document(doc_id, "text")

    with pytest.raises(CorpusError, match="Stopped at the first failure: document 'bad1': no such field"):
        run(records(), ListWriter(), strict=True)
    # 2 batches of 2 may be in flight and another one encoded before the first reply is looked at.
    assert len(read) <= 8


def test_the_next_batch_is_encoded_while_one_is_being_written() -> None:
    second_encoding = threading.Event()

    def tell() -> None:
        if encoder.calls == 2:
            second_encoding.set()

    encoder = LengthEncoder(before=tell)
    seen: list[bool] = []
    writer = ListWriter(before=lambda: seen.append(second_encoding.wait(PATIENCE_S)))
    run(documents("d1", "d2", "d3", "d4"), writer, encoder)
    assert seen[0], "the first write ended only after a timeout: encoding waits for writing"


@pytest.mark.parametrize("max_in_flight", [1, 3])
def test_batches_in_flight_are_bounded(max_in_flight: int) -> None:
    may_write = threading.Event()
    writer = ListWriter(before=lambda: may_write.wait(PATIENCE_S))
    encoder = LengthEncoder()
    thread = threading.Thread(
        target=run,
        args=(documents(*(f"d{number}" for number in range(40))), writer, encoder),
        kwargs={"max_in_flight": max_in_flight},
    )
    thread.start()
    try:
        wait_until(lambda: encoder.calls >= max_in_flight + 1)
        time.sleep(0.1)  # time to go further than it should
        # The one that was encoded last waits for a place.
        assert encoder.calls == max_in_flight + 1
    finally:
        may_write.set()
        thread.join()
    assert len(writer.written) == 40


def test_at_most_max_in_flight_writes_run_at_a_time() -> None:
    lock, running, highest = threading.Lock(), 0, 0
    full = threading.Event()

    def busy() -> None:
        nonlocal running, highest
        with lock:
            running += 1
            highest = max(highest, running)
            if running == 3:
                full.set()
        assert full.wait(PATIENCE_S)
        time.sleep(0.02)  # for one more than there should be
        with lock:
            running -= 1

    run(documents(*(f"d{number}" for number in range(40))), ListWriter(before=busy), max_in_flight=3)
    assert highest == 3


def test_records_are_read_lazily() -> None:
    writer = ListWriter()
    taken = 0

    def endless() -> Iterator[Document]:
        nonlocal taken
        while True:
            taken += 1
            if taken > 100:
                raise CorpusError("the file ends early")
            yield Document(f"d{taken}", "text")

    with pytest.raises(CorpusError, match="the file ends early"):
        run(endless(), writer)
    assert len(writer.written) == 100, "what was read before the end is lost"


def test_a_bulk_write_error_ends_the_run() -> None:
    def fail() -> None:
        raise BulkWriteError("the disk is full")

    encoder = LengthEncoder()
    with pytest.raises(BulkWriteError, match="the disk is full"):
        run(documents(*(f"d{number}" for number in range(40))), ListWriter(before=fail), encoder)
    assert encoder.calls <= 4


def test_progress_counts_up_to_all_records() -> None:
    reported: list[int] = []
    run([*documents("d1", "bad1", "d2"), MALFORMED], ListWriter(), progress=reported.append)
    assert reported == sorted(reported)
    assert reported[-1] == 4


@pytest.mark.parametrize(("length", "size"), [(10, 2_000), (150, 1_000), (2_000, 500)])
def test_short_texts_are_encoded_in_larger_batches(length: int, size: int) -> None:
    encoder = LengthEncoder()
    records = [Document(f"d{number}", "x" * length) for number in range(4_000)]
    ingest_documents(records, encoder, cast(BulkWriter, ListWriter()))
    assert encoder.sizes == [size] * (4_000 // size)
    assert typical_write_size(length) == size


def test_large_metadata_makes_small_batches() -> None:
    encoder = LengthEncoder()
    circular: dict[str, Any] = {"long": "x" * 2**20}
    circular["parent"] = circular
    for metadata in ({"pages": ["x" * 2**20]}, {"x" * 2**20: True}, circular):
        encoder.sizes.clear()
        records = [Document(f"d{number}", "text", metadata=metadata) for number in range(100)]
        ingest_documents(records, encoder, cast(BulkWriter, ListWriter()))
        assert encoder.sizes == [32, 32, 32, 4]


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_sizes_below_1_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        run([], ListWriter(), write_size=sizes[0], max_in_flight=sizes[1])


def test_title_and_text_are_encoded_and_all_fields_are_kept() -> None:
    document = Document("d1", "body", "head", {"lang": "en"}, {"year": 1999})
    vectors = SparseVectors(np.array([[7, 3]], np.int32), np.array([[0.3, 0.0]], np.float32))
    [sparse] = to_sparse_documents([document], vectors)
    assert sparse.source == {"title": "head", "text": "body", "metadata": {"lang": "en"}, "year": 1999}
    writer = ListWriter()
    run([document], writer)
    assert writer.written[0].features == {"7": len("head body")}


def test_a_document_without_title_and_metadata_has_its_text_alone() -> None:
    vectors = SparseVectors(np.array([[7]], np.int32), np.array([[0.5]], np.float32))
    [sparse] = to_sparse_documents([Document("d1", "body", routing="t1")], vectors)
    assert (sparse.features, sparse.source, sparse.routing) == ({"7": 0.5}, {"text": "body"}, "t1")


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0])
def test_a_weight_that_cannot_be_stored_is_not_made_one_that_can(weight: float) -> None:
    vectors = SparseVectors(np.array([[7]], np.int32), np.array([[weight]], np.float32))
    [sparse] = to_sparse_documents([Document("d1", "body")], vectors)
    assert not 0 < sparse.features["7"] < float("inf")


def test_a_record_of_another_type_is_not_dropped_silently() -> None:
    records = cast(list[Document | MalformedRecord], [{"_id": "d1", "text": "a mapping"}, *documents("d2")])
    try:
        result = run(records, ListWriter())
    except (TypeError, ValueError):
        return
    assert result.read == result.indexed + result.dead_lettered


class Killed(BaseException):
    """Nothing can be done any more, as after SIGKILL."""


def job(writer: ListWriter, folder: Path, *, resume: bool = False, **options: Any) -> IngestJob:  # noqa: ANN401
    return IngestJob(
        cast(BulkWriter, writer),
        LengthEncoder(),
        dead_letters=folder / "dead.jsonl",
        checkpoint=Checkpoint(folder / "run.json", {"input": "a"}),
        resume=resume,
        write_size=2,
        **options,
    )


def test_documents_may_come_in_many_calls(tmp_path: Path) -> None:
    writer = ListWriter()
    vectors = SparseVectors(np.full((3, 1), 9, np.int32), np.ones((3, 1), np.float32))
    with job(writer, tmp_path) as work:
        for record in documents("d1", "d2", "d3"):
            work.add([record])
        work.add_vectors([Document(name, "text") for name in ("v1", "v2", "v3")], vectors)
        work.add(documents("d4"))
        with pytest.raises(RuntimeError, match="the job has not finished"):
            _ = work.result
    assert (work.result.read, work.result.indexed) == (7, 7)
    features = {each.doc_id: list(each.features) for each in writer.written}
    assert features == {name: ["9"] if name[0] == "v" else ["7"] for name in ("d1", "d2", "d3", "v1", "v2", "v3", "d4")}
    assert not (tmp_path / "run.json").exists(), "the job came to its end"


def test_documents_may_come_one_by_one_from_elsewhere(tmp_path: Path) -> None:
    async def stream() -> AsyncIterator[Document | MalformedRecord]:
        for record in [*documents("d1", "d2", "bad1"), MALFORMED]:
            await asyncio.sleep(0)
            yield record

    async def work() -> IngestResult:
        with job(ListWriter(), tmp_path) as started:
            await started.add_async(stream())
        return started.result

    result = asyncio.run(work())
    assert (result.read, result.indexed, result.dead_lettered) == (4, 2, 2)


def test_the_last_word_on_an_id_is_written_last(tmp_path: Path) -> None:
    """The first batch is held up: whatever is written beside it comes first."""
    first = threading.Event()

    def hold_up() -> None:
        if not first.is_set():
            first.set()
            time.sleep(0.1)

    writer = ListWriter(hold_up)
    with job(writer, tmp_path, max_in_flight=4) as work:
        work.add([Document("d1", "old"), Document("d2", "old"), Document("d1", "new"), Deletion("d2"), Deletion("d3")])
    written = {name: [each for each in writer.taken if each.doc_id == name] for name in ("d1", "d2")}
    assert [getattr(each, "source", None) for each in written["d1"]] == [{"text": "old"}, {"text": "new"}]
    assert [type(each) for each in written["d2"]] == [SparseDocument, Deletion]
    assert (work.result.read, work.result.indexed, work.result.deleted) == (5, 3, 2)


def test_a_document_that_comes_again_among_vectors_is_written_again(tmp_path: Path) -> None:
    writer = ListWriter()
    vectors = SparseVectors(np.array([[1], [2], [3]], np.int32), np.ones((3, 1), np.float32))
    with job(writer, tmp_path, max_in_flight=1) as work:
        work.add_vectors([Document("d1", "a"), Document("d1", "b"), Document("d2", "c")], vectors)
    features = [(each.doc_id, list(each.features)) for each in writer.written]
    assert features == [("d1", ["1"]), ("d1", ["2"]), ("d2", ["3"])]


def test_a_deletion_that_fails_is_in_the_dead_letters(tmp_path: Path) -> None:
    letters = tmp_path / "dead.jsonl"
    with job(ListWriter(), tmp_path) as work:
        work.add([Deletion("bad1", 7)])
    assert work.result.dead_lettered == 1
    [line] = letters.read_text().splitlines()
    letter = json.loads(line)
    assert (letter["operation"], letter["deletion"]) == ("delete", {"_id": "bad1", "_version": 7})


def test_vectors_must_be_as_many_as_documents(tmp_path: Path) -> None:
    vectors = SparseVectors(np.zeros((2, 1), np.int32), np.ones((2, 1), np.float32))
    with (
        pytest.raises(ValueError, match="1 documents need as many vectors, got 2"),
        job(ListWriter(), tmp_path) as work,
    ):
        work.add_vectors([Document("d1", "text")], vectors)
    with pytest.raises(TypeError, match="this job has no encoder"), IngestJob(cast(BulkWriter, ListWriter())) as other:
        other.add(documents("d1"))


@pytest.mark.parametrize("stop_at", range(1, 12))
def test_a_run_that_was_stopped_resumes_to_the_same_end(tmp_path: Path, stop_at: int) -> None:
    records = [
        *documents("d1", "bad1", "d2"),
        MALFORMED,
        *documents("d3", "d4", "bad2", "d5"),
        MALFORMED,
        *documents("d6"),
    ]
    writer = ListWriter()

    def breaks() -> Iterator[Document | MalformedRecord]:
        for number, record in enumerate(records):
            if number == stop_at:
                raise Killed
            yield record

    with pytest.raises(Killed) if stop_at < len(records) else nullcontext(), job(writer, tmp_path) as first:
        first.add(breaks())
    if stop_at >= len(records):
        return
    before = len(writer.written)
    with job(writer, tmp_path, resume=True) as second:
        second.add(records)
    assert (second.result.read, second.result.indexed, second.result.dead_lettered) == (10, 6, 4)
    assert len(writer.written) - before <= 6 - (stop_at // 2 - 2), "what was accounted for is not written again"
    assert {each.doc_id for each in writer.written} == {"d1", "d2", "d3", "d4", "d5", "d6"}
    letters = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert [each.get("_id", each.get("location")) for each in letters] == ["bad1", "c.jsonl:4", "bad2", "c.jsonl:4"]


def test_strict_stops_a_resumed_run_at_its_own_failures_alone(tmp_path: Path) -> None:
    with pytest.raises(Killed), job(ListWriter(), tmp_path) as first:
        first.add(documents("bad1", "d2"))
        raise Killed
    records = documents("bad1", "d2", "d3", "d4", "bad5", "d6")
    with pytest.raises(CorpusError, match="Stopped at the first failure: document 'bad5': no such field"):
        with job(ListWriter(), tmp_path, resume=True, strict=True) as second:
            second.add(records)
    with job(ListWriter(), tmp_path, resume=True, strict=True) as third:
        third.add(records)
    assert (third.result.read, third.result.indexed, third.result.dead_lettered) == (6, 4, 2)


def test_dead_letters_that_the_checkpoint_does_not_know_are_taken_off(tmp_path: Path) -> None:
    (tmp_path / "dead.jsonl").write_text("from another run\n")
    with pytest.raises(Killed), job(ListWriter(), tmp_path) as first:
        first.add(documents("bad1", "bad2"))
        raise Killed
    with (tmp_path / "dead.jsonl").open("a") as file:
        file.write("half a lett")
    with job(ListWriter(), tmp_path, resume=True) as second:
        second.add(documents("bad1", "bad2", "bad3"))
    lines = (tmp_path / "dead.jsonl").read_text().splitlines()
    assert lines[0] == "from another run"
    assert [json.loads(line)["_id"] for line in lines[1:]] == ["bad1", "bad2", "bad3"]
    assert second.result.dead_lettered == 3


@pytest.mark.parametrize("before", ["", "from another run\n"])
def test_letters_of_a_run_that_was_killed_before_they_were_counted_are_taken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    letters = tmp_path / "dead.jsonl"
    if before:
        letters.write_text(before)
    save = Checkpoint.save

    def killed_with_letters(self: Checkpoint, mark: Watermark) -> None:
        if mark.dead_lettered:
            raise OSError("killed")
        save(self, mark)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="killed"), job(ListWriter(), tmp_path) as first:
        patch.setattr(Checkpoint, "save", killed_with_letters)
        first.add(documents("bad1", "bad2", "d3", "d4"))
    assert letters.read_text().count("\n") >= 2 + len(before.splitlines())
    with job(ListWriter(), tmp_path, resume=True) as second:
        second.add(documents("bad1", "bad2", "d3", "d4"))
    kept = letters.read_text()
    assert kept.startswith(before)
    assert [json.loads(line)["_id"] for line in kept.removeprefix(before).splitlines()] == ["bad1", "bad2"]


@pytest.mark.parametrize("exists", [True, False])
def test_letters_of_other_runs_survive_a_resumed_one(tmp_path: Path, exists: bool) -> None:
    """Updates and other ingestions of the same index append to the same file while a run is stopped."""
    path = tmp_path / "dead.jsonl"
    with pytest.raises(Killed), job(ListWriter(), tmp_path) as first:
        first.add(documents("bad1", "bad2") if exists else documents("d1", "d2"))
        raise Killed
    assert path.exists() == exists
    DeadLetters(path).add(Letter(operation="update", reason="no", doc_id="other", record={"_id": "other", "x": 1}))
    second = job(ListWriter(), tmp_path, resume=True)
    checkpoint = (tmp_path / "run.json").read_bytes()
    with pytest.raises(Killed), second:
        second.add(documents("d1", "d2", "bad3", "bad4"))
        raise Killed
    (tmp_path / "run.json").write_bytes(checkpoint)  # killed before it was written again
    with job(ListWriter(), tmp_path, resume=True) as third:
        third.add(documents("d1", "d2", "bad3", "bad4"))
    before = ["bad1", "bad2"] if exists else []
    assert [json.loads(line)["_id"] for line in path.read_text().splitlines()] == [*before, "other", "bad3", "bad4"]


def test_an_interrupt_stops_what_the_job_writes_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    writer = ListWriter()
    with pytest.raises(KeyboardInterrupt), job(writer, tmp_path) as work:
        work.add(documents("d1", "d2"))
        raise KeyboardInterrupt
    assert writer.stopped.is_set()
    assert (tmp_path / "run.json").exists()


def test_a_job_without_a_checkpoint_cannot_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "dead.jsonl").write_text("of another run\n")
    with pytest.raises(ValueError, match="resume needs the checkpoint"):
        IngestJob(cast(BulkWriter, ListWriter()), LengthEncoder(), dead_letters=tmp_path / "dead.jsonl", resume=True)
    assert (tmp_path / "dead.jsonl").read_text() == "of another run\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("No space left on device")])
def test_a_batch_whose_dead_letters_are_not_kept_whole_stays_unaccounted_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    records = documents("bad1", "bad2", "d3", "d4", "d5", "d6")

    def fail(*_: object) -> None:
        raise error

    # Late enough for all three batches to be under way when the first is accounted for.
    writer = ListWriter(before=lambda: time.sleep(0.05))
    with monkeypatch.context() as patch, pytest.raises(type(error)), job(writer, tmp_path) as first:
        patch.setattr("connector.ingest.dead_letters.DeadLetters.add", fail)
        first.add(records)
    assert Checkpoint(tmp_path / "run.json", {"input": "a"}).load().read == 0, "no later batch takes its place"
    with job(ListWriter(), tmp_path, resume=True) as second:
        second.add(records)
    assert (second.result.read, second.result.indexed, second.result.dead_lettered) == (6, 4, 2)
    assert len((tmp_path / "dead.jsonl").read_text().splitlines()) == 2


def test_the_checkpoint_is_never_further_behind_than_what_waits(tmp_path: Path) -> None:
    writer = ListWriter()
    with job(writer, tmp_path, max_in_flight=2) as work:
        for number in range(40):
            work.add(documents(f"d{number}"))
            point = Checkpoint(tmp_path / "run.json", {"input": "a"})
            read = point.load().read if point.path.exists() else 0
            assert number + 1 - read <= 2 * 2 + 1, "2 batches wait, and one is not yet full"


def test_a_vector_that_names_a_feature_twice_is_a_dead_letter(tmp_path: Path) -> None:
    writer = ListWriter()
    vectors = SparseVectors(
        np.array([[7, 7], [7, 9], [7, 7]], np.int32), np.array([[1, 2], [1, 2], [1, 0]], np.float32)
    )
    with job(writer, tmp_path) as work:
        work.add_vectors([Document(name, "text") for name in ("twice", "once", "unused")], vectors)
    assert [each.doc_id for each in writer.written] == ["once", "unused"]
    [letter] = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert (letter["_id"], letter["status"], letter["attempts"]) == ("twice", 0, 0)
    assert letter["reason"] == "the vector contains a feature twice."


def test_a_record_without_a_routing_is_not_encoded(tmp_path: Path) -> None:
    writer = ListWriter()
    with job(writer, tmp_path) as work:
        work.add([*documents("d1", "unrouted"), Deletion("unrouted2")])
        vectors = SparseVectors(np.array([[1], [2], [3]], np.int32), np.ones((3, 1), np.float32))
        work.add_vectors([Document(name, "text") for name in ("v1", "unrouted3", "v3")], vectors)
    assert {each.doc_id: list(each.features) for each in writer.written} == {"d1": ["7"], "v1": ["1"], "v3": ["3"]}
    assert (work.result.read, work.result.indexed, work.result.dead_lettered) == (6, 3, 3)
    letters = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert [letter["reason"] for letter in letters] == ["has no '_routing'"] * 3


def test_a_letter_notes_what_the_index_holds_of_the_document(tmp_path: Path) -> None:
    malformed = MalformedRecord("c.jsonl:9", "'text' is an integer", '{"_id": "abcd", "text": 7}')
    with job(ListWriter(), tmp_path) as work:
        work.add([*documents("bad"), malformed, MALFORMED])
    lines = (tmp_path / "dead.jsonl").read_text().splitlines()
    assert [json.loads(line).get("held") for line in lines] == [
        {"_id": "abcd", "index": "uuid", "seq_no": 4, "primary_term": 1},
        {"index": "uuid", "seq_no": 3, "primary_term": 1},
        None,
    ]


def test_records_are_added_inside_of_the_with_block_alone(tmp_path: Path) -> None:
    vectors = SparseVectors(np.array([[1]], np.int32), np.ones((1, 1), np.float32))

    async def no_records() -> AsyncIterator[Document]:
        for record in list[Document]():
            yield record

    def assert_refused(work: IngestJob, reason: str) -> None:
        with pytest.raises(RuntimeError, match=reason):
            work.add(documents("d1"))
        with pytest.raises(RuntimeError, match=reason):
            work.add_vectors([Document("d1", "text")], vectors)
        with pytest.raises(RuntimeError, match=reason):
            asyncio.run(work.add_async(no_records()))

    writer = ListWriter()
    work = job(writer, tmp_path)
    assert_refused(work, "inside the job's `with` block")
    with work:
        work.add(documents("d1"))
    assert_refused(work, "this job has finished; create another one")
    with pytest.raises(RuntimeError, match="this job has finished"), work:
        pass
    assert [each.doc_id for each in writer.written] == ["d1"]
    with pytest.raises(ZeroDivisionError), job(writer, tmp_path) as failed:
        raise ZeroDivisionError
    assert_refused(failed, "this job has finished; create another one")


def test_an_error_that_is_caught_inside_of_the_with_block_loses_no_batch_silently(tmp_path: Path) -> None:
    failures = iter([False, True])

    def fail_once() -> None:
        if next(failures, False):
            raise OSError("out of memory")

    writer = ListWriter()
    work = IngestJob(cast(BulkWriter, writer), LengthEncoder(fail_once), write_size=2)
    with pytest.raises(RuntimeError, match="stopped by an error .*out of memory.*has lost a batch"), work:
        work.add(documents("d1", "d2"))
        with pytest.raises(OSError, match="out of memory"):
            work.add(documents("d3", "d4"))
        with pytest.raises(RuntimeError, match="stopped by an error .*create another job"):
            work.add(documents("d5", "d6"))
    assert [each.doc_id for each in writer.written] == ["d1", "d2"]
    with pytest.raises(RuntimeError, match="has not finished, or an error stopped it"):
        _ = work.result


def test_a_writer_continues_after_a_job_that_failed(tmp_path: Path) -> None:
    fails = True

    def fail_once() -> None:
        if fails:
            raise BulkWriteError("the disk is full")

    writer = ListWriter(fail_once)
    with pytest.raises(BulkWriteError, match="the disk is full"), job(writer, tmp_path) as work:
        work.add(documents("d1", "d2"))
    assert writer.stopped.is_set()
    fails = False
    with job(writer, tmp_path) as work:
        work.add(documents("d1", "d2"))
    assert work.result.indexed == 2
