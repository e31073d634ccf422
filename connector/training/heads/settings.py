"""Settings of `ksparse train`, stored with the result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from connector.errors import CorpusError
from connector.training.ranges import check_ranges

MIN_DOCUMENTS = 200
"""With about 100, the first 100 hits of any head contain all neighbours, so validation would not be informative."""

_READ_BY: dict[str, tuple[str, ...]] = {
    "alpha_mse": ("paper",),
    "alpha_distance": ("paper", "ivae"),
    "alpha_elbo": ("ivae",),
    "alpha_flops": ("ivae",),
} | dict.fromkeys(
    (
        "init", "train_k_query", "neighbours_per_seed", "temperature", "document_weight", "flops_weight",
        "threshold_weight", "document_lexical_scale", "query_lexical_scale",
    ),
    ("retrieval",),
)  # fmt: skip
"""Recipes that use a setting, if not all do."""

_AT_LEAST_ONE = (
    "num_latents", "k", "k_query", "steps", "batch_size", "neighbours_per_seed", "num_neighbours",
    "validation_queries", "validations", "patience",
)  # fmt: skip

Recipe = Literal["retrieval", "paper", "ivae"]
RECIPES: tuple[Recipe, ...] = get_args(Recipe)
Init = Literal["documents", "random"]


def check_documents(count: int) -> None:
    """Check that a corpus has enough documents for training a head.

    Raises:
        CorpusError: It has fewer than `MIN_DOCUMENTS`.
    """
    if count < MIN_DOCUMENTS:
        raise CorpusError(
            f"{count} documents are too few to train a head; at least {MIN_DOCUMENTS} are needed, better thousands. "
            "The shipped encoder needs no training."
        )


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Settings of a head.

    Raises:
        ValueError: Two settings contradict each other, or one is out of range.
    """

    recipe: Recipe = "retrieval"
    """`paper`: reconstruction and distance loss on random batches. `ivae`: the variational autoencoder of the earlier
    work. `retrieval`: distillation of the ranking among near neighbours."""
    num_latents: int = 8192
    """Number of latents. With more, queries read fewer postings and recall is higher."""
    init: Init = "documents"
    """Initialization of latents: centroids of documents, or random directions as in the other recipes
    (`retrieval`)."""
    k: int = 64
    """Features kept per document."""
    k_query: int = 32
    """Default number of features kept per query in searches."""
    train_k_query: tuple[int, ...] = ()
    """Numbers of query features over which the ranking loss is averaged; empty means `k` and half of `k_query`
    (`retrieval`)."""
    steps: int = 3_000
    """Number of steps."""
    batch_size: int = 512
    """Documents per step, with the same number of queries (`retrieval`)."""
    neighbours_per_seed: int = 8
    """Documents of a neighbourhood in a batch: a seed and its neighbours (`retrieval`)."""
    num_neighbours: int = 50
    """Number of nearest neighbours from which a batch is sampled (`retrieval`)."""
    learning_rate: float = 1e-3
    """Learning rate of Adam: a warm-up over the first hundredth of the steps, then linear decay to 0."""
    temperature: float = 0.03
    """Temperature of the ranking loss (`retrieval`)."""
    document_weight: float = 0.5
    """Weight of the ranking loss among documents, relative to that of queries (`retrieval`)."""
    flops_weight: float = 0.05
    """Weight of FLOPS regularization, which balances the usage of latents (`retrieval`)."""
    threshold_weight: float = 0.0
    """lambda_T of the HT paper: learn thresholds for documents and queries, below which features are dropped, so `k`
    and `k_query` become upper bounds; 0 keeps a fixed number (`retrieval`)."""
    document_lexical_scale: float = 0.07
    """Weight of document tokens; 0 for latents alone (`retrieval`, if there are texts). Higher weights improve the
    ranking by features, but in long texts tokens displace latents, which find dense neighbours."""
    query_lexical_scale: float = 0.12
    """Weight of query tokens. The product with `document_lexical_scale` is the weight of BM25 in the teacher's score;
    0.006 to 0.008 had the best NDCG@10 on the training queries of four corpora."""
    alpha_mse: float = 1.0
    """alpha_1 of the paper's eq. 3: weight of the reconstruction loss (`paper`)."""
    alpha_distance: float = math.nan
    """alpha_2 of the paper's eq. 1 and 3: weight of the distance loss; by default 1 (`paper`), or 30,000 as in the
    earlier work (`ivae`)."""
    alpha_elbo: float = 1e-4
    """alpha_1 of the paper's eq. 1 (`ivae`)."""
    alpha_flops: float = 5.0
    """alpha_3 of the paper's eq. 1 (`ivae`)."""
    validation_queries: int = 1_000
    """Queries held out for validation, at most a tenth."""
    validations: int = 6
    """Number of validations, evenly spaced over the steps."""
    patience: int | None = 3
    """Validations without improvement before training stops; the best weights are kept. None trains to the end and
    keeps the last weights. Always None with learned thresholds, because quality alone would select the lowest ones."""
    max_seconds: float | None = None
    """Maximum duration; the learning rate then depends on the time instead of the steps."""
    seed: int = 0
    """Seed of the weights, the batches and the held-out queries."""

    def unread(self) -> dict[str, str]:
        """Settings without effect in this recipe, with the reason."""
        return {
            name: f"the recipe {self.recipe} does not use it, {' and '.join(recipes)} would"
            for name, recipes in _READ_BY.items()
            if self.recipe not in recipes
        }

    @property
    def inits_from_documents(self) -> bool:
        """Whether latents are initialized with centroids of documents."""
        return self.recipe == "retrieval" and self.init == "documents"

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
            raise ValueError(f"the recipe {self.recipe} does not learn thresholds; leave threshold_weight at 0.")
        if self.train_k_query and min(self.train_k_query) < 1:
            raise ValueError(f"train_k_query must be at least 1, got {self.train_k_query}.")
        if self.threshold_weight:
            object.__setattr__(self, "patience", None)
        if not self.train_k_query:
            object.__setattr__(self, "train_k_query", (self.k, max(1, self.k_query // 2)))
        if math.isnan(self.alpha_distance):
            object.__setattr__(self, "alpha_distance", 30_000.0 if self.recipe == "ivae" else 1.0)
        counts = {"k": self.k, "k_query": self.k_query, "train_k_query": max(self.train_k_query)}
        for name, count in counts.items():
            if count > self.num_latents:
                raise ValueError(
                    f"{name} {count} exceeds num_latents {self.num_latents}; lower {name} or raise num_latents."
                )
        if self.recipe == "ivae" and self.num_latents % 2:
            raise ValueError(
                f"num_latents must be even with ivae, which has two features per latent, got {self.num_latents}."
            )
        if self.recipe == "retrieval" and self.batch_size % self.neighbours_per_seed:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of {self.neighbours_per_seed} (neighbours_per_seed), "
                "because a batch consists of neighbourhoods."
            )
