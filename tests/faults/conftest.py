"""What the fault tests share, and the report that they write."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from benchmarks.environment import describe
from connector.cluster import Cluster
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import prepare_index
from connector.index.writer import BulkWriter
from connector.types import Document
from tests.faults.contents import Contents, contents_of, read_contents
from tests.faults.corpora import NUM_LATENTS, HashEncoder, encoded
from tests.faults.jobs import made_index

Figures = Callable[..., None]
FaultFree = Callable[[Sequence[Document]], Contents]

_ROWS = pytest.StashKey[list[dict[str, Any]]]()
_ENVIRONMENT = pytest.StashKey[dict[str, Any]]()


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Figures:
    """Notes figures for the report: `figures(documents=10, requests=3)`."""

    def note(**named: object) -> None:
        for name, value in named.items():
            record_property(name, value)

    return note


@pytest.fixture
def fault_free(client: OpenSearch) -> FaultFree:
    """What an index of an undisturbed node holds after these documents."""

    def run(documents: Sequence[Document]) -> Contents:
        sparse = encoded(documents)
        with made_index(client, "fault-free") as index:
            assert BulkWriter(client, index).write(sparse).indexed == len(documents)
            found = read_contents(client, index, NUM_LATENTS)
        assert found == contents_of(sparse), "the index holds what it was given, to the last bit"
        return found

    return run


@pytest.fixture
def hashed_index(client: OpenSearch, index: str) -> str:
    """An empty index of the shared node, for documents of `HashEncoder`."""
    prepare_index(client, index, IndexMeta(HashEncoder().fingerprint), NewIndex(settings={"number_of_replicas": 0}))
    return index


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report", type=Path, help="Write what the fault tests came to into this JSON file.")


@pytest.fixture(scope="session", autouse=True)
def environment(request: pytest.FixtureRequest, opensearch_cluster: Cluster) -> None:
    """Versions and machine, read while the node is up."""
    request.config.stash[_ENVIRONMENT] = describe(opensearch_cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    numbered = re.match(r"test_(\d\d)_(.*)", item.name)
    if report.when == "call" and numbered:
        item.config.stash.setdefault(_ROWS, []).append(
            {
                "test": int(numbered[1]),
                "name": numbered[2].replace("_", " "),
                "passed": report.passed,
                "seconds": round(report.duration, 1),
                **dict(report.user_properties),
            }
        )
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("report", default=None)
    if path is None or _ROWS not in session.config.stash:
        return
    rows = session.config.stash[_ROWS]
    rows.sort(key=lambda row: int(row["test"]))
    result = {
        "suite": "faults",
        "params": {"tests": len(rows)},
        "environment": session.config.stash[_ENVIRONMENT],
        "results": {"faults": rows},
    }
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
