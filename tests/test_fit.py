"""A head fitted to a corpus, with the tiny dense model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.load import join, load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import CorpusError, EncoderError
from connector.training.heads.fit import fit_head, latents_for
from tests.tiny import DIM, NUM_LATENTS, WORDS, K, build_splade


def texts(count: int) -> list[str]:
    """Two sentences each."""
    random = np.random.default_rng(0)
    return [f"{' '.join(random.choice(WORDS, 5))}. {' '.join(random.choice(WORDS, 5))}." for _ in range(count)]


@pytest.mark.parametrize("name", ["encoder", "lexical"])
def test_a_fitted_head_is_better_on_held_out_sentences(
    request: pytest.FixtureRequest, name: str, tmp_path: Path
) -> None:
    encoder: TextEncoder = request.getfixturevalue(name)
    reported: list[str] = []
    fitted = fit_head(
        encoder, texts(600), num_latents=NUM_LATENTS, steps=150, progress=lambda what, _share: reported.append(what)
    )
    stages = ["embedding documents", "embedding sentences", "finding neighbours", "initializing latents", "training"]
    assert list(dict.fromkeys(reported)) == stages
    assert (fitted.documents, fitted.queries) == (600, 600)
    assert fitted.trained.baseline is not None
    assert fitted.trained.best.score > fitted.trained.baseline.score
    fitted.save(tmp_path / "head", "mine")
    again = load_encoder(str(tmp_path / "head"), device="cpu")
    assert "| mine | 600 | 600 |" in (tmp_path / "head" / "README.md").read_text()
    assert again.statistics is not None and again.statistics.mean.any()
    assert (again.head is not None and again.head.lexical is not None) == (name == "lexical")
    [kept] = again.encode_document(["stars burn"]).active_dims.tolist()
    assert 1 <= kept <= K, "a latent that is not positive is left out"


def test_no_more_is_embedded_than_time_allows(encoder: TextEncoder) -> None:
    fitted = fit_head(encoder, texts(2_000), num_latents=NUM_LATENTS, seconds=0.01)
    assert fitted.documents == fitted.queries == 256, "one block, whatever the time"


def test_no_fewer_latents_than_features_that_a_text_keeps(encoder: TextEncoder) -> None:
    assert fit_head(encoder, texts(300), num_latents=2, seconds=0.01).settings.num_latents == K


def test_a_large_corpus_gets_more_latents() -> None:
    sizes = [latents_for(documents, min(9_000, documents)) for documents in (1_000, 58_000, 200_000, 10**6)]
    assert sizes == [1_000, 9_000, 12_500, 32_768]
    assert latents_for(200_000, 200_000) == 32_768


def test_a_dense_model_without_a_head_gets_one(dense_folder: Path, tmp_path: Path) -> None:
    dense = load_encoder(str(dense_folder), device="cpu")
    assert dense.needs_dictionary
    fitted = fit_head(dense, texts(300), seconds=0.01)
    head = fitted.trained.head
    assert (head.k, head.k_query, fitted.trained.baseline) == (64, 32, None)
    assert head.lexical is not None, "as `ksparse train` does by default"
    fitted.save(tmp_path / "head", "mine")
    again = load_encoder(str(tmp_path / "head"), device="cpu")
    assert (again.k, again.fingerprint.base_model) == (64, str(dense_folder.resolve()))
    assert again.encode_document(["stars burn"]).active_dims.tolist() != [0]
    assert fit_head(dense, texts(300), k=5, seconds=0.01).trained.head.k == 5


def test_what_cannot_be_fitted_is_named(encoder: TextEncoder, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="199 documents are too few to train a head; at least 200 are needed"):
        fit_head(encoder, texts(199))
    with pytest.raises(EncoderError, match="this encoder has none"):
        fit_head(TextEncoder(build_splade(tmp_path / "splade")), texts(300))
    head = KSparseAutoEncoder(DIM, NUM_LATENTS, K, thresholds_config={})
    learned = TextEncoder(join(encoder.dense_model(), head))
    with pytest.raises(EncoderError, match="a head with learned thresholds cannot be fitted; train one with"):
        fit_head(learned, texts(300))
