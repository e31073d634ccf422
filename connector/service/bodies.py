"""Request and response bodies, validated and described in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connector.limits import MAX_CLAUSES, MAX_HITS
from connector.query.pruning import PruneType, Pruning

Texts = Annotated[list[str], Field(min_length=1)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    index: str | None = Field(default=None, description="Index or alias; optional if only one is served.")


class _Encoding(_Body):
    space: str | None = Field(default=None, description="Required space of the vectors, otherwise status 409.")
    texts: Texts | None = Field(default=None, description="Plain form: returns complete vectors.")
    inputs: Texts | None = Field(default=None, description="ML Commons' form: returns a list of token weights.")

    @model_validator(mode="after")
    def _one_form(self) -> _Encoding:
        if (self.texts is None) == (self.inputs is None):
            raise ValueError("give either texts (plain form) or inputs (ML Commons' form)")
        return self

    @property
    def all_texts(self) -> list[str]:
        """The texts of either form."""
        return self.texts or self.inputs or []


class _Choice(BaseModel):
    k_query: int | None = Field(default=None, ge=1, le=MAX_CLAUSES, description="Features per query.")
    window: int | None = Field(default=None, ge=0, le=MAX_HITS, description="Hits to rescore by codes; 0 for none.")
    prune_type: PruneType | None = None
    prune_ratio: float = 0.0

    @property
    def pruning(self) -> Pruning | None:
        """The pruning rule; ValueError if the ratio does not match the type."""
        if self.prune_type is None:
            if self.prune_ratio:
                raise ValueError("prune_ratio needs a prune_type.")
            return None
        return Pruning(self.prune_type, self.prune_ratio)


class EncodeQuery(_Encoding, _Choice):
    """Queries to encode; unset options use the index's defaults."""

    top_k: int = Field(
        default=10, ge=1, le=MAX_HITS, description="Number of hits of the later search, which affects the window."
    )


class EncodeDocument(_Encoding):
    """Documents to encode: title and text joined by a space."""

    parts: Literal["features", "codes", "both"] = "both"


class Search(_Choice, _Body):
    """A search, with the options of `SparseIndex.search`."""

    query: str
    top_k: int = Field(default=10, ge=1, le=MAX_HITS)
    filters: dict[str, Any] | list[dict[str, Any]] | None = Field(
        None, description='Values such as {"lang": "en"}, or OpenSearch query clauses.'
    )
    hybrid: bool = Field(default=False, description="Combine with BM25.")
    alpha: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="With hybrid: weight of the features in the mean of scores; 0.5 by default.",
    )
    bm25_weight: float | None = Field(default=None, gt=0, description="With hybrid: add this weight times BM25.")
    rank_window_size: int | None = Field(default=None, ge=1, le=MAX_HITS)
    min_score: float | None = None
    fields: list[str] | None = Field(default=None, description="Fields to return; all by default.")
    highlight: dict[str, Any] | None = None
    routing: str | None = None
    preference: str | None = None
    explain: bool = False

    @model_validator(mode="after")
    def _fused(self) -> Search:
        if self.rank_window_size is not None and not self.hybrid:
            raise ValueError("rank_window_size needs hybrid")
        return self


class PipelineDocument(BaseModel):
    """A document sent by the ingest pipeline of `ksparse connect`."""

    id: str | None = None
    title: str | None = None
    text: str | None = None
    meta: dict[str, Any] | None = None


class Vector(BaseModel):
    """An encoded query or document."""

    features: dict[str, float] | None = None
    code: str | None = Field(default=None, description="Code of a document, in Base64.")
    rescore: dict[str, Any] | None = Field(
        default=None, description="For a query: the value of `rescore` in a search body."
    )


class Vectors(BaseModel):
    """The response in the plain form."""

    index: str
    space: str
    weight_exponent: int = Field(description="Document weights are multiplied by 2 to this power.")
    vectors: list[Vector]


class Found(BaseModel):
    """A hit."""

    id: str
    score: float
    source: dict[str, Any]
    highlight: dict[str, list[str]] | None = None
    explanation: dict[str, Any] | None = None


class Hits(BaseModel):
    """The hits of a search, best first."""

    hits: list[Found]


class Problem(BaseModel):
    """The error and the next step."""

    error: str
