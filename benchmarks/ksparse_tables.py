"""Tables 1 to 3 of the K-sparse paper (Dobrynin 2025), with heads trained here. Needs no server.

The paper trains on 300,000 documents of MS MARCO for msmarco-distilbert-dot-v5. Here, corpora and dense model can be
chosen, so only figures relative to dense quality are comparable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.datasets import Embed, EncodedSet, encode_set
from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.base_model import find_base_model, load_base_model
from connector.encoders.ivae import IdentifiableVAE
from connector.encoders.load import join, load_head
from connector.encoders.text import TextEncoder
from connector.evaluation.exact import document_frequencies, exact_search, exact_sparse_search, postings_read
from connector.evaluation.metrics import evaluate_run, share
from connector.training.data import TrainingData
from connector.training.heads.card import save_head
from connector.training.heads.settings import TrainingSettings
from connector.training.heads.trainer import train_head
from connector.types import Hit

TABLE_2 = {100: 0.41, 200: 0.50, 300: 0.53, 400: 0.54, 500: 0.56, 600: 0.57}
"""NDCG@10 of the paper by k."""
TABLE_3 = {(0.0, 1.0): 0.5720, (1.0, 0.0): 0.0062, (0.5, 1.0): 0.5606, (1.0, 0.5): 0.5694, (1.0, 1.0): 0.5696}
"""NDCG@10 of the paper by (alpha_1, alpha_2)."""
_DENSE_OF_PAPER, _IVAE_OF_PAPER = 0.59, 0.51


@dataclass(frozen=True, slots=True)
class Bench:
    """Data and settings of the tables.

    Attributes:
        data: Training documents; its queries are only for validation.
        test: The judged set, a BEIR folder.
        base_model: Name of the dense model.
        embed: Embeds texts with this model, with a cache.
        heads: Folder for trained heads, which the tables share.
        steps: Training steps of each head.
        report: Called with the current task and its completed fraction.
        latents: Number of latents.
        k: Features per text.
        by_k: NDCG@10 of the paper's Table 2 by k.
    """

    data: TrainingData
    test: Path
    base_model: str
    embed: Embed
    heads: Path
    steps: int
    report: Callable[[str, float], None]
    latents: int = 3_000
    k: int = 600
    by_k: Mapping[int, float] = field(default_factory=lambda: TABLE_2)

    def settings(self, **changed: Any) -> TrainingSettings:  # noqa: ANN401
        """The paper's settings with changes."""
        paper: dict[str, Any] = {"recipe": "paper", "num_latents": self.latents, "k": self.k, "k_query": self.k}
        return TrainingSettings(
            **(paper | {"steps": self.steps, "validations": 1, "validation_queries": 100} | changed)
        )

    def encoder(self, settings: TrainingSettings) -> TextEncoder:
        """Train a head, or load the one trained with the same settings on the same data."""
        facts = [asdict(settings), self.base_model, len(self.data.documents), float(self.data.documents[::97].sum())]
        folder = self.heads / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        if not (folder / "config.json").is_file():
            name = f"{settings.recipe}, k = {settings.k}, alphas {settings.alpha_mse:g} and {settings.alpha_distance:g}"
            trained = train_head(
                self.data,
                settings,
                base_model=self.base_model,
                progress=lambda what, done: self.report(f"{what}: {name}", done),
            )
            save_head(trained, folder, settings, data={"all": {"documents": len(self.data.documents), "queries": 0}})
        return self._behind_dense(load_head(folder))

    def untrained(self) -> TextEncoder:
        """A head with random directions, to measure what TopK preserves by itself."""
        torch.manual_seed(0)
        head = KSparseAutoEncoder(
            self.data.documents.shape[1], self.latents, self.k, base_model=self.base_model, normalize=True
        ).eval()
        return self._behind_dense(head)

    def _behind_dense(self, head: KSparseAutoEncoder) -> TextEncoder:
        return TextEncoder(join(load_base_model(find_base_model(self.base_model), "cpu"), head))

    def encode(self, encoder: TextEncoder) -> EncodedSet:
        """Encode the judged set."""
        return encode_set(self.test, encoder, self.embed, k_doc=encoder.k, k_query=encoder.k or self.k, calibrate=False)


