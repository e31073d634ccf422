"""Tables 1 to 3 of the HT paper (Qiao et al. 2023), with models trained here, on a live OpenSearch.

The paper trains on MS MARCO and searches with PISA. Here, corpora can be chosen and the index is `rank_features`, so
only ratios to the table's SPLADE are comparable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import EncodedSet, encode_by
from benchmarks.static_pruning import cut, document_centric_pruning
from benchmarks.systems.base import System
from benchmarks.systems.guided import Guided
from benchmarks.systems.rank_features import RankFeatures, document_shares, searched_features
from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder
from connector.encoders.threshold_rules import ThresholdRule
from connector.encoders.thresholds import Thresholding
from connector.query.pruning import Pruning
from connector.training.distillation import DistillationCorpus
from connector.training.splade.card import save_splade
from connector.training.splade.settings import SpladeSettings
from connector.training.splade.trainer import train_splade
from connector.types import SparseVectors
from connector.vectors.storage import find_weight_exponent

DEPTHS = (10, 1_000)
_WINDOW = 100

Prune = Callable[[SparseVectors], SparseVectors]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        name: Name in the paper.
        settings: Training settings that differ from the paper's default, HT with lambda_T = 1.
        prune: Pruning of documents after training.
        indexed_as: Threshold rule for indexing documents, if it differs from training.
        guided: Search with `Guided`.
        idf: Weight query features by IDF, although the model was trained without.
        budget: Posting budget of a query, relative to the number of documents.
        paper: The paper's figures: `mrr@10`, `mean_ms@10`, `mean_ms@1000`, `dlen` and, in Table 3, `qlen`.
    """

    name: str
    settings: Mapping[str, Any]
    paper: Mapping[str, float]
    prune: Prune | None = None
    indexed_as: ThresholdRule | None = None
    guided: bool = False
    idf: bool = False
    budget: float | None = None


def _paper(mrr: float, at_10: float, at_1000: float, dlen: float, qlen: float | None = None) -> dict[str, float]:
    figures = {"mrr@10": mrr, "mean_ms@10": at_10, "mean_ms@1000": at_1000, "dlen": dlen}
    return figures if qlen is None else figures | {"qlen": qlen}


_SPLADE: dict[str, Any] = {"method": "splade"}
_HT3: dict[str, Any] = {"lambda_t": 3.0}
_SELF_DISTILLATION: dict[str, Any] = {"lambda_t": 10.0, "idf": True, "self_distillation": 0.8}

TABLE_1 = (
    Row("SPLADE", _SPLADE, _paper(0.3966, 48.3, 127, 351)),
    Row("DT", {"method": "dt"}, _paper(0.3922, 102, 262, 444)),
    Row("Top305", {"method": "topk", "k": 305}, _paper(0.3962, 42.4, 114, 277)),
    Row("Top100", {"method": "topk", "k": 100}, _paper(0.3908, 21.8, 62.5, 99)),
    Row("DCP50%", _SPLADE, _paper(0.3958, 30.0, 83.9, 175), partial(document_centric_pruning, share=0.5)),
    Row("DCP40%", _SPLADE, _paper(0.3933, 25.9, 73.3, 140), partial(document_centric_pruning, share=0.4)),
    Row("DCP30%", _SPLADE, _paper(0.3912, 21.6, 61.8, 105), partial(document_centric_pruning, share=0.3)),
    Row("Cut0.5", _SPLADE, _paper(0.3924, 21.9, 62.6, 144), partial(cut, threshold=0.5)),
    Row("Cut0.8", _SPLADE, _paper(0.3885, 15.6, 43.8, 112), partial(cut, threshold=0.8)),
    Row("HT1", {}, _paper(0.3955, 22.8, 62.3, 140)),
    Row("HT3", _HT3, _paper(0.3942, 14.2, 40.6, 106)),
    Row("HT1", {}, _paper(0.3959, 10.0, 27.6, 140), guided=True),
    Row("HT3", _HT3, _paper(0.3942, 6.9, 19.3, 106), guided=True),
)

