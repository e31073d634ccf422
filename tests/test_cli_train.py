from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from connector.cli.main import cli
from connector.cli.train import train as train_command
from connector.cli.train_queries import queries
from connector.cli.train_splade import splade
from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.load import load_encoder
from connector.errors import EncoderError
from connector.training.heads.settings import RECIPES, Recipe, TrainingSettings
from tests.beir import documents_of, numbered, to_lines, write_beir
from tests.never import never
from tests.tiny import WORDS

Train = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("narrow_ivae")

SMALL = ["--latents", "64", "--k", "8", "--k-query", "4", "--steps", "3", "--batch-size", "16", "--device", "cpu"]


@pytest.fixture
def train(tmp_path: Path, dense_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        common = ["--output", "head", "--base-model", str(dense_folder), "--quiet", *SMALL]
        return CliRunner().invoke(cli, ["train", *common, *arguments])

    return run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """200 documents, and 20 train queries for the first 20 of them."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 6)) for _ in range(200)]
    queries = numbered((" ".join(text.split()[:2]) for text in texts[:20]), "q")
    judged = [(f"q{number}", f"d{number}") for number in range(20)]
    return write_beir(tmp_path / "beir", numbered(texts, "d"), queries, train=judged)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is loaded fails the test."""

    monkeypatch.setattr("connector.encoders.base_model.load_base_model", never("a model was loaded"))


@pytest.mark.parametrize("recipe", ["retrieval", "paper", "ivae"])
def test_a_head_trained_on_texts_loads_and_encodes(
    train: Train, corpus: Path, tmp_path: Path, dense_folder: Path, recipe: str
) -> None:
    result = train(str(corpus / "corpus.jsonl"), "--recipe", recipe)
    assert result.exit_code == 0, result.output
    assert re.match(r"head: 3 steps in \d\.\d min; on held-out queries ", result.stdout)
    assert sorted(path.name for path in (tmp_path / "head").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "training.json",
        "training.png",
    ]
    encoder = load_encoder(str(tmp_path / "head"), device="cpu")
    assert encoder.fingerprint.base_model == str(dense_folder)
    assert encoder.encode_document(["stars burn"]).active_dims.tolist() == [8]
    assert encoder.encode_query(["stars burn"]).active_dims.tolist() == [4]


def test_train_queries_of_a_beir_folder_are_used(train: Train, corpus: Path, tmp_path: Path) -> None:
    assert train(str(corpus)).exit_code == 0
    report = json.loads((tmp_path / "head" / "training.json").read_text())
    assert report["data"] == {"beir": {"documents": 200, "queries": 20}}
    assert (report["settings"]["seed"], report["steps"]) == (0, 3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_keeps_every_default_of_its_own(train: Train, corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    assert train(str(corpus), "--recipe", recipe).exit_code == 0
    kept = json.loads((tmp_path / "head" / "training.json").read_text())["settings"]
    own = TrainingSettings(recipe, num_latents=64, k=8, k_query=4, steps=3, batch_size=16)
    assert kept == json.loads(json.dumps(asdict(own)))
    assert kept["alpha_distance"] == {"ivae": 30_000.0}.get(recipe, 1.0)


def test_alpha_2_is_what_one_says(train: Train, corpus: Path, tmp_path: Path) -> None:
    assert train(str(corpus), "--recipe", "ivae", "--alpha-distance", "7").exit_code == 0
    assert json.loads((tmp_path / "head" / "training.json").read_text())["settings"]["alpha_distance"] == 7.0


@pytest.mark.parametrize("command", [train_command, splade, queries])
def test_no_training_option_has_a_default_that_hides_the_settings_own(command: click.Command) -> None:
    allowed = {"lexical": True, "seed": 0, "quiet": False, "verbose": 0}
    defaults = {option.name: option.default for option in command.params if option.default not in (None, ())}
    defaults = {name: value for name, value in defaults.items() if str(value) != "Sentinel.UNSET"}
    assert {name: value for name, value in defaults.items() if name not in allowed} == {}


def test_several_corpora_are_joined(train: Train, corpus: Path, tmp_path: Path) -> None:
    assert train(str(corpus), str(corpus / "corpus.jsonl")).exit_code == 0
    report = json.loads((tmp_path / "head" / "training.json").read_text())
    assert list(report["data"]) == ["beir", "corpus.jsonl"]


def test_embeddings_are_cached_where_asked(train: Train, corpus: Path, tmp_path: Path) -> None:
    assert train(str(corpus), "--cache", "kept").exit_code == 0
    assert sorted(np.load(path).shape for path in (tmp_path / "kept").iterdir()) == [(20, 16), (200, 16)]


@pytest.mark.parametrize("name", ["rows.npy", "rows.npz"])
def test_a_head_is_trained_on_embeddings(train: Train, tmp_path: Path, name: str) -> None:
    rows = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    if name == "rows.npy":
        np.save(name, rows)
    else:
        np.savez(name, documents=rows, queries=rows[:30], positives=np.arange(30))
    result = train(name)
    assert result.exit_code == 0, result.output
    assert KSparseAutoEncoder.load(str(tmp_path / "head")).dim == 16


def test_tokens_weigh_as_much_as_one_says(train: Train, corpus: Path, tmp_path: Path) -> None:
    for options, scale in (((), 0.07), (("--lexical-weight", "0.03"), 0.03), (("--no-lexical",), 0.0)):
        assert train(str(corpus), *options).exit_code == 0
        report = json.loads((tmp_path / "head" / "training.json").read_text())
        assert report["settings"]["document_lexical_scale"] == scale


def test_one_seed_writes_one_file(train: Train, corpus: Path, tmp_path: Path) -> None:
    weights = []
    for seed in ("3", "3", "4"):
        assert train(str(corpus), "--seed", seed).exit_code == 0
        weights.append((tmp_path / "head" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--k", "65"], "--k 65 exceeds --latents 64; lower --k or raise --latents."),
        (["--k-query", "65"], "--k-query 65 exceeds --latents 64; lower --k-query or raise --latents."),
        (["--batch-size", "20"], "--batch-size 20 must be a multiple of 8 (neighbours_per_seed)"),
        (["--recipe", "paper", "--thresholds", "1"], "does not learn thresholds; leave --thresholds at 0."),
        (["--recipe", "other"], "Invalid value for '--recipe'"),
        (["--learning-rate", "0"], "Invalid value for '--learning-rate'"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (
            ["--recipe", "ivae", "--flops-weight", "0.1"],
            "--flops-weight has no effect: the recipe ivae does not use it, retrieval",
        ),
        (["--alpha-distance", "2"], "--alpha-distance has no effect: the recipe retrieval does not use it, paper and"),
        (["--recipe", "ivae", "--latents", "65"], "--latents must be even with ivae, which has two features"),
        (["--no-lexical", "--lexical-weight", "0.1"], "choose one"),
    ],
)
def test_wrong_options_are_exit_status_2(
    tmp_path: Path, dense_folder: Path, corpus: Path, arguments: list[str], message: str
) -> None:
    options = ["--output", str(tmp_path / "head"), "--base-model", str(dense_folder), *SMALL, *arguments]
    result = CliRunner().invoke(cli, ["train", str(corpus), *options])
    assert result.exit_code == 2
    assert message in result.stderr


def test_errors_during_training_name_options(train: Train, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise EncoderError("With threshold_weight 2 no features are left; lower it. At step 7, lower learning_rate.")

    monkeypatch.setattr("connector.training.heads.trainer.train_head", failing)
    result = train(str(corpus), "--thresholds", "2")
    said = "Error: With --thresholds 2 no features are left; lower it. At step 7, lower --learning-rate.\n"
    assert (result.exit_code, result.stderr) == (1, said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "trian"], "No corpus has qrels/trian.tsv; splits that exist: train"),
        (["--recipe", "ivae", "--output", "beir/corpus.jsonl"], "is a file"),
    ],
)
def test_what_needs_no_model_is_said_before_one_is_loaded(
    train: Train, corpus: Path, arguments: list[str], message: str, no_model: None
) -> None:
    result = train(str(corpus), *arguments)
    assert result.exit_code in (1, 2) and message in result.stderr, result.output


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["few.jsonl", "few.npy"])
def test_too_few_documents_are_refused_before_anything_is_done(
    train: Train, tmp_path: Path, no_model: None, name: str, recipe: Recipe
) -> None:
    (tmp_path / "few.jsonl").write_text(to_lines(documents_of(numbered(["stars burn"] * 199))))
    np.save(tmp_path / "few.npy", np.ones((199, 16), np.float32))
    result = train(name, "--recipe", recipe)
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: 199 documents are too few to train a head; at least 200 are needed, better thousands. The shipped "
        "encoder needs no training.\n",
    )
    assert not (tmp_path / "head").exists()


