"""Everything that decides what a SPLADE training run yields, as one value that is stored beside its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from connector.encoders.threshold_rules import THRESHOLD_RULES, ThresholdRule
from connector.training.ranges import check_ranges

FEWEST_QUERIES = 10

Method = Literal["splade", "dt", "topk", "ht"]
METHODS: tuple[Method, ...] = get_args(Method)

_RULES: dict[Method, tuple[ThresholdRule, ThresholdRule]] = {"ht": ("soft", "hard"), "dt": ("gauss", "gauss")}

_AT_LEAST_ONE = (
    "k", "steps", "batch_size", "negatives", "negative_depth", "max_length", "validation_queries",
    "validation_documents", "validations",
)  # fmt: skip
_ABOVE_ZERO = ("steepness", "learning_rate", "threshold_learning_rate")


@dataclass(frozen=True, slots=True)
class SpladeSettings:
    """Settings of a run; defaults are the HT paper's where it gives any.

    Raises:
        ValueError: A setting is out of range, or there is no such method or rule.
    """

    method: Method = "ht"
    """`splade`: no thresholds. `dt`: thresholds by the Gauss error function. `topk`: the largest `k` weights of each
    document. `ht`: hybrid thresholding."""
    query_rule: ThresholdRule | None = None
    """How queries are thresholded (`Thresholding`); by the method if None."""
    document_rule: ThresholdRule | None = None
    """How documents are thresholded; by the method if None."""
    steepness: float = 25.0
    """K of eq. 1."""
    k: int = 100
    """Weights kept of each document (`topk`)."""
    idf: bool = False
    """Weigh queries by the idf of features in their own corpus (`QueryIdf`), before thresholds."""
    self_taught: float = 0.0
    """Share of the start's own scores in what is taught, the dense teacher's being the rest. A SPLADE knows words that
    an embedding has lost, and forgets them where the embedding alone teaches it."""
    lambda_q: float = 0.01
    """Weight of L_Q, the mean sum of a query's weights."""
    lambda_d: float = 0.008
    """Weight of L_D, the FLOPS of documents."""
    lambda_t: float = 1.0
    """Weight of L_T, which raises the thresholds (`ht`, `dt`)."""
    steps: int = 20_000
    """Updates of the weights."""
    batch_size: int = 16
    """Queries of a step, of one corpus; each brings the document that it asks for."""
    negatives: int = 1
    """Mined documents of each query, beside those of the others."""
    negative_depth: int = 50
    """Mined documents are drawn from that many which the teacher ranks first."""
    max_length: int = 128
    """Tokens that a text is cut after in training; afterwards the model reads as many as before."""
    learning_rate: float = 2e-5
    """Of Adam, after a warm-up over the first hundredth of the steps, falling linearly to 0."""
    threshold_learning_rate: float = 2e-3
    """The same of the thresholds, which Adam moves by about that much a step. At the weights' own rate they would take
    tens of thousands of steps to get anywhere."""
    freeze_embeddings: bool = False
    """Leave the token embeddings, which are the output layer as well, as they are."""
    validation_queries: int = 200
    """Training queries that are held out for validation, at most a tenth of all."""
    validation_documents: int = 500
    """Documents that they are searched in; to encode them takes as long as about ten steps."""
    validations: int = 4
    """Times that the held-out queries are searched, evenly spread."""
    max_seconds: float | None = None
    """Train no longer than this; the learning rate then falls with the time, not with the steps."""
    seed: int = 0
    """Of the batches, the dropout and the held-out queries."""

    @property
    def patience(self) -> None:
        """The last weights are kept: quality alone would choose the first, which have no thresholds yet."""
        return None

    def unread(self) -> dict[str, str]:
        """The settings that the method does not read, and why."""
        names = [] if self.method == "topk" else ["k"]
        names += [] if self.method in _RULES else ["steepness", "lambda_t", "threshold_learning_rate"]
        return dict.fromkeys(names, f"the method {self.method} does not read it")

    @property
    def rules(self) -> tuple[ThresholdRule, ThresholdRule] | None:
        """The rules of queries and documents; None for a method without thresholds."""
        own = _RULES.get(self.method)
        return None if own is None else (self.query_rule or own[0], self.document_rule or own[1])

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}.")
        for name in ("query_rule", "document_rule"):
            rule = getattr(self, name)
            if rule is not None and rule not in THRESHOLD_RULES:
                raise ValueError(f"{name} must be one of {', '.join(THRESHOLD_RULES)}, got {rule!r}.")
            if rule is not None and self.method not in _RULES:
                raise ValueError(f"the method {self.method} has no thresholds; leave {name} out or choose ht.")
        if not 0 <= self.self_taught <= 1:
            raise ValueError(f"self_taught must be a share, 0 to 1, got {self.self_taught}.")
        lambdas = ("lambda_q", "lambda_d", "lambda_t")
        check_ranges(self, at_least_one=_AT_LEAST_ONE, above_zero=_ABOVE_ZERO, at_least_zero=lambdas)
