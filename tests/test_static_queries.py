"""Queries without a transformer: training on a tiny dense model, the folder, and what an encoder does with it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from sentence_transformers import SentenceTransformer

from connector.cli.main import cli
from connector.encoders.load import head_folder as folder_of
from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from connector.training.data import TrainingData
from connector.training.distillation import DistillationCorpus, hold_out
from connector.training.sources import TextSource
from connector.training.static_queries.card import save_static
from connector.training.static_queries.settings import StaticSettings
from connector.training.static_queries.trainer import TrainedStatic, train_static
from tests.never import never
from tests.tiny import DIM, WORDS

SMALL = StaticSettings(steps=60, batch_size=32, learning_rate=2e-2, validations=6, validation_documents=100)


def token_embeddings(model: SentenceTransformer) -> torch.Tensor:
    weights: torch.Tensor = model.state_dict()["0.embedding.weight"]
    return weights


@pytest.fixture(scope="module")
def dense(dense_folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(dense_folder), device="cpu")


@pytest.fixture(scope="module")
def corpus(dense: SentenceTransformer) -> DistillationCorpus:
    """200 documents of six words; three words of each ask for it."""
    random = np.random.default_rng(0)
    documents = tuple(" ".join(random.choice(WORDS, 6)) for _ in range(200))
    queries = tuple(" ".join(text.split()[:3]) for text in documents)
    embeddings = [np.asarray(dense.encode(list(texts), show_progress_bar=False)) for texts in (documents, queries)]
    teacher = TrainingData(embeddings[0], embeddings[1], np.arange(200), np.zeros(1, np.int64))
    return DistillationCorpus(TextSource("tiny", documents, queries, tuple(range(200)), 0), teacher)


@pytest.fixture(scope="module")
def trained(dense: SentenceTransformer, corpus: DistillationCorpus) -> TrainedStatic:
    return train_static(dense, [corpus], SMALL)


def test_training_comes_nearer_to_the_dense_model_on_queries_it_never_saw(trained: TrainedStatic) -> None:
    first, best = trained.validations[0], trained.best
    assert best.cosine > first.cosine + 0.02, "and it did learn before the first validation, too"
    assert best.ndcg > 0.3 * best.teacher_ndcg > 0
    assert trained.losses[-1] < trained.losses[0]
    assert trained.steps == len(trained.validations) * 10


def test_the_weights_of_a_worse_last_step_are_not_returned(
    dense: SentenceTransformer, corpus: DistillationCorpus
) -> None:
    settings = replace(SMALL, patience=1)
    trained = train_static(dense, [corpus], settings)
    assert trained.best.step < trained.steps, "it was worse in the end: the test proves nothing else"
    assert trained.best.score == max(each.score for each in trained.validations)
    _, [held] = hold_out([corpus], settings.validation_queries, settings.validation_documents, settings.seed)
    cosines = (trained.model.encode(list(held.source.queries)) * held.teacher.queries).sum(axis=1)
    assert cosines.mean() == pytest.approx(trained.best.cosine, abs=1e-6)
    assert all(abs(each.cosine - trained.best.cosine) > 1e-4 for each in trained.validations if each != trained.best)


def test_a_text_is_the_mean_of_its_tokens_at_length_1(trained: TrainedStatic) -> None:
    embedded = trained.model.encode(["cats sleep"])
    assert embedded.shape == (1, DIM)
    assert np.linalg.norm(embedded) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(trained.model.encode(["sleep cats"]), embedded, atol=1e-6, err_msg="a mean has no order")


def test_a_token_begins_as_the_dense_model_has_it_and_the_shorter_the_commoner_it_is(
    dense: SentenceTransformer, corpus: DistillationCorpus
) -> None:
    untrained = train_static(dense, [corpus], replace(SMALL, steps=1, validations=1, learning_rate=1e-9)).model
    alone = dense.encode(["cats"])[0]
    np.testing.assert_allclose(untrained.encode(["cats"])[0], alone, atol=1e-5)
    weights = token_embeddings(untrained)
    number = dense.tokenizer.convert_tokens_to_ids("cats")
    share = np.mean(["cats" in text.split() for text in corpus.source.documents])
    assert weights[number].norm().item() == pytest.approx(1e-3 / (1e-3 + share), rel=1e-4)
    assert weights[dense.tokenizer.convert_tokens_to_ids(":")].norm().item() == pytest.approx(1.0, rel=1e-4)


class Stopped(Exception):
    """In the middle of a run."""


def test_a_run_that_was_stopped_resumes_to_the_same_end(
    dense: SentenceTransformer,
    corpus: DistillationCorpus,
    trained: TrainedStatic,
    tmp_path: Path,
) -> None:
    checkpoint = tmp_path / "queries.pt"

    def stop_at_half(what: str, share: float) -> None:
        if what == "training" and share > 0.6:
            raise Stopped

    with pytest.raises(Stopped):
        train_static(dense, [corpus], SMALL, checkpoint=checkpoint, save_every_s=0.0, progress=stop_at_half)
    source = replace(corpus.source, queries=("others", *corpus.source.queries[1:]))
    with pytest.raises(EncoderError, match="belongs to a run with another corpus"):
        train_static(dense, [replace(corpus, source=source)], SMALL, checkpoint=checkpoint)
    other = copy.deepcopy(dense)
    with torch.no_grad():
        next(other.parameters()).mul_(1.5)
    with pytest.raises(EncoderError, match="belongs to a run with another dense_model"):
        train_static(other, [corpus], SMALL, checkpoint=checkpoint)
    resumed = train_static(dense, [corpus], SMALL, checkpoint=checkpoint)
    assert (resumed.validations, resumed.losses) == (trained.validations, trained.losses)
    assert torch.equal(token_embeddings(resumed.model), token_embeddings(trained.model))
    assert not checkpoint.exists(), "the run is over"


def test_what_cannot_be_trained_is_refused(dense: SentenceTransformer, corpus: DistillationCorpus) -> None:
    with pytest.raises(EncoderError, match="^99 training queries are too few; at least 100 are needed"):
        train_static(dense, [corpus.take(np.arange(99))], SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"temperature": 0.0}, r"temperature must be above 0, got 0\.0"),
        ({"max_seconds": -1.0}, r"max_seconds must be above 0, got -1\.0"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


@pytest.fixture
def fast(trained: TrainedStatic, head_folder: Path, tmp_path: Path) -> TextEncoder:
    """The head with the query encoder in its folder, loaded again."""
    save_static(trained, head_folder, tmp_path / "fast", SMALL, base_model="tiny", data={})
    return load_encoder(str(tmp_path / "fast"), device="cpu")


def test_an_encoder_with_a_query_model_changes_queries_alone(
    fast: TextEncoder, encoder: TextEncoder, trained: TrainedStatic
) -> None:
    texts = ["cats sleep on warm stones", "stars burn", "plants"]
    assert fast.fingerprint.digest == encoder.fingerprint.digest, "so it searches the same index"
    for ours, theirs in zip(fast.encode_document(texts), encoder.encode_document(texts), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    vectors, embeddings = fast.encode_query_for_rescoring(texts, k=4)
    expected = trained.model.encode(texts)
    np.testing.assert_allclose(embeddings, expected, atol=2e-3, err_msg="kept in half precision")
    assert np.abs(embeddings - encoder.embed(texts)).max() > 0.01
    by_head = encoder.sparsify_embeddings(embeddings, task="query")
    np.testing.assert_array_equal(vectors.features, by_head.features)
    np.testing.assert_array_equal(fast.encode_query(texts).weights, vectors.weights)
    np.testing.assert_array_equal(fast.embed(texts, task="query"), encoder.embed(texts, task="query"))


def test_a_query_model_stays_with_the_encoder(fast: TextEncoder, lexical: TextEncoder) -> None:
    assert fast.on_device("cpu").query_model is fast.query_model
    both = TextEncoder(lexical.model, query_model=fast.query_model).calibrate(["cats sleep", "stars burn for years"])
    found = both.encode_query(["cats"])
    assert both.num_latents - 1 > found.features.max() >= 64, "tokens are features beside the query model's latents"


def test_an_empty_query_is_none_the_less_a_vector(fast: TextEncoder) -> None:
    assert np.isfinite(fast.encode_query(["", "cats"]).weights).all()


def test_a_query_model_of_another_width_is_refused(encoder: TextEncoder, trained: TrainedStatic) -> None:
    wide = SentenceTransformer(modules=[torch.nn.Module()], device="cpu")
    wide.get_embedding_dimension = lambda: 32  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="query_model has 32 dimensions, the dense model has 16"):
        TextEncoder(encoder.model, query_model=wide)


@pytest.fixture
def train(tmp_path: Path, head_folder: Path, corpus: DistillationCorpus) -> Callable[..., Result]:
    """Runs the command on the corpus's documents, whose sentences stand for queries."""
    path = tmp_path / "corpus.jsonl"
    lines = (json.dumps({"_id": str(row), "text": text}) for row, text in enumerate(corpus.source.documents))
    path.write_text("\n".join(lines) + "\n")

    def run(*arguments: str) -> Result:
        options = ["--encoder", str(head_folder), "--output", str(tmp_path / "fast"), "--steps", "5", "--quiet"]
        return CliRunner().invoke(cli, ["train", "queries", str(path), *options, "--device", "cpu", *arguments])

    return run