TABLE_2 = (
    Row("SPLADE", _SPLADE, {"ndcg@10": 0.498}),
    Row("HT1", {}, {"ndcg@10": 0.497}),
    Row("HT3", _HT3, {"ndcg@10": 0.494}),
)
"""The paper's figures are averages over 13 sets."""

TABLE_3 = (
    Row("phi[Q], S[D]", {"query_rule": "none", "document_rule": "soft"}, _paper(0.3941, 31.7, 91.5, 145, 14.3)),
    Row("phi[Q], HH[D]", {"query_rule": "none"}, _paper(0.3942, 24.1, 70.7, 142, 13.5)),
    Row("S[Q], HH[D], K = 25", {}, _paper(0.3955, 22.8, 62.3, 140, 11.3)),
    Row("HH[Q], HH[D]", {"query_rule": "hard"}, _paper(0.3904, 24.9, 62.6, 142, 9.0)),
    Row("HH[D], K = 2.5", {"steepness": 2.5}, _paper(0.3947, 22.8, 62.6, 149, 11.5)),
    Row("H[D], K = 2.5", {"steepness": 2.5}, _paper(0.3963, 41.4, 112, 421, 11.5), indexed_as="sigmoid"),
    Row("H[D], K = 25", {}, _paper(0.3961, 28.7, 76.9, 208, 11.3), indexed_as="sigmoid"),
    Row("HH[D], K = 250", {"steepness": 250.0}, _paper(0.3946, 21.9, 60.5, 135, 11.2)),
    Row("H[D], K = 250", {"steepness": 250.0}, _paper(0.3947, 23.1, 63.9, 159, 11.2), indexed_as="sigmoid"),
    Row("w/o L_Q", {"lambda_q": 0.0}, _paper(0.3956, 56.2, 166, 138, 20.1)),
    Row("w/o L_Q, L_D", {"lambda_q": 0.0, "lambda_d": 0.0}, _paper(0.3954, 99.4, 254, 421, 25.9)),
)

IDF = (
    Row("SPLADE", _SPLADE, {}),
    Row("SPLADE, at most 0.2 N", _SPLADE, {}, budget=0.2),
    Row("SPLADE, idf", _SPLADE, {}, idf=True),
    Row("SPLADE, idf, at most 0.2 N", _SPLADE, {}, idf=True, budget=0.2),
    Row("DCP30%", _SPLADE, {}, partial(document_centric_pruning, share=0.3)),
    Row("Cut0.8", _SPLADE, {}, partial(cut, threshold=0.8)),
    Row("HT3", _HT3, {}),
    Row("HT10", {"lambda_t": 10.0}, {}),
    Row("HT10, idf, self-taught", _SELF_DISTILLATION, {}),
    Row("HT10, idf, self-taught, at most 0.2 N", _SELF_DISTILLATION, {}, budget=0.2),
    Row("HT10, idf, self-taught, DCP50%", _SELF_DISTILLATION, {}, partial(document_centric_pruning, share=0.5)),
    Row("HT30, idf, self-taught", _SELF_DISTILLATION | {"lambda_t": 30.0}, {}),
)
"""Rows that are not in the paper."""

TABLES = {"ht-table1": TABLE_1, "ht-table2": TABLE_2, "ht-table3": TABLE_3, "ht-idf": IDF}


