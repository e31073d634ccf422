"""Validate a SPLADE model on held-out queries: quality and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from connector.encoders.idf import QueryIdf
from connector.encoders.text import TextEncoder
from connector.encoders.thresholds import Thresholding
from connector.evaluation.exact import document_frequencies, exact_search, exact_sparse_search, postings_read
from connector.training.distillation import DistillationCorpus
from connector.training.validation import known_item_gains
from connector.vectors.statistics import CorpusStatistics


@dataclass(frozen=True, slots=True)
class SpladeResult:
    """Results on held-out queries, each searched in a sample of its corpus.

    Attributes:
        step: Number of steps before the validation.
        ndcg: NDCG@10 of the relevant documents.
        teacher_ndcg: The same for the teacher's ranking.
        dlen: Mean number of weights per document.
        qlen: Mean number of weights per query.
        postings: Postings that a query reads, per document of the corpus.
        document_threshold: t_D; 0 without thresholds.
        query_threshold: t_Q; 0 without thresholds.
    """

    step: int
    ndcg: float
    teacher_ndcg: float
    dlen: float
    qlen: float
    postings: float
    document_threshold: float
    query_threshold: float

    @property
    def score(self) -> float:
        """NDCG@10; only recorded, since a run keeps its last weights."""
        return self.ndcg


def validate(
    encoder: TextEncoder, corpora: Sequence[DistillationCorpus], step: int
) -> tuple[SpladeResult, dict[str, CorpusStatistics]]:
    """Search all held-out queries exactly.

    Returns:
        The result, and the statistics of features in each corpus's sample of documents, by its name. A model with
        `QueryIdf` uses them for queries.
    """
    idf = next((module for module in encoder.model if isinstance(module, QueryIdf)), None)
    statistics: dict[str, CorpusStatistics] = {}
    gains: list[float] = []
    teacher_gains: list[float] = []
    dlens: list[int] = []
    qlens: list[int] = []
    postings: list[float] = []
    for corpus in corpora:
        names = [str(row) for row in range(len(corpus.source.documents))]
        documents = encoder.encode_document(corpus.source.documents)
        statistics[corpus.source.name] = CorpusStatistics.measure_features(documents, encoder.num_latents)
        if idf is not None:
            idf.use_statistics(statistics[corpus.source.name])
        queries = encoder.encode_query(corpus.source.queries)
        found = exact_sparse_search(documents, queries, names, encoder.num_latents, 10)
        of_teacher = exact_search(corpus.teacher.documents, corpus.teacher.queries, names, 10)
        gains += known_item_gains(found, corpus.source.positives)
        teacher_gains += known_item_gains(of_teacher, corpus.source.positives)
        dlens += documents.active_dims.tolist()
        qlens += queries.active_dims.tolist()
        read = postings_read(queries, document_frequencies(documents, encoder.num_latents))
        postings += (read / len(names)).tolist()
    thresholds = next((module for module in encoder.model if isinstance(module, Thresholding)), None)
    result = SpladeResult(
        step=step,
        ndcg=float(np.mean(gains)),
        teacher_ndcg=float(np.mean(teacher_gains)),
        dlen=float(np.mean(dlens)),
        qlen=float(np.mean(qlens)),
        postings=float(np.mean(postings)),
        document_threshold=thresholds.document_threshold.item() if thresholds is not None else 0.0,
        query_threshold=thresholds.query_threshold.item() if thresholds is not None else 0.0,
    )
    return result, statistics
