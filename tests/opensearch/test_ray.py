"""Ingestion on a local Ray with two workers, one of them killed, beside the same ingestion by one process."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.connection.client import connect
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, ClusterError, ConnectorError
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import prepare_index, read_schema, read_uuid
from connector.ingest.ray.job import RayIngest, import_ray
from connector.ingest.ray.worker import Worker, read_rows
from tests.fault_proxy import FaultProxy, fault_proxy, passed, status
from tests.tiny import NUM_LATENTS

pytestmark = [
    pytest.mark.opensearch,
    # Ray uses its own deprecated options.
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\."),
]

TOKEN = "m4rked-t0ken"
FILES, ROWS = 6, 60
MALFORMED = 3 * FILES
TOTAL = FILES * ROWS + MALFORMED


@pytest.fixture(scope="module")
def front(opensearch_url: str) -> Iterator[FaultProxy]:
    """The node behind a token."""
    with fault_proxy(opensearch_url, authorization=f"Bearer {TOKEN}") as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def connections_end_with_the_test(front: FaultProxy) -> Iterator[None]:
    """Workers outlive a test, and so would the threads that wait for what they ask next."""
    yield
    front.hang_up()


@pytest.fixture(scope="module")
def ray(front: FaultProxy) -> Iterator[Any]:
    """Two CPUs, and workers that find the node and the token as the command does; Ray keeps no trace of the token."""
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'ksparse[ray]'")
    # Not pytest's: paths of sockets are short.
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        patch.setenv("OPENSEARCH_URL", front.url)
        patch.setenv("OPENSEARCH_BEARER_TOKEN", TOKEN)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=folder)
        yield ray
        ray.shutdown()
        kept = [path for path in Path(folder).rglob("*") if path.is_file()]
        assert any("worker" in path.name for path in kept), "Ray logs nothing there: the test proves nothing"
        assert [path for path in kept if TOKEN.encode() in path.read_bytes()] == []


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of JSONL files, each with three records that are no documents."""
    folder = tmp_path_factory.mktemp("corpus")
    for file in range(FILES):
        rows = [record(file * ROWS + row) for row in range(ROWS)]
        lines = [json.dumps(row) for row in rows]
        lines[10:10] = ['{"_id": "cut', f'{{"_id": "empty{file}", "text": " "}}', '{"text": "no id"}']
        (folder / f"{file}.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in one file."""
    path = tmp_path_factory.mktemp("whole") / "corpus.jsonl"
    path.write_text("".join((corpus / f"{file}.jsonl").read_text() for file in range(FILES)))
    return path


def record(number: int) -> dict[str, Any]:
    words = "plants eat light cats sleep warm stones rivers carry sand sea stars burn music".split()
    text = " ".join(words[(number * step) % len(words)] for step in (1, 3, 5, 7))
    # Values that type inference would change: a number, a date, and keys that only some have.
    return {"_id": f"{number:04}", "text": text, "metadata": {"day": "2026-01-01", f"key{number % 3}": "007"}}


def contents(client: OpenSearch, index: str) -> dict[str, tuple[dict[str, Any], float]]:
    """Return the stored fields and the score for one query by id."""
    client.indices.refresh(index=index)
    # A different boost for each feature, so that swapped weights would be detected.
    features = [
        {"rank_feature": {"field": f"features.{feature}", "boost": 1.0 + feature, "linear": {}}}
        for feature in range(NUM_LATENTS)
    ]
    body = {"size": 1_000, "query": {"bool": {"should": features}}}
    hits = client.search(index=index, body=body)["hits"]["hits"]
    return {hit["_id"]: (hit["_source"], hit["_score"]) for hit in hits}


def assert_same(client: OpenSearch, index: str, other: str) -> None:
    found, expected = contents(client, index), contents(client, other)
    assert {key: source for key, (source, _) in found.items()} == {key: source for key, (source, _) in expected.items()}
    scores = {key: score for key, (_, score) in expected.items()}
    assert len(set(scores.values())) > 1
    # Weights of a batch differ in the last bits from those of another, and so may their rounding.
    assert {key: score for key, (_, score) in found.items()} == pytest.approx(scores, rel=2**-7)
    schema, other_schema = read_schema(client, index), read_schema(client, other)
    assert schema is not None and other_schema is not None
    assert schema.encoder.digest == other_schema.encoder.digest, "the statistics of the same documents"


@pytest.fixture(scope="module")
def expected(whole: Path, head_folder: Path, client: OpenSearch, opensearch_url: str) -> Iterator[str]:
    """An index by `ksparse ingest`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENSEARCH_URL", opensearch_url)
        patch.chdir(whole.parent)
        arguments = ["ingest", str(whole), "--index", "test-ray-plain", "--encoder", str(head_folder), "--quiet"]
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 3, result.output
    yield "test-ray-plain"
    client.indices.delete(index="test-ray-plain")


def test_the_command_writes_what_ingest_writes(
    ray: Any,  # noqa: ANN401
    corpus: Path,
    head_folder: Path,
    index: str,
    expected: str,
    client: OpenSearch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["ingest-ray", str(corpus), "--index", index, "--encoder", str(head_folder), "--actors", "1"]
    result = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 3, result.output
    assert TOKEN not in result.output + Path(f"{index}.dead-letters.jsonl").read_text()
    counts = json.loads(result.stdout)
    assert (counts["read"], counts["indexed"], counts["dead_lettered"]) == (TOTAL, FILES * ROWS, MALFORMED)
    assert_same(client, index, expected)
    letters = [json.loads(line) for line in Path(f"{index}.dead-letters.jsonl").read_text().splitlines()]
    places = {f"{corpus / str(file)}.jsonl:{line}" for file in range(FILES) for line in (11, 12, 13)}
    assert {letter["location"] for letter in letters} == places
    assert len(letters) == MALFORMED, "each once"
    replayed = CliRunner().invoke(
        cli, ["replay", f"{index}.dead-letters.jsonl", "--index", index, "--encoder", str(head_folder), "--json"]
    )
    assert json.loads(replayed.stdout)["dead_lettered"] == MALFORMED, "they can be read, and are still no documents"


@dataclass(frozen=True)
class KilledOnce:
    """Connect; a worker process dies once, when the node has just accepted a bulk request, before the reply."""

    url: str
    folder: Path
    driver: int

    def __call__(self) -> OpenSearch:
        client = connect(self.url)
        bulk = client.bulk
        count = 0

        def deadly(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            nonlocal count
            reply = bulk(*arguments, **options)
            count += 1
            if os.getpid() != self.driver and count == 5 and self.claim():
                os.kill(os.getpid(), signal.SIGKILL)
            return reply

        client.bulk = deadly
        (self.folder / str(os.getpid())).touch()
        return client

    def claim(self) -> bool:
        try:
            (self.folder / "killed").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


@pytest.mark.long
def test_a_killed_worker_loses_and_doubles_nothing(
    ray: Any,  # noqa: ANN401
    corpus: Path,
    head_folder: Path,
    index: str,
    expected: str,
    client: OpenSearch,
    opensearch_url: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "processes").mkdir()
    seen: list[int] = []
    job = RayIngest(
        index=index,
        connect=KilledOnce(opensearch_url, tmp_path / "processes", os.getpid()),
        encoder=str(head_folder),
        actors=2,
        chunk_size=20,
        max_in_flight=1,
        dead_letters=tmp_path / "dead.jsonl",
        new=NewIndex(code_bits=None),
    )
    result = job.ingest_corpus(corpus, progress=seen.append)
    processes = {path.name for path in (tmp_path / "processes").iterdir()}
    assert "killed" in processes
    assert len(processes - {"killed", str(os.getpid())}) == 3, "two workers, and one in the place of the dead one"
    assert (result.read, result.indexed, result.dead_lettered) == (TOTAL, FILES * ROWS, MALFORMED)
    assert seen == sorted(seen) and len(seen) == FILES and seen[-1] == TOTAL
    assert_same(client, index, expected)
    letters = [json.loads(line)["location"] for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert len(letters) == len(set(letters)) == MALFORMED, "each once"


@pytest.mark.long
def test_a_dataset_is_read_by_the_rules_of_parquet(
    ray: Any,  # noqa: ANN401
    head_folder: Path,
    index: str,
    client: OpenSearch,
    opensearch_url: str,
    tmp_path: Path,
) -> None:
    rows = [{"id": number, "text": "stars burn" if number else "", "lang": "en", "year": 1999} for number in range(50)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "c.parquet")
    job = RayIngest(
        index=index,
        connect=KilledOnce(opensearch_url, tmp_path, os.getpid()),
        encoder=str(head_folder),
        dead_letters=tmp_path / "dead.jsonl",
        new=NewIndex(fields={"year": "integer"}, code_bits=None),
        batch_rows=20,
    )
    result = job.ingest_dataset(ray.data.read_parquet(str(tmp_path / "c.parquet")))
    assert (result.read, result.indexed, result.dead_lettered) == (50, 49, 1)
    assert client.get(index=index, id="7")["_source"] == {
        "text": "stars burn",
        "metadata": {"lang": "en"},
        "year": 1999,
    }
    [letter] = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert letter["location"] == "a batch, row 1"
    assert json.loads(letter["raw"])["id"] == 0


def test_a_token_that_no_worker_has_ends_the_run_without_being_shown(
    ray: Any,  # noqa: ANN401
    front: FaultProxy,
    corpus: Path,
    head_folder: Path,
    encoder: TextEncoder,
    index: str,
    client: OpenSearch,
) -> None:
    prepare_index(client, index, IndexMeta(encoder.fingerprint))
    url, driver = front.url, os.getpid()

    def connect_here() -> OpenSearch:
        return connect(url, bearer_token=TOKEN if os.getpid() == driver else f"not-{TOKEN}")

    job = RayIngest(index=index, connect=connect_here, encoder=str(head_folder), new=NewIndex(code_bits=None))
    with pytest.raises(ClusterError, match=r"refuses the credentials \(401\)") as refused:
        job.ingest_corpus(corpus)
    assert TOKEN not in f"{refused.value} {refused.value.__cause__!r}"


def test_partitions_other_names_and_separators_are_read_by_the_command(
    ray: Any,  # noqa: ANN401
    head_folder: Path,
    index: str,
    client: OpenSearch,
    workplace: Path,
) -> None:
    for name, content in {
        "hive/lang=en/a.csv": "sku;body;x\n1;stars burn;secret\n",
        "hive/lang=de/a.jsonl": '{"sku": "2", "body": "cats sleep"}\n',
    }.items():
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text(content)
    pyarrow.parquet.write_table(
        pyarrow.table({"sku": [3.0], "body": ["sea"], "year": [2020.0], "thumb": [b"\0"]}), "hive/lang=de/b.parquet"
    )
    arguments = ["ingest-ray", "hive", "--index", index, "--encoder", str(head_folder), "--actors", "1", "--json"]
    names = ["--id-field", "sku", "--text-field", "body", "--exclude-field", "x"]
    result = CliRunner().invoke(cli, [*arguments, *names], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["indexed"] == 3
    assert {doc_id: source for doc_id, (source, _) in contents(client, index).items()} == {
        "1": {"text": "stars burn", "metadata": {"lang": "en"}},
        "2": {"text": "cats sleep", "metadata": {"lang": "de"}},
        "3": {"text": "sea", "metadata": {"lang": "de", "year": 2020}},
    }


@pytest.mark.long
def test_tensors_of_a_dataset_are_left_out(
    ray: Any,  # noqa: ANN401
    head_folder: Path,
    index: str,
    client: OpenSearch,
    opensearch_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [{"id": number, "text": "stars burn", "vec": np.arange(4.0), "tags": ["a"]} for number in range(3)]
    job = RayIngest(
        index=index, connect=partial(connect, opensearch_url), encoder=str(head_folder), new=NewIndex(code_bits=None)
    )
    result = job.ingest_dataset(ray.data.from_items(rows))
    assert (result.read, result.indexed) == (3, 3)
    assert client.get(index=index, id="2")["_source"] == {"text": "stars burn", "metadata": {"tags": ["a"]}}
    [message] = [record.getMessage() for record in caplog.records if record.name == "ksparse.corpus"]
    assert message.startswith("the dataset: column 'vec' has the type ray.data.arrow_tensor")


def test_a_worker_takes_tensors_as_the_driver_does(
    head_folder: Path, encoder: TextEncoder, index: str, client: OpenSearch, opensearch_url: str
) -> None:
    kind = pyarrow.fixed_shape_tensor(pyarrow.float32(), (2,))
    vectors = pyarrow.ExtensionArray.from_storage(kind, pyarrow.array([[1.0, 2.0]], kind.storage_type))
    prepare_index(client, index, IndexMeta(encoder.fingerprint))
    job = RayIngest(
        index=index, connect=partial(connect, opensearch_url), encoder=str(head_folder), new=NewIndex(code_bits=None)
    )
    rows = pyarrow.table({"id": ["1"], "text": ["stars"], "vec": vectors})
    outcome = Worker(job, read_uuid(client, index), read_rows)(rows)
    assert (outcome["read"], outcome["indexed"], outcome["letters"]) == ([1], [1], [""])


def test_actors_that_leave_no_cpu_to_read_with_are_refused(ray: Any) -> None:  # noqa: ANN401
    job = RayIngest(index="none", connect=lambda: connect("http://localhost:1"), actors=2, new=NewIndex(code_bits=None))
    with pytest.raises(ValueError, match="2 actors leave none of Ray's 2 CPUs"):
        job.ingest_dataset(ray.data.from_items([{"id": "1", "text": "stars"}]))


@pytest.mark.long
def test_what_ends_a_worker_ends_the_run_in_its_own_words(
    ray: Any,  # noqa: ANN401
    corpus: Path,
    head_folder: Path,
    index: str,
    opensearch_url: str,
) -> None:
    with fault_proxy(opensearch_url) as proxy:
        proxy.faults.append(passed)  # the driver's check whether the new index accepts documents
        proxy.always = status(400, "not today")
        url = proxy.url
        job = RayIngest(
            index=index, connect=lambda: connect(url), encoder=str(head_folder), actors=1, new=NewIndex(code_bits=None)
        )
        with pytest.raises(BulkWriteError, match=r"refused a write to .* \(400\): not today"):
            job.ingest_corpus(corpus)


def test_a_worker_that_meets_another_index_than_the_driver_writes_nothing(
    encoder: TextEncoder, head_folder: Path, index: str, client: OpenSearch, opensearch_url: str
) -> None:
    prepare_index(client, index, IndexMeta(encoder.fingerprint))
    job = RayIngest(
        index=index, connect=lambda: connect(opensearch_url), encoder=str(head_folder), new=NewIndex(code_bits=None)
    )
    rows = pyarrow.table({"id": ["1"], "text": ["stars"]})
    with pytest.raises(ClusterError, match="is not the one that the driver prepared"):
        Worker(job, "the driver's", read_rows)(rows)
    assert client.count(index=index)["count"] == 0
    outcome = Worker(job, read_uuid(client, index), read_rows)(rows)
    assert (outcome["read"], outcome["indexed"], outcome["letters"]) == ([1], [1], [""])


def test_what_connects_is_not_shown() -> None:
    job = RayIngest(
        index="docs", connect=partial(connect, "http://localhost:9200", password="secret"), new=NewIndex(code_bits=None)
    )
    assert "secret" not in repr(job)


def test_a_missing_ray_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConnectorError, match=r"pip install 'ksparse\[ray\]'"):
        import_ray()
