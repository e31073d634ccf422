"""Query encoding, timed in turns with searches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import Encoding, Request
from connector.encoders.text import TextEncoder
from connector.types import Hit


@dataclass(frozen=True, slots=True)
class QueryEncoding:
    """Encodes one text at a time, as in a search.

    Attributes:
        kind: Kind of encoding.
        encode: Encodes a text.
    """

    kind: Encoding
    encode: Callable[[str], object]

    def search(self, _client: OpenSearch, request: Request) -> list[Hit]:
        """Encode one text; return no hits."""
        self.encode(request["text"])
        return []


def query_encodings(
    data: EncodedSet, fast: TextEncoder | None = None
) -> tuple[list[QueryEncoding], list[list[Request]]]:
    """Return all kinds of query encoding with their requests.

    Args:
        data: The set.
        fast: Encoder with a query model.
    """
    encoder, dense = data.encoder, data.encoder.dense_model()
    prompt = dense.prompts.get("query") or None
    kinds = [
        QueryEncoding("dense", lambda text: dense.encode(text, prompt=prompt, show_progress_bar=False)),
        QueryEncoding("features", lambda text: encoder.encode_query([text], batch_size=1)),
    ]
    if fast is not None and (static := fast.query_model) is not None:
        kinds += [
            QueryEncoding("static", lambda text: static.encode(text, show_progress_bar=False)),
            QueryEncoding("static features", lambda text: fast.encode_query([text], batch_size=1)),
        ]
    requests: list[Request] = [{"text": query.text} for query in data.judged.queries]
    return kinds, [requests for _ in kinds]
