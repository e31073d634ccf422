"""Everything that decides what a training run yields, as one value that is stored beside its result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from connector.errors import CorpusError
from connector.training.ranges import check_ranges

FEWEST_DOCUMENTS = 200
"""With about 100, the first 100 hits of any head hold all neighbours, and validation would tell nothing."""

_READ_BY: dict[str, tuple[str, ...]] = {
    "alpha_mse": ("paper",),
    "alpha_distance": ("paper", "ivae"),
    "alpha_elbo": ("ivae",),
    "alpha_flops": ("ivae",),
} | dict.fromkeys(
    (
        "initial", "train_k_query", "neighbours_per_seed", "temperature", "document_weight", "balance_weight",
        "threshold_weight", "document_lexical_scale", "query_lexical_scale",
    ),
    ("retrieval",),
)  # fmt: skip
"""The recipes that read a setting, where not all do."""

_AT_LEAST_ONE = (
    "num_latents", "k", "k_query", "steps", "batch_size", "neighbours_per_seed", "num_neighbours",
    "validation_queries", "validations", "patience",
)  # fmt: skip

Recipe = Literal["retrieval", "paper", "ivae"]
RECIPES: tuple[Recipe, ...] = get_args(Recipe)
Initial = Literal["documents", "random"]


def check_documents(count: int) -> None:
    """Refuse a corpus that no head can be trained on.

    Raises:
        CorpusError: It has fewer than `FEWEST_DOCUMENTS`.
    """
    if count < FEWEST_DOCUMENTS:
        raise CorpusError(
            f"{count} documents are too few to train a head on; {FEWEST_DOCUMENTS} are needed, better thousands. The "
            "shipped encoder needs no training."
        )


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Settings of a training run.

    Raises:
        ValueError: Two settings contradict each other, or one is out of range.
    """

    recipe: Recipe = "retrieval"
    """`paper`: reconstruction and distance loss on random batches. `ivae`: the variational autoencoder of the earlier
    work. `retrieval`: ranking among near neighbours."""
    num_latents: int = 8192
    """Width of the sparse space. Postings per query fall as it grows, and recall rises."""
    initial: Initial = "documents"
    """What latents begin as: centroids of documents, or random directions, as those of the other recipes do
    (`retrieval`)."""
    k: int = 64
    """Features kept per document."""
    k_query: int = 32
    """Features kept per query, by default, at search time."""
    train_k_query: tuple[int, ...] = ()
    """Features kept per query in training, which the ranking loss is averaged over; `k` and half of `k_query` if
    none are given (`retrieval`)."""
    steps: int = 3_000
    """Updates of the weights."""
    batch_size: int = 512
    """Documents per step; as many queries come with them (`retrieval`)."""
    neighbours_per_seed: int = 8
    """Documents of a batch that are near each other: one seed and its neighbours (`retrieval`)."""
    num_neighbours: int = 50
    """Nearest neighbours of each document to draw from (`retrieval`)."""
    learning_rate: float = 1e-3
    """Of Adam, after a warm-up over the first hundredth of the steps, falling linearly to 0."""
    temperature: float = 0.03
    """Of the dense scores that the sparse ones are taught by (`retrieval`)."""
    document_weight: float = 0.5
    """Weight of the order of documents among each other, beside that of documents for queries (`retrieval`)."""
    balance_weight: float = 0.05
    """Weight of the FLOPS term that spreads documents and queries evenly over the latents (`retrieval`)."""
    threshold_weight: float = 0.0
    """lambda_T of the HT paper: learn a threshold each for documents and queries, below which a feature is left out,
    so that `k` and `k_query` are upper bounds; 0 keeps as many features of every text (`retrieval`)."""
    document_lexical_scale: float = 0.07
    """Weight of a document's tokens beside its latents; 0 for latents alone (`retrieval`, where there are texts). Heavy
    tokens rank well; in long texts they take places from latents that find what dense search finds."""
    query_lexical_scale: float = 0.12
    """Weight of a query's tokens. The product with `document_lexical_scale` is the weight of BM25 beside the dense
    score in what is taught; 0.006 to 0.008 ranked the training queries of four corpora best."""
    alpha_mse: float = 1.0
    """alpha_1 of the paper's eq. 3: weight of the reconstruction (`paper`)."""
    alpha_distance: float = math.nan
    """alpha_2 of the paper's eq. 1 and 3: weight of the distance loss; 1 unless given (`paper`), or
    30,000 as in the earlier work (`ivae`)."""
    alpha_elbo: float = 1e-4
    """alpha_1 of the paper's eq. 1 (`ivae`)."""
    alpha_flops: float = 5.0
    """alpha_3 of the paper's eq. 1 (`ivae`)."""
    validation_queries: int = 1_000
    """Queries held out for validation, at most a tenth of all."""
    validations: int = 6
    """Times that the held-out queries are searched, evenly spread over the steps."""
    patience: int | None = 3
    """Validations without a gain after which training stops; the best weights are kept. None: it goes on to the end and
    keeps the last ones. Always None where thresholds are learned, since quality alone would choose the lowest."""
    max_seconds: float | None = None
    """Train no longer than this; the learning rate then falls with the time, not with the steps."""
    seed: int = 0
    """Of the weights, the batches and the held-out queries."""

    def unread(self) -> dict[str, str]:
        """The settings that the recipe does not read, and why."""
        return {
            name: f"the recipe {self.recipe} does not read it, {' and '.join(recipes)} would"
            for name, recipes in _READ_BY.items()
            if self.recipe not in recipes
        }

    @property
    def begins_at_documents(self) -> bool:
        """Whether latents begin as centroids of documents."""
        return self.recipe == "retrieval" and self.initial == "documents"

    @property
    def lexical(self) -> bool:
        """Whether tokens are features."""
        return self.recipe == "retrieval" and min(self.document_lexical_scale, self.query_lexical_scale) > 0

    def __post_init__(self) -> None:
        check_ranges(self, at_least_one=_AT_LEAST_ONE, above_zero=("learning_rate", "temperature"))
        if min(self.document_lexical_scale, self.query_lexical_scale) < 0:
            raise ValueError(
                f"document_lexical_scale {self.document_lexical_scale} and query_lexical_scale "
                f"{self.query_lexical_scale} must be at least 0."
            )
        if self.threshold_weight < 0:
            raise ValueError(f"threshold_weight must be at least 0, got {self.threshold_weight}.")
        if self.threshold_weight and self.recipe != "retrieval":
            raise ValueError(f"the recipe {self.recipe} learns no thresholds; leave threshold_weight at 0.")
        if self.train_k_query and min(self.train_k_query) < 1:
            raise ValueError(f"train_k_query must be at least 1, got {self.train_k_query}.")
        if self.threshold_weight:
            object.__setattr__(self, "patience", None)
        if not self.train_k_query:
            object.__setattr__(self, "train_k_query", (self.k, max(1, self.k_query // 2)))
        if math.isnan(self.alpha_distance):
            object.__setattr__(self, "alpha_distance", 30_000.0 if self.recipe == "ivae" else 1.0)
        widest = max(self.k, self.k_query, *self.train_k_query)
        if widest > self.num_latents:
            raise ValueError(f"{widest} features cannot be kept of num_latents = {self.num_latents}.")
        if self.recipe == "ivae" and self.num_latents % 2:
            raise ValueError(f"num_latents must be even with ivae, {self.num_latents} is not: two features a latent.")
        if self.recipe == "retrieval" and self.batch_size % self.neighbours_per_seed:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of neighbours_per_seed {self.neighbours_per_seed}."
            )
