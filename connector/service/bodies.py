"""What requests hold, checked, and described in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connector.limits import MAX_CLAUSES, MAX_HITS
from connector.query.pruning import PruneType, Pruning

Texts = Annotated[list[str], Field(min_length=1)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    index: str | None = Field(default=None, description="Index or alias; may be left out where one alone is served.")


class _Encoding(_Body):
    space: str | None = Field(default=None, description="Space that the vectors must be of, else the answer is 409.")
    texts: Texts | None = Field(default=None, description="Plain form: the answer says all of each vector.")
    inputs: Texts | None = Field(default=None, description="ML Commons' form: the answer is a list of token to weight.")

    @model_validator(mode="after")
    def _one_form(self) -> _Encoding:
        if (self.texts is None) == (self.inputs is None):
            raise ValueError("give either texts (plain form) or inputs (ML Commons' form)")
        return self

    @property
    def all_texts(self) -> list[str]:
        """The texts, in whichever form."""
        return self.texts or self.inputs or []


class _Choice(BaseModel):
    k_query: int | None = Field(default=None, ge=1, le=MAX_CLAUSES, description="Features kept of a query.")
    window: int | None = Field(default=None, ge=0, le=MAX_HITS, description="Hits rescored by codes, 0 for none.")
    prune_type: PruneType | None = None
    prune_ratio: float = 0.0

    @property
    def pruning(self) -> Pruning | None:
        """Which features are left out; ValueError if the ratio does not go with the type."""
        return None if self.prune_type is None else Pruning(self.prune_type, self.prune_ratio)


class EncodeQuery(_Encoding, _Choice):
    """Queries to encode; what is not said, the index says."""

    top_k: int = Field(
        default=10, ge=1, le=MAX_HITS, description="Hits that will be asked for; a window grows with it."
    )


class EncodeDocument(_Encoding):
    """Documents to encode: title and text of each joined by a space."""

    parts: Literal["features", "codes", "both"] = "both"


class Search(_Choice, _Body):
    """A search, with the options of `SparseIndex.search`."""

    query: str
    top_k: int = Field(default=10, ge=1, le=MAX_HITS)
    filters: dict[str, Any] | list[dict[str, Any]] | None = Field(
        None, description='Values such as {"lang": "en"}, or clauses of the query language.'
    )
    hybrid: bool = Field(default=False, description="By words (BM25) as well.")
    bm25_weight: float | None = Field(default=None, gt=0, description="With hybrid: add so much of BM25 to the score.")
    rank_window_size: int | None = Field(default=None, ge=1, le=MAX_HITS)
    min_score: float | None = None
    fields: list[str] | None = Field(default=None, description="To return; all if left out.")
    highlight: dict[str, Any] | None = None
    routing: str | None = None
    preference: str | None = None
    explain: bool = False


class PipelineDocument(BaseModel):
    """A document as the ingest pipeline of `ksparse connect` sends it."""

    id: str | None = None
    title: str | None = None
    text: str | None = None
    meta: dict[str, Any] | None = None


class Vector(BaseModel):
    """A query or a document, encoded."""

    features: dict[str, float] | None = None
    code: str | None = Field(default=None, description="Of a document, in Base64.")
    rescore: dict[str, Any] | None = Field(
        default=None, description="Of a query: the value of `rescore` in a search body."
    )


class Vectors(BaseModel):
    """The answer in the plain form."""

    index: str
    space: str
    weight_exponent: int = Field(description="Weights of documents are multiplied by 2 to its power.")
    vectors: list[Vector]


class Found(BaseModel):
    """A hit."""

    id: str
    score: float
    source: dict[str, Any]
    highlight: dict[str, list[str]] | None = None
    explanation: dict[str, Any] | None = None


class Hits(BaseModel):
    """The answer to a search, best first."""

    hits: list[Found]


class Problem(BaseModel):
    """What went wrong, and the next step."""

    error: str
