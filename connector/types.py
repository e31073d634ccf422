"""Value types shared by all packages. Imports only NumPy and the errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from connector.errors import SearchError


@dataclass(frozen=True, slots=True)
class Document:
    """A document to encode and index.

    Attributes:
        doc_id: The `_id` in OpenSearch, 1 to 512 bytes.
        text: The body. Title and text are encoded together, joined by a space.
        title: May be empty.
        metadata: Arbitrary keys for filters, stored under `metadata`.
        fields: Values of additional top-level fields that the index's mapping declares.
        version: External version; a document older than the stored one is not written. None writes unconditionally.
        routing: Routing value, stored with the document. None keeps the routing of the stored document, or else uses
            that of the alias or the id.
    """

    doc_id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    version: int | None = None
    routing: str | None = None

    @property
    def content(self) -> str:
        """The text to encode: title and text, joined by a space (as in BEIR)."""
        return f"{self.title} {self.text}".strip()

    def to_record(self) -> dict[str, Any]:
        """The document as a JSONL record."""
        own = {"_id": self.doc_id, "title": self.title, "text": self.text, "metadata": self.metadata}
        optional = {"_version": self.version, "_routing": self.routing}
        return own | {name: value for name, value in optional.items() if value is not None} | dict(self.fields)


def content_of(source: Mapping[str, Any]) -> str:
    """The text to encode of a stored document, whose title or text other clients may have stored as null."""
    return Document("", source.get("text") or "", source.get("title") or "").content


FLAT_FIELDS = ("metadata", "meta")
"""`flat_object` field: any key can be searched, but strings above 32 KB cannot be indexed."""

WHOLE_FIELD = "unindexed"
"""Unindexed field that stores the metadata of documents with such long strings."""


def restored(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's fields as given, from its `_source`."""
    whole = source.get(WHOLE_FIELD)
    if not isinstance(whole, Mapping) or not whole or not all(name in FLAT_FIELDS for name in whole):
        return dict(source)  # missing, or a field of the user
    # If only some keys were requested, all of them may be in the unindexed field alone.
    return {name: value for name, value in source.items() if name != WHOLE_FIELD} | dict(whole)


