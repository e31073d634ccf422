"""The values that travel between the rooms. Imports NumPy and the errors, nothing else of ours."""

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
        doc_id: Becomes the server's `_id`, 1 to 512 bytes.
        text: The body. Title and text are encoded together, joined by a space.
        title: May be empty.
        metadata: Free keys for filters, stored under `metadata`.
        fields: Values of further top-level fields that the index's mapping declares.
        version: Of the document where it comes from; a document that is older than what the index holds is not
            written. None writes in any case.
        routing: Decides the shard, and is kept with the document. None leaves it where the index holds it, or lets the
            alias or the id decide.
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
        """What the encoder reads: title and text, joined by a space (as BEIR does)."""
        return f"{self.title} {self.text}".strip()

    def to_record(self) -> dict[str, Any]:
        """What a line of JSONL would hold of it."""
        own = {"_id": self.doc_id, "title": self.title, "text": self.text, "metadata": self.metadata}
        optional = {"_version": self.version, "_routing": self.routing}
        return own | {name: value for name, value in optional.items() if value is not None} | dict(self.fields)


@dataclass(frozen=True, slots=True)
class MalformedRecord:
    """A record of the input that is not a document: where it stands, what is wrong with it, and its bytes."""

    location: str
    reason: str
    raw: str


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
        codes: uint8 (n, bytes), compact codes of the dense embeddings, where documents get some.
    """

    features: NDArray[np.int32]
    weights: NDArray[np.float32]
    codes: NDArray[np.uint8] | None = None

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> SparseVectors:
        """Some of the vectors, in the order of `rows`."""
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
        """int64 (n,): the used features of each vector."""
        return np.asarray(np.count_nonzero(self.weights, axis=1), dtype=np.int64)


class StoredState(NamedTuple):
    """A write to a document, by the server's numbers for it; -1 says that there is no such document.

    Attributes:
        seq_no: Number of the write.
        primary_term: Number of the primary that made it.
    """

    seq_no: int = -1
    primary_term: int = -1


@dataclass(frozen=True, slots=True)
class SparseDocument:
    """A document as it goes into the index.

    Attributes:
        doc_id: The server's `_id`.
        features: From feature name to weight. Names hold no dot; weights are normal floats above 0.
        source: The fields kept beside the features: title, text, metadata and declared fields.
        code: The compact code of its dense embedding, None where the index keeps none.
        version: As for the document.
        replaces: What the index must hold of it for it to be written; None writes in any case. Not with a version.
        routing: As for the document.
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
    """A document to take out of the index.

    Attributes:
        doc_id: The server's `_id`; one that the index does not hold is not an error.
        version: Of the deletion where it comes from; what the index holds in a newer version stays. None deletes in any
            case.
        routing: As of the document; None deletes it wherever it lies.
        replaces: What the index must hold of it for it to be deleted; None deletes it in any case. Not with a version.
    """

    doc_id: str
    version: int | None = None
    routing: str | None = None
    replaces: StoredState | None = None

    def to_record(self) -> dict[str, Any]:
        """Its keys as those of a line of JSONL."""
        record = {"_id": self.doc_id, "_version": self.version, "_routing": self.routing}
        return {name: value for name, value in record.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature added to a score.

    Attributes:
        feature: Its name in the index.
        label: What it stands for, in words; empty if it has no label.
        query_weight: In the query.
        document_weight: In the document, as the server keeps it.
        score: Their product, as the server computed it.
        share: Of the sum over all features.
    """

    feature: str
    label: str
    query_weight: float
    document_weight: float
    score: float
    share: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a document was found.

    Attributes:
        score: The hit's: the dot product of the features, or what the codes of the index made of it.
        feature_score: The sum over the features: equals `score`, to the precision of a float, unless hits are rescored.
        contributions: Of the features that query and document share, strongest first.
    """

    score: float
    feature_score: float
    contributions: tuple[Contribution, ...]

    @property
    def rescored(self) -> bool:
        """Whether another score than that of the features ordered the hit."""
        return abs(self.score - self.feature_score) > 1e-4 * abs(self.feature_score)


@dataclass(frozen=True, slots=True)
class Hit:
    """A document found.

    Attributes:
        doc_id: The server's `_id`.
        score: The dot product; where codes rescored the hit, 1 plus the estimated inner product; where rankings were
            fused, the sum of reciprocal ranks.
        source: The fields that were asked for.
        matches: From feature to what it added to the dot product; empty unless it was asked for.
        explanation: What these mean; None unless it was asked for.
        highlight: From field to fragments, as the server returns them; empty unless it was asked for.
        index: The index that holds it, where the hit comes from a server: one of those behind an alias.
    """

    doc_id: str
    score: float
    source: Mapping[str, Any] = field(default_factory=dict)
    matches: Mapping[str, float] = field(default_factory=dict)
    explanation: Explanation | None = None
    highlight: Mapping[str, Sequence[str]] = field(default_factory=dict)
    index: str = ""

    @property
    def id(self) -> str:
        """The server's `_id`, as `doc_id`."""
        return self.doc_id

    @property
    def title(self) -> str:
        """The title; empty where there is none or it was not asked for."""
        return str(self.source.get("title", ""))

    @property
    def text(self) -> str:
        """The text; empty where it was not asked for."""
        return str(self.source.get("text", ""))

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata; empty where there is none or it was not asked for."""
        return self.source.get("metadata") or {}

    def explain(self) -> Explanation:
        """Say why it was found.

        Raises:
            SearchError: The search was not asked to explain.
        """
        if self.explanation is None:
            raise SearchError("The hit has no explanation; search with explain=True.")
        return self.explanation


@dataclass(frozen=True, slots=True)
class EncoderFingerprint:
    """What must be equal for a query to meet documents in the same space. Kept in the mapping's `_meta`.

    Attributes:
        base_model: The dense or masked-language model in front.
        revision: Its revision on the hub, empty for a local folder.
        weights_sha256: Over every tensor of the whole model, names included.
        k: Features kept per document; None where the encoder decides.
        num_latents: Width of the encoder's output.
        pooling: How tokens become one vector.
        max_seq_length: Tokens after which a text is cut; None where the model sets no limit.
        prompts: Put in front of texts, by task.
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
        """SHA-256 over all fields but the names, which differ between copies of the same weights (16 hex digits)."""
        facts = asdict(self)
        del facts["base_model"], facts["revision"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        cut = f"top {self.k} of {self.num_latents}" if self.k is not None else f"{self.num_latents} features"
        return f"{self.digest} ({self.base_model}, {cut}, weights {self.weights_sha256[:12]})"
