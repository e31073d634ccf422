"""The cheapest search that finds enough, on a real node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from connector import SparseIndex
from connector.cli.main import cli
from connector.encoders.text import TextEncoder
from connector.errors import SearchError
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import existing_schema, prepare_index, save_search_defaults
from connector.index.searcher import Searcher
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import IngestJob, ingest_documents
from connector.ingest.prepare import prepare_encoder
from connector.query.pruning import Pruning
from connector.query.settings import SearchSettings
from connector.search.doctor import diagnose
from connector.search.opened import features_for
from connector.search.retriever import Retriever
from connector.search.tune import BUDGETS, K_QUERIES, WINDOWS, UnsavedTuningError, tune
from connector.types import Document, Hit, SparseVectors
from tests.tiny import WORDS, K

pytestmark = pytest.mark.opensearch

RANDOM = np.random.default_rng(0)
TEXTS = [" ".join(RANDOM.choice(WORDS, 6)) for _ in range(40)]


@pytest.fixture
def coded(client: OpenSearch, index: str, lexical: TextEncoder) -> TextEncoder:
    calibrated = prepare_encoder(client, index, lexical, sample=TEXTS, new=NewIndex(code_bits=4))
    documents = [Document(str(row), text) for row, text in enumerate(TEXTS)]
    assert ingest_documents(documents, calibrated, BulkWriter(client, index)).indexed == len(TEXTS)
    return calibrated


def test_more_features_and_wider_windows_find_more(client: OpenSearch, index: str, coded: TextEncoder) -> None:
    shares: list[float] = []
    tuning = tune(client, index, coded, TEXTS[:10], recall=0.8, progress=shares.append)
    assert len(tuning.trials) == (len(K_QUERIES) + len(BUDGETS)) * len(WINDOWS)
    by_setting = {trial.setting: trial for trial in tuning.trials}
    few, many = by_setting[SearchSettings(4, 100)], by_setting[SearchSettings(48, 200)]
    assert few.recall <= many.recall and many.recall > 0.9
    # Each word of this tiny vocabulary is in many documents: one feature of a query is all that the least budget pays.
    cheap, dear = (
        by_setting[SearchSettings(32, 200, Pruning("posting_budget", budget))] for budget in (BUDGETS[0], BUDGETS[-1])
    )
    assert cheap.recall <= dear.recall <= by_setting[SearchSettings(32, 200)].recall
    assert tuning.reached and tuning.best.recall >= 0.8
    assert tuning.best.p50_ms == min(trial.p50_ms for trial in tuning.trials if trial.recall >= 0.8)
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_what_is_out_of_reach_is_said(
    client: OpenSearch, index: str, coded: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.search.opened.MAX_RESCORED", 0)  # no scan, as in a large index
    assert coded.head is not None
    vectors = coded.encode_document(TEXTS[:1])
    # The feature of the token [PAD], which is in no query: only a scan of all codes finds this document.
    hidden = SparseVectors(np.array([[coded.head.num_latents]], np.int32), np.ones((1, 1), np.float32), vectors.codes)
    with IngestJob(BulkWriter(client, index), coded) as job:
        job.add_vectors([Document("hidden", TEXTS[0])], hidden)
    assert job.result.indexed == 1
    tuning = tune(client, index, coded, TEXTS[:10], recall=1.0, top_k=50)
    assert not tuning.reached
    assert tuning.best.recall == max(trial.recall for trial in tuning.trials) < 1.0
    assert {trial.setting.window for trial in tuning.trials} == {500, 1_000}, "ten times as many as hits"


@pytest.mark.usefixtures("few_trials")
def test_a_small_index_is_tuned_for_when_it_has_grown(
    client: OpenSearch,
    index: str,
    encoder: TextEncoder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    calibrated = prepare_encoder(client, index, encoder, sample=TEXTS, new=NewIndex(code_bits=4))
    documents = [Document(str(row), text) for row, text in enumerate(TEXTS)]
    assert ingest_documents(documents, calibrated, BulkWriter(client, index)).indexed == len(TEXTS)
    client.indices.put_alias(index=index, name=f"{index}-half", body={"filter": {"range": {"_seq_no": {"lt": 20}}}})
    monkeypatch.setattr("connector.search.tune.K_QUERIES", (1, 4))
    for name in (index, f"{index}-half"):
        tuning = tune(client, name, calibrated, TEXTS[:10], top_k=len(TEXTS))
        trials = {trial.setting: trial.recall for trial in tuning.trials}
        assert trials[SearchSettings(1, 400)] < trials[SearchSettings(4, 400)], name
        assert f"Index '{name}' is so small that searches score all documents by their codes" in caplog.text
    retriever = Retriever(client, index, calibrated)
    one = retriever.search(TEXTS[0], top_k=len(TEXTS), settings=SearchSettings(k_query=1))
    assert len(one) == len(TEXTS), "codes score all documents in searches"


def test_what_is_tried_is_what_searches_do(
    client: OpenSearch, named: str, head_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells and tokens of a dictionary have fixed shares: the first of many features are not those of few."""
    texts = [f"{' '.join(RANDOM.choice(WORDS, 6))}." for _ in range(1_000)]
    with SparseIndex(named, client=client, encoder=str(head_folder), new=NewIndex(dictionary=True)) as docs:
        docs.add([Document(str(row), text) for row, text in enumerate(texts)])
        encoder, queries = docs.retriever.encoder, texts[:10]
    asked: list[tuple[dict[str, float], int]] = []
    search = Searcher.search

    def recorded(searcher: Searcher, features: dict[str, float], **options: Any) -> list[Hit]:  # noqa: ANN401
        asked.append((features, options["rescore"]["window_size"]))
        return search(searcher, features, **options)

    monkeypatch.setattr(Searcher, "search", recorded)
    tuning = tune(client, named, encoder, queries)
    tried = asked[: len(tuning.trials)]
    asked.clear()
    for trial in tuning.trials:
        save_search_defaults(client, named, trial.setting)
        Retriever(client, named, encoder).search(queries[0])
    assert [(features.keys(), window) for features, window in asked] == [
        (features.keys(), window) for features, window in tried
    ]
    for (features, _), (expected, _) in zip(asked, tried, strict=True):
        np.testing.assert_allclose(list(features.values()), list(expected.values()), rtol=1e-3)