@dataclass(frozen=True, slots=True)
class MalformedRecord:
    """An invalid input record.

    Attributes:
        location: Where it was read.
        reason: Why it is invalid.
        raw: Its bytes.
        partition: Names and values from the folders of its file, which apply to it as well.
        flat: Whether it is a row of a table, of which other columns are metadata.
        doc_id: Its id by the layout of its corpus; None if unreadable.
        routing: Its routing; None if it has none, or it is unreadable.
    """

    location: str
    reason: str
    raw: str
    partition: tuple[tuple[str, str | int], ...] = ()
    flat: bool = False
    doc_id: str | None = field(default=None, compare=False)
    routing: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a retrieval set."""

    query_id: str
    text: str


class SparseVectors(NamedTuple):
    """n sparse vectors of at most k features each, strongest first.

    Attributes:
        features: int32 (n, k), column numbers in the encoder's output.
        weights: float32 (n, k), 0 where a slot is unused; used slots are above 0.
        codes: uint8 (n, bytes), quantized dense embeddings of documents; None without codes.
    """

    features: NDArray[np.int32]
    weights: NDArray[np.float32]
    codes: NDArray[np.uint8] | None = None

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> SparseVectors:
        """Return the given rows, in this order."""
        picked = np.asarray(rows, dtype=np.int64)
        codes = None if self.codes is None else self.codes[picked]
        return SparseVectors(self.features[picked], self.weights[picked], codes)

    def as_mappings(self) -> list[dict[str, float]]:
        """Return a dictionary from feature name to weight for each vector, strongest first."""
        return [
            {str(feature): weight for feature, weight in zip(features, weights, strict=True) if weight != 0.0}
            for features, weights in zip(self.features.tolist(), self.weights.tolist(), strict=True)
        ]

    @property
    def active_dims(self) -> NDArray[np.int64]:
        """int64 (n,): number of used features of each vector."""
        return np.asarray(np.count_nonzero(self.weights, axis=1), dtype=np.int64)


class StoredState(NamedTuple):
    """Identifies one write of a document; -1 means that the document does not exist.

    Attributes:
        seq_no: The server's `_seq_no`.
        primary_term: The server's `_primary_term`.
    """

    seq_no: int = -1
    primary_term: int = -1


@dataclass(frozen=True, slots=True)
class SparseDocument:
    """An encoded document, ready to be written.

    Attributes:
        doc_id: The `_id` in OpenSearch.
        features: Weight of each feature name. Names contain no dot; weights are normal floats above 0.
        source: The stored fields: title, text, metadata and declared fields.
        code: Quantized dense embedding; None if the index stores no codes.
        version: As in `Document`.
        replaces: Write only if the stored document is in this state; None writes unconditionally. Not with a version.
        routing: As in `Document`.
    """

    doc_id: str
    features: Mapping[str, float]
    source: Mapping[str, Any] = field(default_factory=dict)
    code: bytes | None = None
    version: int | None = None
    replaces: StoredState | None = None
    routing: str | None = None


@dataclass(frozen=True, slots=True)
class Deletion:
    """A document to delete.

    Attributes:
        doc_id: The `_id` in OpenSearch; deleting a document that does not exist is not an error.
        version: External version; a stored document with a newer version is kept. None deletes unconditionally.
        routing: Routing of the document; None deletes it in whichever shard it is.
        replaces: Delete only if the stored document is in this state; None deletes unconditionally. Not with a version.
    """

    doc_id: str
    version: int | None = None
    routing: str | None = None
    replaces: StoredState | None = None

    def to_record(self) -> dict[str, Any]:
        """The deletion as a JSONL record."""
        record = {"_id": self.doc_id, "_version": self.version, "_routing": self.routing}
        return {name: value for name, value in record.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Contribution:
    """The contribution of one feature to a score.

    Attributes:
        feature: Name of the feature in the index.
        label: Label of the feature; empty if it has none.
        query_weight: Weight in the query.
        document_weight: Weight in the document, as stored by the server.
        score: Their product, as the server computed it.
        share: Fraction of the sum over all features.
    """

    feature: str
    label: str
    query_weight: float
    document_weight: float
    score: float
    share: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the score of a hit is composed.

    Attributes:
        score: The hit's score: the dot product of the features, or the rescored value.
        feature_score: Sum over the features; equals `score` to float precision unless hits are rescored.
        contributions: Contributions of the features that query and document share, strongest first.
    """

    score: float
    feature_score: float
    contributions: tuple[Contribution, ...]

    @property
    def rescored(self) -> bool:
        """Whether the hit was rescored, so that its score is not that of its features."""
        return abs(self.score - self.feature_score) > 1e-4 * abs(self.feature_score)


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result.

    Attributes:
        doc_id: The `_id` in OpenSearch.
        score: The dot product; for rescored hits, 1 plus the estimated inner product; for fused rankings, the mean
            of normalized scores.
        source: The requested fields.
        matches: Contribution of each feature to the dot product; empty unless requested.
        explanation: The explained score; None unless requested.
        highlight: Fragments by field, as returned by the server; empty unless requested.
        index: The concrete index of the hit, also if an alias was searched.
        routing: The routing with which the document was written; None for the default by id.
    """

    doc_id: str
    score: float
    source: Mapping[str, Any] = field(default_factory=dict)
    matches: Mapping[str, float] = field(default_factory=dict)
    explanation: Explanation | None = None
    highlight: Mapping[str, Sequence[str]] = field(default_factory=dict)
    index: str = ""
    routing: str | None = None

    @property
    def place(self) -> tuple[str, str, str | None]:
        """Index, id and routing: an id alone may name several documents of an alias, or of an index with routing."""
        return self.index, self.doc_id, self.routing

    @property
    def id(self) -> str:
        """The `_id` in OpenSearch; the same as `doc_id`."""
        return self.doc_id

    @property
    def title(self) -> str:
        """The title; empty if the document has none or it was not requested."""
        return str(self.source.get("title") or "")

    @property
    def text(self) -> str:
        """The text; empty if it was not requested."""
        return str(self.source.get("text") or "")

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata; empty if the document has none or it was not requested."""
        return self.source.get("metadata") or {}

    def explain(self) -> Explanation:
        """Return the explanation of the score.

        Raises:
            SearchError: The search ran without `explain=True`.
        """
        if self.explanation is None:
            raise SearchError("The hit has no explanation; search with explain=True.")
        return self.explanation


@dataclass(frozen=True, slots=True)
class EncoderFingerprint:
    """Identifies an encoder: queries and documents must have equal fingerprints. Stored in the mapping's `_meta`.

    Attributes:
        base_model: Name of the dense or masked-language model.
        revision: Its revision on the hub; empty for a local folder.
        weights_sha256: SHA-256 over all tensors of the model and their names.
        k: Features kept per document; None if the encoder decides.
        num_latents: Width of the encoder's output.
        pooling: Pooling of token embeddings.
        max_seq_length: Tokens after which texts are truncated; None for no limit.
        prompts: Prompt put before texts, by task.
    """

    base_model: str
    revision: str
    weights_sha256: str
    k: int | None
    num_latents: int
    pooling: str
    max_seq_length: int | None
    prompts: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 (16 hex digits) over all fields except names, which differ between copies of the same weights."""
        facts = asdict(self)
        del facts["base_model"], facts["revision"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        cut = f"top {self.k} of {self.num_latents}" if self.k is not None else f"{self.num_latents} features"
        return f"{self.digest} ({self.base_model}, {cut}, weights {self.weights_sha256[:12]})"