def test_the_command_writes_a_head_that_loads_and_a_card(
    train: Callable[..., Result], tmp_path: Path, head_folder: Path
) -> None:
    result = train()
    assert result.exit_code == 0, result.output
    assert re.search(r"fast: 5 steps in \d\.\d min; on held-out queries NDCG@10 0\.\d+, \d+\.\d% of", result.stdout)
    own = tmp_path / "fast" / "query_model"
    report = json.loads((own / "training.json").read_text())
    assert report["data"] == {"corpus.jsonl": {"documents": 200, "queries": 200}}
    assert "Static query encoder" in (own / "README.md").read_text()
    assert not (tmp_path / "fast" / "queries.pt").exists()
    assert load_encoder(str(tmp_path / "fast"), device="cpu").query_model is not None
    assert not (head_folder / "query_model").exists(), "the head itself is left as it was"
    assert train("--encoder", str(tmp_path / "fast")).exit_code == 0, "trained again, in its own folder"


def test_too_few_queries_are_refused_before_a_model_is_loaded(
    train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.encoders.load.load_encoder", never("a model was loaded"))
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(corpus.read_text().splitlines(keepends=True)[:99]))
    result = train()
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "Error: 99 training queries are too few; at least 100 are needed, better thousands."
    )
    assert not (tmp_path / "fast").exists()


def test_wrong_arguments_name_the_next_step(train: Callable[..., Result], dense_folder: Path) -> None:
    result = train("--encoder", str(dense_folder))
    assert result.exit_code == 1
    assert "is not a head" in result.stderr and "Shipped: all-MiniLM-L6-v2" in result.stderr
    assert "ksparse train queries" in CliRunner().invoke(cli, ["train", "queries", "--help"]).output


def test_a_shipped_heads_folder_is_found_by_its_name() -> None:
    assert (folder_of("all-MiniLM-L6-v2") / "model.safetensors").is_file()