def test_filters_search_more_features_than_the_saved_number(
    client: OpenSearch, index: str, coded: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_search_defaults(client, index, SearchSettings(2, 100))
    opened = Retriever(client, index, coded).opened
    monkeypatch.setattr("connector.index.reach.MAX_RESCORED", 0)
    half = [{"ids": {"values": [str(row) for row in range(20)]}}]
    assert opened.resolve(SearchSettings(), 10).k_query == 2
    assert opened.resolve(SearchSettings(), 10, half).k_query == features_for(2, 0.5) > 2
    assert opened.resolve(SearchSettings(k_query=2), 10, half).k_query == 2, "what a search asks for is what it gets"


def test_more_hits_are_searched_by_more_features(
    client: OpenSearch, index: str, coded: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_search_defaults(client, index, SearchSettings(2, 100))
    small = Retriever(client, index, coded).opened
    assert small.resolve(SearchSettings(), 200).k_query == 2, "codes score all documents"
    for name in ("connector.search.opened.MAX_RESCORED", "connector.index.reach.MAX_RESCORED"):
        monkeypatch.setattr(name, 0)  # no scan, as in a large index
    opened = Retriever(client, index, coded).opened
    assert opened.resolve(SearchSettings(), 10).k_query == 2
    assert opened.resolve(SearchSettings(), 20).k_query == features_for(2, 0.5) == 3
    assert opened.resolve(SearchSettings(), 200).k_query == features_for(2, 0.05) == 19
    half = [{"ids": {"values": [str(row) for row in range(20)]}}]
    assert opened.resolve(SearchSettings(), 20, half).k_query == features_for(2, 0.25)
    assert opened.resolve(SearchSettings(k_query=2), 200).k_query == 2, "what a search asks for is what it gets"
    assert opened.resolve(SearchSettings(window=0), 200).k_query == 2, "features alone find what they find"


def test_the_doctor_examines_the_saved_budget(
    client: OpenSearch, index: str, coded: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.search.opened.MAX_RESCORED", 0)  # no scan, as in a large index
    before = diagnose(client, Retriever(client, index, coded), sample=40)
    save_search_defaults(client, index, SearchSettings(32, 100, Pruning("posting_budget", 0.02)))
    after = diagnose(client, Retriever(client, index, coded), sample=40)
    assert before.recall > 0.9
    assert after.recall < before.recall - 0.2


def test_an_index_without_codes_cannot_be_tuned(client: OpenSearch, index: str, encoder: TextEncoder) -> None:
    prepare_index(client, index, IndexMeta(encoder.fingerprint))
    with pytest.raises(SearchError, match="stores no codes to compare with; re-encode it into an index with codes"):
        tune(client, index, encoder, TEXTS[:10])
    with pytest.raises(ValueError, match="tuning needs at least 10 queries, preferably 100; got 3"):
        tune(client, index, encoder, TEXTS[:3])
    with pytest.raises(ValueError, match="recall must be above 0 and at most 1, got 2"):
        tune(client, index, encoder, TEXTS[:10], recall=2.0)


def test_candidates_need_half_of_the_features(client: OpenSearch, index: str, coded: TextEncoder) -> None:
    assert coded.k_query is not None
    retriever = Retriever(client, index, coded)
    text, half = TEXTS[0], coded.k_query // 2
    assert half >= 1
    assert retriever.search(text, top_k=100) == retriever.search(text, top_k=100, settings=SearchSettings(k_query=half))
    assert retriever.search(text, top_k=100, settings=SearchSettings(window=0)) == retriever.search(
        text, top_k=100, settings=SearchSettings(window=0, k_query=coded.k_query)
    )


def test_what_is_saved_is_what_searches_take(client: OpenSearch, index: str, coded: TextEncoder) -> None:
    before = existing_schema(client, index)
    save_search_defaults(client, index, SearchSettings(2, 7))
    schema = existing_schema(client, index)
    assert schema.search == SearchSettings(2, 7)
    assert schema.encoder == before.encoder and schema.weight_exponent == before.weight_exponent
    assert schema.statistics is not None and schema.code is not None
    retriever = Retriever(client, index, coded)
    text = TEXTS[0]
    assert retriever.search(text, top_k=1) == retriever.search(
        text, top_k=1, settings=SearchSettings(k_query=2, window=10)
    )
    [few], [many] = (retriever.search(text, top_k=1, settings=SearchSettings(window=0, k_query=k)) for k in (2, K))
    assert retriever.search(text, top_k=1, settings=SearchSettings(window=0)) == [few]
    assert few.score < many.score


@pytest.mark.usefixtures("few_trials")
def test_measurements_survive_an_index_that_refuses_the_settings(
    client: OpenSearch, index: str, coded: TextEncoder, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.indices.put_settings(index=index, body={"index.blocks.read_only_allow_delete": True})
    with pytest.raises(UnsavedTuningError, match=r"The best settings, SearchSettings\(.*could not be stored") as failed:
        SparseIndex(index, client=client, encoder=coded).tune(TEXTS[:10])
    assert len(failed.value.tuning.trials) == 6
    monkeypatch.setattr("connector.cli.encoder.open_index_encoder", lambda *_, **__: coded)
    (workplace / "queries.txt").write_text("\n".join(TEXTS[:10]))
    asked = ("tune", "--index", index, "--queries", "queries.txt", "--save", "--quiet", "--json")
    result = CliRunner().invoke(cli, asked)
    said, failure = result.stderr.splitlines()
    assert result.exit_code == 1 and failure.startswith("Error: "), result.output
    assert "is so small that searches score all documents" in said
    printed = json.loads(result.stdout)
    assert len(printed["trials"]) == 6 and printed["saved"] is False
    assert existing_schema(client, index).search is None


def test_saved_settings_reach_an_open_retriever(
    client: OpenSearch, index: str, coded: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = Retriever(client, index, coded)
    assert retriever.search(TEXTS[0])
    save_search_defaults(client, index, SearchSettings(2, 7))
    assert retriever.search(TEXTS[0]) and retriever.defaults().k_query != 2
    monkeypatch.setattr("connector.index.guard._RECHECK_S", 0.0)  # half a minute later
    assert retriever.search(TEXTS[0]) and retriever.defaults().k_query == 2


def test_a_budget_that_is_saved_holds_until_a_search_says_otherwise(
    client: OpenSearch, index: str, coded: TextEncoder
) -> None:
    save_search_defaults(client, index, SearchSettings(K, 100, Pruning("posting_budget", 0.02)))
    retriever, text = Retriever(client, index, coded), TEXTS[0]
    tight = Pruning("posting_budget", 0.02)
    assert retriever.defaults() == SearchSettings(K, 100, tight)
    saved = retriever.search(text, top_k=10)
    assert saved == retriever.search(text, top_k=10, settings=SearchSettings(k_query=K, pruning=tight))
    assert saved == retriever.search_many([text], top_k=10)[0]
    [within] = retriever.search(text, top_k=1, settings=SearchSettings(window=0))
    [all_of_them] = retriever.search(text, top_k=1, settings=SearchSettings(window=0, pruning=Pruning()))
    assert within.score < all_of_them.score
    assert retriever.search(text, top_k=1, settings=SearchSettings(window=0, k_query=K)) == [all_of_them]


@pytest.mark.usefixtures("few_trials")
def test_windows_are_tried_that_the_index_permits(client: OpenSearch, index: str, coded: TextEncoder) -> None:
    client.indices.put_settings(index=index, body={"index.max_rescore_window": 120})
    trials = tune(client, index, coded, TEXTS[:10]).trials
    assert {trial.setting.window for trial in trials} == {100, 120}


@pytest.mark.usefixtures("few_trials")
def test_the_command_prints_and_keeps_the_setting(
    client: OpenSearch, index: str, head_folder: Path, workplace: Path
) -> None:
    lines = [json.dumps({"_id": str(row), "text": f"{text}."}) for row, text in enumerate(TEXTS[:12])]
    corpus = workplace / "corpus.jsonl"
    corpus.write_text("\n".join(lines))
    run = CliRunner().invoke
    options = ["--index", index, "--encoder", str(head_folder)]
    done = run(cli, ["ingest", str(corpus), *options, "--code-bits", "4", "--quiet"])
    assert done.exit_code == 0, done.output
    shown = run(cli, ["tune", *options, "--recall", "0.5", "--quiet"], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert "reach 0.5 on 12 queries with the lowest latency" in shown.output and "--save stores it" in shown.output
    assert existing_schema(client, index).search is None
    queries = workplace / "queries.txt"
    queries.write_text("\n".join(TEXTS[:12]) + "\n\n")
    saved = run(cli, ["tune", *options, "--queries", str(queries), "--save", "--json", "--quiet"])
    found = json.loads(saved.stdout)
    assert found["saved"] and len(found["trials"]) == 3 * 2, "numbers of features or budgets, windows"
    assert existing_schema(client, index).search == SearchSettings.from_json(found["best"])
    queries.write_text("too few\n")
    refused = run(cli, ["tune", *options, "--queries", str(queries), "--quiet"])
    assert refused.exit_code == 2 and "tuning needs at least 10 queries" in refused.output


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("\n".join(TEXTS[:12]).encode() + "\ncafé".encode("latin-1"), "queries.txt:13 is not UTF-8: byte 0xe9"),
        (b"\xef\xbb\xbf" + "\n".join(TEXTS[:12]).encode(), ""),
    ],
    ids=["latin-1", "mark"],
)
def test_queries_are_read_as_other_commands_read_them(
    written: bytes,
    message: str,
    index: str,
    coded: TextEncoder,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def tuned(*arguments: Any, **_: object) -> None:  # noqa: ANN401
        asked.extend(arguments[3])
        raise SearchError("enough")

    monkeypatch.setattr("connector.search.tune.tune", tuned)
    monkeypatch.setattr("connector.cli.encoder.open_index_encoder", lambda *_, **__: coded)
    (workplace / "queries.txt").write_bytes(written)
    result = CliRunner().invoke(cli, ["tune", "--index", index, "--queries", "queries.txt", "--quiet"])
    assert result.exit_code == 1 and result.stderr.startswith("Error: "), result.output
    assert message in result.stderr
    assert asked == ([] if message else TEXTS[:12])


def test_more_hits_than_a_tenth_of_the_largest_window_are_found(
    client: OpenSearch, index: str, coded: TextEncoder
) -> None:
    retriever = Retriever(client, index, coded)
    assert retriever.defaults(2_000).window == 10_000
    assert retriever.search(TEXTS[0], top_k=2_000)[0].text == TEXTS[0]
    trials = tune(client, index, coded, TEXTS[:10], top_k=2_000).trials
    assert {trial.setting.window for trial in trials} == {10_000}, "the server rescores no more"