def table_1(bench: Bench) -> list[dict[str, Any]]:
    """Quality of the earlier method, of K-sparse and of the dense model."""
    earlier = bench.settings(recipe="ivae", num_latents=2 * bench.latents, batch_size=384, learning_rate=1e-4)
    ivae, sparse = bench.encode(bench.encoder(earlier)), bench.encode(bench.encoder(bench.settings()))
    random = bench.encode(bench.untrained())
    dense = _dense_ndcg(sparse)
    rows = [
        {"system": "iVAE, signed values", "paper": _IVAE_OF_PAPER, "ndcg@10": _signed_ndcg(ivae, bench.latents)},
        {"system": "iVAE, as rank_features", **_measure(ivae)},
        {"system": "K-sparse", "paper": bench.by_k[bench.k], **_measure(sparse)},
        {"system": "K-sparse, not trained", **_measure(random)},
        {"system": "dense", "paper": _DENSE_OF_PAPER, "ndcg@10": dense},
    ]
    return _with_shares(rows, dense)


def table_2(bench: Bench) -> list[dict[str, Any]]:
    """Quality by k, with a head trained for each k."""
    sets = {k: bench.encode(bench.encoder(bench.settings(k=k, k_query=k))) for k in bench.by_k}
    rows = [
        {"k": k, "zeros": 1 - k / bench.latents, "paper": bench.by_k[k], **_measure(data)} for k, data in sets.items()
    ]
    return _with_shares(rows, _dense_ndcg(sets[bench.k]))


def table_3(bench: Bench) -> list[dict[str, Any]]:
    """Quality by the weights of the two loss terms."""
    base = bench.settings()
    sets = {
        alphas: bench.encode(bench.encoder(replace(base, alpha_mse=alphas[0], alpha_distance=alphas[1])))
        for alphas in TABLE_3
    }
    rows = [
        {"alpha_1": alphas[0], "alpha_2": alphas[1], "paper": TABLE_3[alphas], **_measure(data)}
        for alphas, data in sets.items()
    ]
    return _with_shares(rows, _dense_ndcg(sets[1.0, 1.0]))


TABLES = {1: table_1, 2: table_2, 3: table_3}


def _measure(data: EncodedSet) -> dict[str, float]:
    width = data.encoder.num_latents
    found = exact_sparse_search(data.document_vectors, data.query_vectors, data.doc_ids, width, 10)
    frequencies = document_frequencies(data.document_vectors, width)
    postings = float(postings_read(data.query_vectors, frequencies).mean()) / len(data.documents)
    return {"ndcg@10": _ndcg(data, found), "postings": postings}


def _signed_ndcg(data: EncodedSet, latents: int) -> float:
    """NDCG@10 with signed values, as in the earlier work; `rank_features` cannot store them."""
    assert isinstance(data.encoder.head, IdentifiableVAE)
    sides = []
    for vectors in (data.document_vectors, data.query_vectors):
        values = np.zeros((len(vectors.weights), latents), np.float32)
        signs = np.where(vectors.features < latents, 1.0, -1.0).astype(np.float32)
        np.put_along_axis(values, vectors.features % latents, vectors.weights * signs, axis=1)
        sides.append(values)
    return _ndcg(data, exact_search(sides[0], sides[1], data.doc_ids, 10))


def _dense_ndcg(data: EncodedSet) -> float:
    return _ndcg(data, exact_search(data.document_embeddings, data.query_embeddings, data.doc_ids, 10))


def _ndcg(data: EncodedSet, found: Sequence[list[Hit]]) -> float:
    ids = [query.query_id for query in data.judged.queries]
    return evaluate_run(dict(zip(ids, found, strict=True)), data.judged.qrels)["ndcg@10"]


def _with_shares(rows: Sequence[dict[str, Any]], dense: float) -> list[dict[str, Any]]:
    return [
        row
        | {"of dense": share(row["ndcg@10"], dense)}
        | ({"of dense, paper": row["paper"] / _DENSE_OF_PAPER} if "paper" in row else {})
        for row in rows
    ]
