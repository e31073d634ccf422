"""How well a SPLADE model finds what held-out queries ask for, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from connector.encoders.idf import QueryIdf
from connector.encoders.text import TextEncoder
from connector.encoders.thresholds import Thresholding
from connector.evaluation.exact import document_frequencies, exact_search, exact_sparse_search, postings_read
from connector.training.distillation import TaughtCorpus
from connector.training.validation import known_item_gains
from connector.vectors.statistics import CorpusStatistics


@dataclass(frozen=True, slots=True)
class SpladeResult:
    """Of the held-out queries, each searched in a sample of its own corpus.

    Attributes:
        step: Steps taken before.
        ndcg: NDCG@10 of the documents that the queries ask for.
        teacher_ndcg: The same of the teacher's ranking.
        dlen: Mean number of a document's weights above 0.
        qlen: The same of a query.
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
        """For the record; a run keeps its last weights."""
        return self.ndcg


def validate(
    encoder: TextEncoder, corpora: Sequence[TaughtCorpus], step: int
) -> tuple[SpladeResult, dict[str, CorpusStatistics]]:
    """Search all held-out queries, exactly, with the encoder as it is.

    Returns:
        What is found; and, from the name of a corpus, the idf of features in its sample of documents. A model with
        `QueryIdf` gets it before it encodes queries.
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
        taught = exact_search(corpus.teacher.documents, corpus.teacher.queries, names, 10)
        gains += known_item_gains(found, corpus.source.positives)
        teacher_gains += known_item_gains(taught, corpus.source.positives)
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