@dataclass(frozen=True, slots=True)
class Models:
    """Trained models, stored in a folder that the tables share, and encoded sets.

    Attributes:
        corpora: Training corpora.
        start: Folder or name of the initial SPLADE.
        teacher: Name of the dense teacher.
        base: Settings of all models.
        folder: Folder of the models.
        report: Called with the current task and its completed fraction.
    """

    corpora: Sequence[DistillationCorpus]
    start: str
    teacher: str
    base: SpladeSettings
    folder: Path
    report: Callable[[str, float], None]
    _encoded: dict[tuple[Path, str | None, bool], tuple[TextEncoder, SparseVectors, SparseVectors]] = field(
        default_factory=dict
    )

    def train(self, row: Row) -> Path:
        """Train the model of a row, or load the one trained with the same settings."""
        settings = replace(self.base, **row.settings)
        counts = {corpus.source.name: corpus.counts for corpus in self.corpora}
        facts = json.dumps([asdict(settings), self.start, self.teacher, counts])
        folder = self.folder / hashlib.sha256(facts.encode()).hexdigest()[:16]
        if not (folder / "training.json").is_file():
            trained = train_splade(
                load_encoder(self.start).model,
                self.corpora,
                settings,
                checkpoint=folder / "checkpoint.pt",
                progress=lambda what, done: self.report(f"{what}: {row.name}", done),
            )
            save_splade(trained, folder, settings, start=self.start, teacher=self.teacher, data=counts)
        return folder

    def encode(self, row: Row, data: EncodedSet) -> tuple[TextEncoder, SparseVectors, SparseVectors]:
        """Encode a set with the model of a row, and prune documents."""
        key = self.train(row), row.indexed_as, row.idf
        if key not in self._encoded:
            encoder = load_encoder(str(key[0]))
            for module in encoder.model:
                if isinstance(module, Thresholding) and row.indexed_as is not None:
                    module.document = row.indexed_as
            self.report(f"encoding for {row.name}", 0.0)
            self._encoded[key] = encode_by(encoder, data, key[0], idf=row.idf)
            self.report(f"encoding for {row.name}", 1.0)
        encoder, documents, queries = self._encoded[key]
        return encoder, row.prune(documents) if row.prune else documents, queries


def systems_of(rows: Sequence[Row], models: Models, data: EncodedSet, prefix: str) -> list[System]:
    """Return the systems of all rows at the first depth, then at the next.

    Args:
        rows: Rows of a table, SPLADE first.
        models: Models of the table.
        data: The judged set.
        prefix: Prefix of index names.
    """
    systems: list[list[System]] = [[] for _ in DEPTHS]
    for number, row in enumerate(rows):
        encoder, documents, queries = models.encode(row, data)
        for depth, at_depth in zip(DEPTHS, systems, strict=True):
            features = RankFeatures(
                f"{prefix}-{number}",
                encoder.fingerprint,
                k_query=queries.features.shape[1],
                weight_exponent=find_weight_exponent(documents.weights, margin=1),
                vectors=(documents, queries),
                name=row.name,
                top_k=depth,
                pruning=_pruning(row),
            )
            at_depth.append(Guided(features, max(_WINDOW, depth)) if row.guided else features)
    return [system for at_depth in systems for system in at_depth]


def _pruning(row: Row) -> Pruning:
    return Pruning() if row.budget is None else Pruning("posting_budget", row.budget)


def to_rows(
    rows: Sequence[Row], models: Models, data: EncodedSet, measured: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Combine the measurements at each depth to rows of the table.

    Args:
        rows: As in `systems_of`.
        models: As in `systems_of`.
        data: As in `systems_of`.
        measured: Rows of `compare` without exact search, in the order of `systems_of`.
    """
    table = []
    for number, row in enumerate(rows):
        _, documents, queries = models.encode(row, data)
        depths = [measured[number + len(rows) * which] for which in range(len(DEPTHS))]
        joined: dict[str, Any] = {"system": depths[0]["system"]}
        for key in ("mrr@10", "ndcg@10", "ndcg_difference_interval", "index_bytes", "postings_per_document"):
            joined |= {key: depths[0][key]} if key in depths[0] else {}
        searched = searched_features(
            queries, queries.features.shape[1], _pruning(row), partial(document_shares, documents, None)
        )
        joined |= {
            "qlen": float(np.mean([len(features) for features in searched])),
            "dlen": float(np.mean(documents.active_dims)),
        }
        for depth, at_depth, first in zip(DEPTHS, depths, measured[:: len(rows)], strict=True):
            joined |= {f"{key}@{depth}": at_depth[key] for key in ("mean_ms", "p50_ms", "p99_ms")}
            joined[f"mean_ratio@{depth}"] = at_depth["mean_ms"] / first["mean_ms"]
        table.append(joined | {"paper": dict(row.paper)})
    return table
