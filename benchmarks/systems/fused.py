"""BM25 and a rescored search, fused by normalized scores as in `Retriever.search_hybrid`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import Encoding, Probe, Request, to_hits, write
from benchmarks.systems.bm25 import WORDS_FIELD
from benchmarks.systems.rescored import Rescored
from connector.query.hybrid import fuse
from connector.types import Hit

_OPTIONS = {"track_total_hits": False, "_source": False}


@dataclass(frozen=True, slots=True)
class Fused:
    """Both searches in one `_msearch` request.

    Attributes:
        storage: The rescored search; the index is separate and also has words.
        index: Name of the index.
        candidates: Hits of each ranking to fuse.
        top_k: Hits per query.
    """

    storage: Rescored
    index: str
    candidates: int = 100
    top_k: int = 10

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"BM25 + {self.storage.name}"

    @property
    def knob(self) -> str:
        """Setting that trades quality for latency."""
        return f"{self.candidates} of each, {self.storage.knob}"

    @property
    def encoding(self) -> Encoding:
        """As in `storage`."""
        return self.storage.encoding

    @property
    def more_bytes(self) -> int:
        """Bytes that the cluster stores in addition to the index."""
        return self.storage.more_bytes

    def configure(self, client: OpenSearch) -> None:
        """Create the index of `storage` with an additional field of words."""
        self._moved.configure(client, words=WORDS_FIELD)

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write features, codes and words."""
        sources = (
            {**source, WORDS_FIELD: document.content}
            for source, document in zip(
                self.storage.sources(data, range(len(data.documents))), data.documents, strict=True
            )
        )
        write(client, self.index, data.doc_ids, sources)

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build the lines of one request each."""
        requests = []
        for query, first in zip(data.judged.queries, self.storage.prepare(data), strict=True):
            words = {"query": {"match": {WORDS_FIELD: query.text}}}
            lines = [{}, first | _OPTIONS | {"size": self.candidates}]
            requests.append({"lines": [*lines, {}, words | _OPTIONS | {"size": self.candidates}]})
        return requests

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """As in `storage`."""
        return self.storage.probes(data, rows)

    def search(self, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request."""
        reply = client.msearch(index=self.index, body=request["lines"])
        return fuse([to_hits(each) for each in reply["responses"]], top_k=self.top_k)

    @property
    def _moved(self) -> Rescored:
        return replace(self.storage, index=self.index)
