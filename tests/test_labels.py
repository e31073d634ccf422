from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from connector.cli.main import cli
from connector.encoders.labelling import label_latents, measure_labels
from connector.encoders.labels import LabelQuality, read_labels, write_labels
from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from connector.training.heads.labelling import label_head
from connector.types import SparseVectors
from tests.never import never
from tests.tiny import NUM_LATENTS, WORDS

TOPICS = ("cats purr softly", "rivers carry sand", "engines burn fuel")
COMMON = "this text says"


def corpus(count: int, seed: int) -> tuple[list[str], SparseVectors]:
    """Document i is about topic i % 3 and excites that latent; a feature beyond the latents is a token."""
    random = np.random.default_rng(seed)
    rows = np.arange(count) % len(TOPICS)
    texts = [f"{COMMON} {TOPICS[row]} {random.choice(['often', 'never'])}" for row in rows]
    features = np.stack([rows, np.full(count, len(TOPICS) + 1)], axis=1).astype(np.int32)
    return texts, SparseVectors(features, random.uniform(0.5, 1.0, (count, 2)).astype(np.float32))


def test_a_latent_is_named_by_what_its_documents_have_and_others_lack() -> None:
    labels = label_latents(*corpus(60, 0), num_latents=4, num_terms=3)
    assert [set(label) for label in labels[:3]] == [set(topic.split()) for topic in TOPICS]
    assert labels[3] == (), "it never fires"


def test_the_strongest_documents_name_a_latent() -> None:
    texts = ["plain words here"] * 50 + ["bright stars shine"] * 10
    weights = np.array([[0.1]] * 50 + [[1.0]] * 10, dtype=np.float32)
    vectors = SparseVectors(np.zeros((60, 1), np.int32), weights)
    [label] = label_latents(texts, vectors, 1, num_terms=3, strongest=10)
    assert set(label) == {"bright", "stars", "shine"}


def test_good_labels_predict_activations_and_those_of_others_do_not() -> None:
    labels = label_latents(*corpus(60, 0), num_latents=3)
    quality = measure_labels(labels, *corpus(90, 1))
    assert quality.latents == 3 and quality.auc == 1.0
    wrong = measure_labels((labels[1], labels[2], labels[0]), *corpus(90, 1))
    assert wrong.auc < 0.5


def test_the_area_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 4)) for _ in range(200)]
    vectors = SparseVectors(random.integers(0, 2, (200, 1)).astype(np.int32), np.ones((200, 1), np.float32))
    labels = (tuple(WORDS[:5]), tuple(WORDS[3:9]))
    areas = []
    for latent, label in enumerate(labels):
        counts = [len(set(text.split()) & set(label)) for text in texts]
        areas.append(roc_auc_score(vectors.features[:, 0] == latent, counts))
    assert measure_labels(labels, texts, vectors).auc == pytest.approx(np.mean(areas))


def test_what_never_fires_cannot_be_judged() -> None:
    texts, vectors = corpus(9, 0)
    with pytest.raises(EncoderError, match="no labelled latent fires in 5 of the 9"):
        measure_labels((("cats",), (), ()), texts, vectors)


def test_labels_are_kept_beside_the_head(tmp_path: Path) -> None:
    labels = (("a", "b"), (), ("é",))
    write_labels(tmp_path, labels, LabelQuality(2, 0.9, 0.5, 1.0), ["debian"])
    assert read_labels(tmp_path) == labels
    assert read_labels(tmp_path / "none") == ()
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(EncoderError, match=r"labels\.json is not a label file .* write it again with `ksparse label`"):
        read_labels(tmp_path)


def test_a_token_names_itself(lexical: TextEncoder) -> None:
    token = lexical.model.tokenizer.convert_tokens_to_ids("plants")
    assert lexical.label(str(NUM_LATENTS + token)) == '"plants"'
    assert lexical.label("0") == "", "nobody named it"


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    path = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"_id": str(row), "text": " ".join(random.choice(WORDS, 6))}) for row in range(300)]
    path.write_text("\n".join(lines))
    return path


def test_the_command_names_latents_and_the_encoder_finds_them(
    documents: Path, head_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "head"
    output.mkdir()
    for path in head_folder.iterdir():
        (output / path.name).write_bytes(path.read_bytes())
    run = CliRunner().invoke(cli, ["label", str(documents), "--encoder", str(output), "--quiet"])
    assert run.exit_code == 0, run.output
    assert "latents labelled from 240 documents; on 60 held-out ones" in run.stdout
    encoder = load_encoder(str(output), device="cpu")
    named = [feature for feature, label in enumerate(encoder.labels) if label]
    assert named and set(encoder.label(str(named[0])).split(", ")) <= set(WORDS)
    assert encoder.with_code(None).labels == encoder.labels
    assert encoder.fingerprint == load_encoder(str(head_folder), device="cpu").fingerprint


def test_a_model_of_tokens_has_nothing_to_name(documents: Path, tmp_path: Path, transformer_folder: Path) -> None:
    from tests.tiny import build_splade

    build_splade(tmp_path / "transformer").save_pretrained(str(tmp_path / "splade"))
    run = CliRunner().invoke(cli, ["label", str(documents), "--encoder", str(tmp_path / "splade"), "--quiet"])
    assert run.exit_code == 2 and "has no latents to label" in run.output


def test_a_dense_model_without_a_head_has_nothing_to_name(dense_folder: Path) -> None:
    dense = load_encoder(str(dense_folder), device="cpu")
    with pytest.raises(EncoderError, match="is a dense model without a head.* train a head: ksparse train"):
        label_head(dense, [WORDS], never("documents were embedded"))
