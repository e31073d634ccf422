"""Settings of `ksparse train splade`, stored with the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from connector.encoders.threshold_rules import THRESHOLD_RULES, ThresholdRule
from connector.training.ranges import check_ranges

MIN_QUERIES = 10

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
    """Settings of a SPLADE model; defaults are those of the HT paper, if it names them.

    Raises:
        ValueError: A setting is out of range, or the method or rule is unknown.
    """

    method: Method = "ht"
    """`splade`: no thresholds. `dt`: thresholds by the Gauss error function. `topk`: the largest `k` weights of each
    document. `ht`: hybrid thresholding."""
    query_rule: ThresholdRule | None = None
    """How queries are thresholded (`Thresholding`); None depends on the method."""
    document_rule: ThresholdRule | None = None
    """How documents are thresholded; None depends on the method."""
    steepness: float = 25.0
    """Steepness K of eq. 1."""
    k: int = 100
    """Weights kept per document (`topk`)."""
    idf: bool = False
    """Weight query features by their IDF in the corpus (`QueryIdf`), before thresholds."""
    self_distillation: float = 0.0
    """Weight of the initial model's own scores in the teacher's, 0 to 1. A SPLADE represents words that a dense
    embedding loses, and forgets them with the dense model as the only teacher."""
    lambda_q: float = 0.01
    """Weight of L_Q, the mean sum of a query's weights; higher keeps fewer features."""
    lambda_d: float = 0.008
    """Weight of L_D, the FLOPS regularizer of documents; higher keeps fewer features."""
    lambda_t: float = 1.0
    """Weight of L_T, which raises the thresholds (`ht`, `dt`)."""
    steps: int = 20_000
    """Number of steps."""
    batch_size: int = 16
    """Queries per step, from one corpus, each with its positive."""
    negatives: int = 1
    """Hard negatives per query, in addition to the documents of the other queries."""
    negative_depth: int = 50
    """Number of the teacher's first hits from which hard negatives are sampled."""
    max_length: int = 128
    """Maximum number of tokens of a text in training; afterwards the model's own limit applies."""
    learning_rate: float = 2e-5
    """Learning rate of Adam: a warm-up over the first hundredth of the steps, then linear decay to 0."""
    threshold_learning_rate: float = 2e-3
    """Learning rate of the thresholds. Adam changes a parameter by about its learning rate per step, so with that of
    the weights, thresholds would take tens of thousands of steps."""
    freeze_embeddings: bool = False
    """Freeze the token embeddings, which are also the output layer."""
    validation_queries: int = 200
    """Queries held out for validation, at most a tenth."""
    validation_documents: int = 500
    """Documents searched in validation; encoding them takes as long as about ten steps."""
    validations: int = 4
    """Number of validations, evenly spaced."""
    max_seconds: float | None = None
    """Maximum duration; the learning rate then depends on the time instead of the steps."""
    seed: int = 0
    """Seed of the batches, the dropout and the held-out queries."""

    @property
    def patience(self) -> None:
        """None: the last weights are kept, because quality alone would select the first, without thresholds."""
        return None

    def unread(self) -> dict[str, str]:
        """Settings without effect in this method, with the reason."""
        names = [] if self.method == "topk" else ["k"]
        names += [] if self.method in _RULES else ["steepness", "lambda_t", "threshold_learning_rate"]
        return dict.fromkeys(names, f"the method {self.method} does not use it")

    @property
    def rules(self) -> tuple[ThresholdRule, ThresholdRule] | None:
        """Threshold rules of queries and documents; None for a method without thresholds."""
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
        if not 0 <= self.self_distillation <= 1:
            raise ValueError(f"self_distillation must be from 0 to 1, got {self.self_distillation}.")
        lambdas = ("lambda_q", "lambda_d", "lambda_t")
        check_ranges(self, at_least_one=_AT_LEAST_ONE, above_zero=_ABOVE_ZERO, at_least_zero=lambdas)
