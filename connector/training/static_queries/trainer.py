"""Train a static query encoder: the mean of token embeddings, which approximates the dense model's embedding.

Documents keep their dense embeddings, so an index can be searched with either encoder. Outside of the server, the
transformer takes most of the time of a search; a lookup of token embeddings replaces it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from torch import Tensor, nn

from connector.encoders.fingerprint import digest_model
from connector.evaluation.exact import exact_search
from connector.training.checkpoint import Checkpoint, Objective
from connector.training.data import root_shares
from connector.training.distillation import DistillationCorpus, digest_texts, hold_out
from connector.training.loop import SAVE_EVERY_S, Progress, best_validation, train_loop
from connector.training.sources import check_queries
from connector.training.static_queries.settings import MIN_QUERIES, StaticSettings
from connector.training.validation import known_item_gains

_MAX_TOKENS = 128
_BLOCK = 1_024
_SIF = 1e-3
"""SIF weight of a token: a / (a + its document frequency as a fraction) (Arora et al. 2017)."""


@dataclass(frozen=True, slots=True)
class StaticResult:
    """Results on held-out queries, with exact search in a sample of their corpora.

    Attributes:
        step: Number of steps before the validation.
        ndcg: NDCG@10 of the relevant documents.
        teacher_ndcg: The same with the dense model's query embeddings.
        cosine: Mean cosine between both embeddings of a query.
    """

    step: int
    ndcg: float
    teacher_ndcg: float
    cosine: float

    @property
    def score(self) -> float:
        """Criterion for the best step."""
        return self.ndcg


@dataclass(frozen=True, slots=True)
class TrainedStatic:
    """A trained query encoder and its history.

    Attributes:
        model: The encoder: mean of token embeddings, normalized.
        best: The validation of its weights.
        losses: Mean loss before each validation.
        validations: Results on held-out queries.
        steps: Number of steps.
        elapsed_s: Duration of the run, including validations.
    """

    model: SentenceTransformer
    best: StaticResult
    losses: list[float]
    validations: list[StaticResult]
    steps: int
    elapsed_s: float


class _Tokens:
    """Concatenated token ids of n texts."""

    def __init__(self, module: StaticEmbedding, texts: Sequence[str]) -> None:
        encoded = module.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        # An empty bag would have no mean.
        rows = [encoding.ids[:_MAX_TOKENS] or [0] for encoding in encoded]
        self.ids = np.fromiter((token for row in rows for token in row), dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])

    def bags(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Token ids and offsets for `nn.EmbeddingBag`."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        offsets = np.cumsum(lengths) - lengths
        places = np.repeat(self.starts[rows] - offsets, lengths) + np.arange(lengths.sum())
        return torch.from_numpy(self.ids[places]), torch.from_numpy(offsets)


class StaticObjective(Objective):
    """Draws queries and documents of one corpus, and compares their embeddings with the teacher's.

    Args:
        embedding: Token embeddings.
        corpora: Corpora, sampled by the square root of their number of queries.
        tokens: Tokens of the queries and the documents of each corpus.
        settings: Settings of the run.
    """

    def __init__(
        self,
        embedding: nn.EmbeddingBag,
        corpora: Sequence[DistillationCorpus],
        tokens: Sequence[tuple[_Tokens, _Tokens]],
        settings: StaticSettings,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self._settings = settings
        self._drawn = [each for each in zip(corpora, tokens, strict=True) if each[0].source.queries]
        self._shares = root_shares([len(corpus.source.queries) for corpus, _ in self._drawn])
        self._random = np.random.default_rng(settings.seed)

    @property
    def generators(self) -> list[np.random.Generator]:
        """Random generators of the batches."""
        return [self._random]

    def loss(self) -> Tensor:
        """Return 1 - cosine for queries and documents, plus the KL divergence of the queries' rankings."""
        settings, random = self._settings, self._random
        corpus, (query_tokens, document_tokens) = self._drawn[random.choice(len(self._drawn), p=self._shares)]
        teacher = corpus.teacher
        rows = random.permutation(len(teacher.queries))[: settings.batch_size]
        others = random.integers(len(teacher.documents), size=len(rows))
        documents = torch.from_numpy(teacher.documents[np.concatenate([teacher.positives[rows], others])])
        of_queries = self._distances(query_tokens, rows, teacher.queries)
        targets = torch.from_numpy(teacher.queries[rows])
        scale = 1.0 / settings.temperature
        divergence = nn.functional.kl_div(
            torch.log_softmax(scale * of_queries[0] @ documents.T, dim=1),
            torch.log_softmax(scale * targets @ documents.T, dim=1),
            log_target=True,
            reduction="batchmean",
        )
        of_documents = self._distances(document_tokens, others[: (len(rows) + 1) // 2], teacher.documents)
        return of_queries[1] + settings.document_weight * of_documents[1] + settings.ranking_weight * divergence

    def _distances(
        self, tokens: _Tokens, rows: NDArray[np.int64], targets: NDArray[np.float32]
    ) -> tuple[Tensor, Tensor]:
        """Embeddings of some texts, and their mean cosine distance to the teacher's."""
        embedded = nn.functional.normalize(self.embedding(*tokens.bags(rows)), dim=1)
        return embedded, 1.0 - (embedded * torch.from_numpy(targets[rows])).sum(dim=1).mean()


def train_static(
    dense: SentenceTransformer,
    corpora: Sequence[DistillationCorpus],
    settings: StaticSettings,
    *,
    checkpoint: Path | None = None,
    save_every_s: float = SAVE_EVERY_S,
    progress: Progress | None = None,
) -> TrainedStatic:
    """Train token embeddings whose mean approximates the dense model's embedding of a query.

    They are initialized with the dense model's embedding of each token alone, scaled down for frequent tokens (SIF).

    Args:
        dense: The teacher, whose tokenizer is reused.
        corpora: Texts with the teacher's embeddings.
        settings: Settings of the run.
        checkpoint: File in which the state is saved. If it exists, the run resumes from it; deleted at the end.
        save_every_s: Seconds between two checkpoints.
        progress: Called with the current task and its completed fraction.

    Raises:
        EncoderError: There are too few queries, the loss is not finite, or the checkpoint belongs to another run.
    """
    check_queries([corpus.source for corpus in corpora], MIN_QUERIES)
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    report = progress or (lambda _task, _share: None)
    module = StaticEmbedding(copy.deepcopy(dense.tokenizer), _embed_tokens(dense, report))
    left, held = hold_out(corpora, settings.validation_queries, settings.validation_documents, settings.seed)
    tokens = [(_Tokens(module, each.source.queries), _Tokens(module, each.source.documents)) for each in left]
    _apply_sif(module.embedding, [documents for _, documents in tokens])
    model = SentenceTransformer(modules=[module, Normalize()], device="cpu")
    objective = StaticObjective(module.embedding, left, tokens, settings)
    # In each step, few of 30,522 rows have a gradient.
    module.embedding.sparse = True
    optimizer = torch.optim.SparseAdam(list(objective.parameters()), lr=settings.learning_rate)
    store = Checkpoint(
        checkpoint, settings, StaticResult, dense_model=digest_model(dense), corpus=digest_texts(corpora)
    )
    run = store.load(objective, optimizer)
    train_loop(
        objective,
        optimizer,
        settings,
        run,
        checkpoint=store,
        loss_at=lambda _done: objective.loss(),
        validate=lambda steps: _validate(model, held, steps),
        report=report,
        save_every_s=save_every_s,
    )
    objective.load_state_dict(run.best)
    store.clear()
    return TrainedStatic(
        model=model.eval(),
        best=best_validation(run.validations, settings),
        losses=run.losses,
        validations=run.validations,
        steps=run.steps,
        elapsed_s=time.monotonic() - started,
    )


@torch.no_grad()
def _embed_tokens(dense: SentenceTransformer, report: Progress) -> Tensor:
    """Embed each token of a model's vocabulary as a text: (vocabulary, dim)."""
    count = len(dense.tokenizer)
    around = dense.tokenizer("")["input_ids"]
    made = []
    for start in range(0, count, _BLOCK):
        rows = [[*around[:1], token, *around[1:]] for token in range(start, min(start + _BLOCK, count))]
        ids = torch.tensor(rows, device=dense.device)
        made.append(dense({"input_ids": ids, "attention_mask": torch.ones_like(ids)})["sentence_embedding"].cpu())
        report("embedding tokens", min(1.0, (start + _BLOCK) / count))
    return torch.cat(made)


def _apply_sif(embedding: nn.EmbeddingBag, documents: Sequence[_Tokens]) -> None:
    """Multiply each token's embedding by its SIF weight."""
    counts = np.zeros(embedding.num_embeddings)
    total = 0
    for each in documents:
        texts = len(each.starts) - 1
        occurs = csr_matrix((np.ones(len(each.ids), bool), each.ids, each.starts), shape=(texts, len(counts)))
        occurs.sum_duplicates()
        counts += occurs.getnnz(axis=0)
        total += texts
    with torch.no_grad():
        embedding.weight *= torch.from_numpy(_SIF / (_SIF + counts / total)).float().unsqueeze(1)


def _validate(model: SentenceTransformer, corpora: Sequence[DistillationCorpus], step: int) -> StaticResult:
    gains: list[float] = []
    teacher_gains: list[float] = []
    cosines: list[float] = []
    for corpus in corpora:
        names = [str(row) for row in range(len(corpus.source.documents))]
        embedded = model.encode(list(corpus.source.queries), show_progress_bar=False)
        found = exact_search(corpus.teacher.documents, embedded, names, 10)
        of_teacher = exact_search(corpus.teacher.documents, corpus.teacher.queries, names, 10)
        gains += known_item_gains(found, corpus.source.positives)
        teacher_gains += known_item_gains(of_teacher, corpus.source.positives)
        cosines += (embedded * corpus.teacher.queries).sum(axis=1).tolist()
    return StaticResult(step, float(np.mean(gains)), float(np.mean(teacher_gains)), float(np.mean(cosines)))
