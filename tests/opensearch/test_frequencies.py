"""Document frequencies of features, counted by a real server."""

from __future__ import annotations

import pytest
from opensearchpy import OpenSearch

from connector.encoders.text import TextEncoder
from connector.errors import SearchError
from connector.index.frequencies import DocumentFrequencies
from connector.index.meta import IndexMeta
from connector.index.schema import prepare_index
from connector.index.writer import BulkWriter
from connector.ingest.preparation import to_sparse_documents
from connector.query.pruning import Pruning
from connector.query.settings import SearchSettings
from connector.search.retriever import Retriever
from connector.types import Document, EncoderFingerprint, SparseDocument
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.tiny import WORDS

pytestmark = pytest.mark.opensearch


def fill(client: OpenSearch, index: str, fingerprint: EncoderFingerprint) -> None:
    prepare_index(client, index, IndexMeta(fingerprint))
    writer = BulkWriter(client, index)
    features = [{"1": 1.0, "2": 0.5}, {"1": 2.0}, {"3": 1.0}, {"1": 0.1, "3": 0.1}]
    writer.write([SparseDocument(str(row), each) for row, each in enumerate(features)])
    writer.refresh()


def test_shares_are_those_of_the_index(client: OpenSearch, index: str, fingerprint: EncoderFingerprint) -> None:
    fill(client, index, fingerprint)
    shares = DocumentFrequencies(client, index).shares(["1", "2", "3", "4", "1"])
    assert shares == {"1": 0.75, "2": 0.25, "3": 0.5, "4": 0.0}


def test_more_features_than_one_request_takes(client: OpenSearch, index: str, fingerprint: EncoderFingerprint) -> None:
    fill(client, index, fingerprint)
    shares = DocumentFrequencies(client, index).shares(map(str, range(2_500)))
    assert len(shares) == 2_500 and sum(shares.values()) == 1.5


def test_a_feature_is_counted_once_until_it_is_old(
    opensearch_url: str, client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    from connector.connection.client import connect

    fill(client, index, fingerprint)
    proxy: FaultProxy
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        frequencies = DocumentFrequencies(through, index)
        frequencies.shares(["1", "2"])
        frequencies.shares(["2", "1"])
        assert len(proxy.paths) == 1
        frequencies.shares(["2", "3"])
        assert len(proxy.paths) == 2
        client.delete(index=index, id="1", params={"refresh": "true"})
        assert frequencies.shares(["1"]) == {"1": 0.75}, "still believed"
        old = DocumentFrequencies(through, index, refresh_s=0.0)
        assert old.shares(["1"]) == {"1": pytest.approx(2 / 3)}


def test_an_index_that_is_not_there_is_an_error(client: OpenSearch) -> None:
    with pytest.raises(SearchError, match="Index 'test-nowhere' cannot count its features"):
        DocumentFrequencies(client, "test-nowhere").shares(["1"])


def test_a_search_within_a_budget_reads_no_more(client: OpenSearch, index: str, encoder: TextEncoder) -> None:
    prepare_index(client, index, IndexMeta(encoder.fingerprint))
    texts = [f"{first} {second}" for first in WORDS for second in WORDS[:4]]
    documents = [Document(str(row), text) for row, text in enumerate(texts)]
    vectors = encoder.encode_document(texts)
    writer = BulkWriter(client, index)
    writer.write(to_sparse_documents(documents, vectors))
    writer.refresh()
    retriever = Retriever(client, index, encoder)
    everything = retriever.search(texts[0], top_k=100)
    assert everything == retriever.search(
        texts[0], top_k=100, settings=SearchSettings(pruning=Pruning("posting_budget", 99.0))
    )
    [names] = encoder.encode_query([texts[0]]).as_mappings()
    shares = retriever.opened.frequencies.shares(names)
    budget = 0.5 * sum(shares.values())
    few = retriever.search(texts[0], top_k=100, settings=SearchSettings(pruning=Pruning("posting_budget", budget)))
    assert 0 < len(few) <= max(budget, max(shares.values())) * len(texts)
    [batched] = retriever.search_many(
        [texts[0]], top_k=100, settings=SearchSettings(pruning=Pruning("posting_budget", budget))
    )
    assert batched == few