def test_documents_of_all_corpora_count(train: Train, tmp_path: Path) -> None:
    halves = [numbered((f"stars {WORDS[row % 30]}" for row in range(100)), prefix) for prefix in "ab"]
    for half, name in zip(halves, ("a.jsonl", "b.jsonl"), strict=True):
        (tmp_path / name).write_text(to_lines(documents_of(half)))
    assert train("a.jsonl").exit_code == 1
    assert train("a.jsonl", "b.jsonl").exit_code == 0


def test_embeddings_and_texts_together_are_refused(train: Train, corpus: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((4, 16), np.float32))
    result = train("rows.npy", str(corpus))
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: rows.npy contains embeddings, but other inputs are texts; use one kind of input.\n",
    )


def test_a_corpus_that_cannot_be_read_is_one_line(train: Train, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text("broken\n")
    result = train("c.jsonl")
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "Error: c.jsonl has 0 documents; training needs at least two, better thousands. c.jsonl:1: not valid JSON: "
        "Expecting value at column 1.\n"
    )


def test_quiet_is_quiet(train: Train, corpus: Path) -> None:
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    try:
        assert train(str(corpus)).stderr == ""
    finally:
        if not was_on:
            logging.disable_progress_bar()


def test_fewer_than_64_latents_can_be_trained(tmp_path: Path, dense_folder: Path, corpus: Path) -> None:
    options = ["--output", str(tmp_path / "head"), "--base-model", str(dense_folder), *SMALL, "--latents", "32"]
    result = CliRunner().invoke(cli, ["train", str(corpus), "--quiet", *options])
    assert result.exit_code == 0, result.output
