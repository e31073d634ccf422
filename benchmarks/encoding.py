"""What it takes to turn the text of a query into numbers, timed in turns with the searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from opensearchpy import OpenSearch
from sentence_transformers import SentenceTransformer

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import Request
from connector.encoders.text import TextEncoder
from connector.types import Hit

Kind = Literal["dense", "features"]


@dataclass(frozen=True, slots=True)
class QueryEncoding:
    """One text at a time, as a search sees them.

    Attributes:
        kind: The dense model alone, or with the head behind it.
        encoder: Of the set.
        dense: Its dense model.
    """

    kind: Kind
    encoder: TextEncoder
    dense: SentenceTransformer

    def search(self, _client: OpenSearch, request: Request) -> list[Hit]:
        """Encode one text; there is nothing to be found."""
        if self.kind == "dense":
            self.dense.encode(request["text"], show_progress_bar=False)
        else:
            self.encoder.encode_query([request["text"]], batch_size=1)
        return []


def query_encodings(data: EncodedSet) -> tuple[list[QueryEncoding], list[list[Request]]]:
    """Return both kinds of a set's encoder, and the requests of each."""
    requests: list[Request] = [{"text": query.text} for query in data.judged.queries]
    dense = data.encoder.dense_model()
    kinds: Sequence[Kind] = ("dense", "features")
    return [QueryEncoding(kind, data.encoder, dense) for kind in kinds], [requests, requests]
