"""Why a document was found, as a real node counts it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.encoders.text import TextEncoder
from connector.errors import SearchError
from connector.index.new_index import NewIndex
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import ingest_documents
from connector.ingest.prepare import prepare_encoder
from connector.query.settings import SearchSettings
from connector.search.retriever import Retriever
from connector.types import Document
from connector.vectors.codes import Bits
from tests.tiny import WORDS

pytestmark = pytest.mark.opensearch

TEXTS = ("plants eat light", "cats sleep on warm stones", "rivers carry sand to the sea", "stars burn light")


def retriever(client: OpenSearch, index: str, encoder: TextEncoder, code_bits: Bits | None = None) -> Retriever:
    calibrated = prepare_encoder(client, index, encoder, sample=TEXTS, new=NewIndex(code_bits=code_bits))
    documents = [Document(str(row), text) for row, text in enumerate(TEXTS)]
    assert ingest_documents(documents, calibrated, BulkWriter(client, index)).indexed == len(TEXTS)
    client.indices.refresh(index=index)
    return Retriever(client, index, encoder)


def test_shares_add_up_to_the_score(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    searching = retriever(client, index, lexical)
    plain = searching.search("plants light", settings=SearchSettings(k_query=8))
    hits = searching.search("plants light", settings=SearchSettings(k_query=8), explain=True)
    assert [(hit.doc_id, hit.score) for hit in hits] == [(hit.doc_id, hit.score) for hit in plain]
    for hit in hits:
        explanation = hit.explain()
        assert explanation.feature_score == pytest.approx(hit.score, rel=1e-6) and not explanation.rescored
        assert sum(part.share for part in explanation.contributions) == pytest.approx(1.0)
        scores = [part.score for part in explanation.contributions]
        assert scores == sorted(scores, reverse=True) and min(scores) > 0
    with pytest.raises(SearchError, match="search with explain=True"):
        plain[0].explain()


def test_names_of_filters_are_no_features(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    searching = retriever(client, index, lexical)
    settings, named = SearchSettings(k_query=8), [{"exists": {"field": "text", "_name": "mine"}}]
    explained = searching.search("plants light", settings=settings, filters=named, explain=True)
    assert explained
    for hit in explained:
        explanation = hit.explain()
        assert "mine" not in {part.feature for part in explanation.contributions}
        assert explanation.feature_score == pytest.approx(hit.score, rel=1e-6)
    assert all(hit.matches == {} for hit in searching.search("plants light", settings=settings, filters=named))


def test_shares_add_up_on_a_thousand_hits(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 6)) for _ in range(400)]
    calibrated = prepare_encoder(client, index, lexical, sample=texts, new=NewIndex(code_bits=None))
    ingest_documents(
        [Document(str(row), text) for row, text in enumerate(texts)], calibrated, BulkWriter(client, index)
    )
    searching, checked = Retriever(client, index, lexical), 0
    while checked < 1_000:
        for hit in searching.search(
            " ".join(random.choice(WORDS, 3)), settings=SearchSettings(k_query=16), top_k=100, explain=True
        ):
            parts = hit.explain().contributions
            assert sum(part.score for part in parts) == pytest.approx(hit.score, rel=1e-6)
            assert all(part.score == pytest.approx(part.query_weight * part.document_weight) for part in parts)
            checked += 1


def test_weights_are_those_of_query_and_document(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    searching = retriever(client, index, lexical)
    [query] = searching.encoder.encode_query(["plants light"], k=8).as_mappings()
    [document] = searching.encoder.encode_document([TEXTS[0]]).as_mappings()
    explanation = searching.explain("plants light", "0", settings=SearchSettings(k_query=8)).explain()
    assert {part.feature for part in explanation.contributions} == set(query) & set(document)
    for part in explanation.contributions:
        assert part.query_weight == pytest.approx(query[part.feature])
        assert part.document_weight == pytest.approx(document[part.feature], rel=2**-8)
        assert part.score == pytest.approx(part.query_weight * part.document_weight)
    words = {part.label for part in explanation.contributions}
    assert words & {'"plants"', '"light"'}, "tokens name themselves"


def test_a_rescored_hit_reports_it(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    explanation = retriever(client, index, lexical, code_bits=4).search("plants light", explain=True)[0].explain()
    assert explanation.rescored and 1.0 < explanation.score <= 2.1
    assert explanation.feature_score == pytest.approx(sum(part.score for part in explanation.contributions))


def test_a_document_that_is_not_found_is_distinguished_from_one_that_is_missing(
    client: OpenSearch, index: str, lexical: TextEncoder
) -> None:
    searching = retriever(client, index, lexical)
    with pytest.raises(SearchError, match=f"^Index '{index}' has no document 'nowhere'.$"):
        searching.explain("plants light", "nowhere")
    with pytest.raises(SearchError, match=f"^The query shares no feature with document '2' of index '{index}'.$"):
        searching.explain("plants", "2", settings=SearchSettings(k_query=1))
    only_cats = [{"match": {"text": "cats"}}]
    with pytest.raises(SearchError, match="^The filters or the routing of the search exclude document '0' of .*$"):
        searching.explain("plants light", "0", filters=only_cats)
    client.indices.put_alias(index=index, name=f"{index}-cats", body={"filter": only_cats[0]})
    through = Retriever(client, f"{index}-cats", lexical)
    for doc_id in ("0", "nowhere"):  # what the alias hides and what does not exist are the same to its readers
        with pytest.raises(SearchError, match=f"^Index '{index}-cats' has no document '{doc_id}'.$"):
            through.explain("plants light", doc_id)
    assert through.explain("cats sleep", "1").doc_id == "1"


def test_the_command_prints_a_line_for_each_feature(index: str, head_folder: Path, workplace: Path) -> None:
    lines = [json.dumps({"_id": str(row), "text": text}) for row, text in enumerate(TEXTS)]
    (workplace / "corpus.jsonl").write_text("\n".join(lines))
    run = CliRunner().invoke
    options = ["--index", index, "--encoder", str(head_folder)]
    assert run(cli, ["ingest", "corpus.jsonl", *options, "--code-bits", "none", "--quiet"]).exit_code == 0
    found = json.loads(run(cli, ["explain", TEXTS[2], *options, "--json"]).stdout)
    assert found["doc_id"] == "2"
    printed = run(cli, ["explain", TEXTS[2], *options, "--id", "2"]).stdout
    assert printed.startswith(f"2: {found['score']:.4f} from {len(found['contributions'])} features")
    assert printed.count("\n") == len(found["contributions"]) + 2
    refused = run(cli, ["explain", TEXTS[2], *options, "--id", "9"])
    assert refused.exit_code == 1 and "has no document '9'" in refused.output
