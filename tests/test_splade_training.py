"""SPLADE training on a tiny BERT: the loss by hand, and runs of a few steps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling

from connector.cli.main import cli
from connector.encoders.idf import QueryIdf
from connector.encoders.load import load_encoder
from connector.encoders.splade_pooling import MaxLogitPooling, with_max_logit_pooling
from connector.encoders.text import TextEncoder
from connector.encoders.thresholds import Thresholding, TopKMasking
from connector.errors import EncoderError
from connector.training.data import TrainingData
from connector.training.distillation import DistillationCorpus, hold_out
from connector.training.sources import TextSource
from connector.training.splade.batches import DistillationBatches
from connector.training.splade.loss import HybridThresholdingLoss, margin_mse
from connector.training.splade.settings import Method, SpladeSettings
from connector.training.splade.trainer import SpladeObjective, TrainedSplade, train_splade, with_method
from connector.vectors.statistics import CorpusStatistics
from tests.beir import numbered, write_beir
from tests.never import never
from tests.tiny import WORDS, build_splade

SMALL = SpladeSettings(
    steps=12,
    batch_size=4,
    negative_depth=5,
    learning_rate=1e-3,
    threshold_learning_rate=2e-2,
    validation_queries=4,
    validation_documents=20,
    validations=3,
)
TEXTS = ["cats sleep on warm stones", "stars", "why do plants eat light with green leaves"]


@pytest.fixture(scope="module")
def splade_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("splade")
    build_splade(folder / "transformer").save_pretrained(str(folder / "splade"))
    return folder / "splade"


@pytest.fixture
def splade(splade_folder: Path) -> SparseEncoder:
    """A separate copy for each test, because training modifies it."""
    return load_encoder(str(splade_folder), device="cpu").model


@pytest.fixture(scope="module")
def corpus() -> DistillationCorpus:
    """60 documents of six words; the first two words of 40 of them ask for them. The teacher counts words."""
    random = np.random.default_rng(0)
    documents = tuple(" ".join(random.choice(WORDS, 6)) for _ in range(60))
    queries = tuple(" ".join(text.split()[:2]) for text in documents[:40])
    words = [np.array([[w in text.split() for w in WORDS] for text in texts], float) for texts in (documents, queries)]
    embeddings = [(each / np.linalg.norm(each, axis=1, keepdims=True)).astype(np.float32) for each in words]
    teacher = TrainingData(embeddings[0], embeddings[1], np.arange(40), np.zeros(1, np.int64))
    return DistillationCorpus(TextSource("tiny", documents, queries, tuple(range(40)), 0), teacher)


def test_max_logit_pooling_gives_the_vectors_and_gradients_of_splade_pooling(splade: SparseEncoder) -> None:
    splade.eval()
    splade[1].train()  # otherwise their pooling works in place, which has no gradient
    found: list[list[torch.Tensor]] = []
    for model in (splade, with_max_logit_pooling(splade)):
        splade.zero_grad()
        weights = model(model.preprocess(TEXTS, prompt=None, task="document"))["sentence_embedding"]
        weights.square().sum().backward()
        found.append([weights.detach(), *(each.grad for each in splade.parameters() if each.grad is not None)])
    assert len(found[0]) == len(found[1]) > 10
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_max_logit_pooling_is_a_module_of_a_model_that_shares_all_weights(splade: SparseEncoder) -> None:
    names = list(splade.state_dict())
    pooled = with_max_logit_pooling(splade)
    assert [type(module) for module in pooled][1:] == [MaxLogitPooling]
    assert {id(each) for each in pooled.parameters()} == {id(each) for each in splade.parameters()}
    assert list(splade.state_dict()) == names and "forward" not in vars(splade[1])
    assert pooled.get_embedding_dimension() == len(splade.tokenizer)
    assert with_max_logit_pooling(pooled) is pooled
    summed = SparseEncoder(modules=[splade[0], SpladePooling("sum")], device="cpu")
    assert with_max_logit_pooling(summed) is summed, "another kind of pooling"


def test_threads_encode_with_one_splade_as_one_does_alone(splade: SparseEncoder) -> None:
    encoder = TextEncoder(splade)
    alone = encoder.encode_document(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: encoder.encode_document(TEXTS), range(16)))
    for each in together:
        np.testing.assert_array_equal(each.features, alone.features)
        np.testing.assert_array_equal(each.weights, alone.weights)


def test_margin_mse_by_hand() -> None:
    # Query 0 asks for column 0, query 1 for column 1; columns 2 and 3 are mined for them.
    scores = torch.tensor([[5.0, 3.0, 4.0, 0.0], [1.0, 4.0, 2.0, 3.0]])
    teacher = torch.tensor([[5.0, 2.0, 4.0, 1.0], [1.0, 4.0, 1.0, 1.0]])
    # Errors of margins: 0, 1, 0, -1 and 0, 0, 1, 2 less the own column; others (1 + 1 + 0 + 1) / 4, mined (0 + 4) / 2.
    assert margin_mse(scores, teacher).item() == pytest.approx((3 / 4 + 4 / 2) / 2)
    assert margin_mse(scores[:1, :1].repeat(1, 2), teacher[:1, [0, 2]]).item() == pytest.approx(1.0), "one query alone"


def test_the_loss_has_the_papers_terms_of_weights_before_thresholding(splade: SparseEncoder) -> None:
    thresholding = Thresholding()
    with torch.no_grad():
        thresholding.query_threshold.fill_(0.3)
        thresholding.document_threshold.fill_(0.5)
    model = SparseEncoder(modules=[*splade, thresholding], device="cpu").eval()
    loss = HybridThresholdingLoss(model, lambda_q=0.1, lambda_d=0.2, lambda_t=3.0, teacher_scale=2.0)
    tokens = {texts: splade.preprocess(list(texts), prompt=None) for texts in (("cats sleep",), tuple(TEXTS[:2]))}
    with torch.no_grad():
        terms = loss(tokens.values(), torch.tensor([[0.9, 0.4]]))
        query, documents = (splade(dict(each))["sentence_embedding"] for each in tokens.values())
    scores = torch.relu(query - 0.3) @ torch.where(documents >= 0.5, documents, 0.0).T
    assert terms["L_R"].item() == pytest.approx((scores[0, 0] - scores[0, 1] - 2 * 0.5).item() ** 2, rel=1e-5)
    assert terms["L_Q"].item() == pytest.approx(0.1 * query.sum().item(), rel=1e-5)
    assert terms["L_D"].item() == pytest.approx(0.2 * documents.mean(dim=0).square().sum().item(), rel=1e-5)
    # log(1 + e^-0.3) + log(1 + e^-0.5)
    assert terms["L_T"].item() == pytest.approx(3 * (0.5544 + 0.4741), abs=1e-3)


def test_mined_documents_are_near_and_not_the_positive(corpus: DistillationCorpus) -> None:
    batches = DistillationBatches([corpus], batch_size=8, negatives=2, depth=3, seed=0)
    for _ in range(5):
        batch = batches.draw()
        assert len(set(batch.queries)) == 8 and len(batch.documents) == 24
        assert batch.scores.shape == (8, 24)
        for row, query in enumerate(batch.queries):
            assert batch.documents[row].startswith(query)
            scores = corpus.teacher.queries[corpus.source.queries.index(query)] @ corpus.teacher.documents.T
            for column in (row + 8, row + 16):
                assert batch.documents[column] != batch.documents[row]
                assert batch.scores[row, column] >= np.sort(scores)[-4] - 1e-6, "not among the first three others"


def test_held_out_queries_are_not_trained_on_and_find_their_documents_in_the_sample(corpus: DistillationCorpus) -> None:
    [left], [held] = hold_out([corpus], 4, 20, 0)
    assert (len(left.source.queries), len(held.source.queries), len(held.source.documents)) == (36, 4, 20)
    assert not set(left.source.queries) & set(held.source.queries)
    assert left.source.documents == corpus.source.documents
    for query, position, row in zip(held.source.queries, held.source.positives, held.teacher.positives, strict=True):
        assert held.source.documents[position].startswith(query) and position == row
    [left], _ = hold_out([corpus], 1_000, 20, 0)
    assert len(left.source.queries) == 36, "a tenth at most"


def test_a_query_of_several_documents_or_corpora_is_held_out_everywhere(corpus: DistillationCorpus) -> None:
    twice = corpus.take(np.arange(40).repeat(2))
    left, held = hold_out([twice, replace(corpus, source=replace(corpus.source, name="other"))], 12, 40, 0)
    texts = [text for each in held for text in each.source.queries]
    assert len(held[0].source.queries) == 8 and len(set(held[0].source.queries)) == 4
    assert not set(texts) & {text for each in left for text in each.source.queries}
    assert all(each.source.documents == corpus.source.documents for each in left)


def modules_of(trained: TrainedSplade) -> list[str]:
    return [type(module).__name__ for module in trained.model][2:]


@pytest.mark.parametrize(
    ("method", "modules"),
    [("splade", []), ("dt", ["Thresholding"]), ("topk", ["TopKMasking"]), ("ht", ["Thresholding"])],
)
def test_every_method_trains_and_keeps_its_module(
    splade: SparseEncoder, corpus: DistillationCorpus, method: Method, modules: list[str]
) -> None:
    trained = train_splade(splade, [corpus], replace(SMALL, method=method, k=6))
    assert (trained.steps, modules_of(trained)) == (12, modules)
    assert [each.step for each in trained.validations] == [0, 4, 8, 12]
    assert len(trained.losses) == 3 and trained.teacher_scale > 0
    for module in trained.model:
        if isinstance(module, TopKMasking):
            assert module.k == 6, "the limit has come down"
            assert TextEncoder(trained.model).encode_document(TEXTS).active_dims.max() <= 6
        if isinstance(module, Thresholding):
            assert module.query_threshold.item() != 0 != module.document_threshold.item()


def test_a_mask_is_at_its_limit_after_a_single_step(splade: SparseEncoder, corpus: DistillationCorpus) -> None:
    mask = train_splade(splade, [corpus], replace(SMALL, method="topk", k=6, steps=1)).model[2]
    assert isinstance(mask, TopKMasking) and mask.k == 6


def test_thresholds_rise_with_lambda_t_and_shorten_documents_and_queries(
    splade_folder: Path, corpus: DistillationCorpus
) -> None:
    ends = []
    for lambda_t in (0.0, 100.0):
        model = load_encoder(str(splade_folder), device="cpu").model
        settings = replace(SMALL, lambda_t=lambda_t, lambda_q=0.0, lambda_d=0.0, learning_rate=1e-9, steps=20)
        ends.append(train_splade(model, [corpus], settings).validations[-1])
    assert ends[1].document_threshold > ends[0].document_threshold + 0.05
    assert ends[1].query_threshold > ends[0].query_threshold + 0.05
    assert ends[1].dlen < ends[0].dlen and ends[1].qlen < ends[0].qlen and ends[1].postings < ends[0].postings


@pytest.mark.parametrize("idf", [False, True])
def test_self_distillation_has_nothing_to_learn_but_thresholds(
    splade: SparseEncoder, corpus: DistillationCorpus, *, idf: bool
) -> None:
    settings = replace(SMALL, self_distillation=1.0, idf=idf, lambda_q=0.0, lambda_d=0.0)
    objective = SpladeObjective(HybridThresholdingLoss(with_method(splade, settings)), [corpus], settings)
    if idf:
        roots = np.linspace(0.1, 2.0, objective.token_weights.shape[1], dtype=np.float32)
        objective.use_statistics({"tiny": CorpusStatistics.of_features(roots)})
    objective.calibrate()
    model = objective.criterion.model.eval()
    thresholds = next(module for module in model if isinstance(module, Thresholding))
    features, dense = objective.draw()
    taught = objective.targets(features, dense)
    with torch.no_grad():
        # With threshold 0, eq. 1 halves values near it, but no feature is dropped.
        assert objective.criterion(features, taught)["L_R"].item() == pytest.approx(0.0, abs=1e-6)
        thresholds.document_threshold.fill_(0.4)
        assert objective.criterion(features, taught)["L_R"].item() > 1e-4
    assert "_start" not in str(list(objective.state_dict())), "a frozen copy is no part of what is kept"


def test_self_distillation_keeps_learning(splade: SparseEncoder, corpus: DistillationCorpus) -> None:
    before = {name: tensor.clone() for name, tensor in splade.state_dict().items()}
    after = train_splade(splade, [corpus], replace(SMALL, self_distillation=0.5)).model.state_dict()
    moved = [name for name, tensor in before.items() if tensor.is_floating_point() and not tensor.equal(after[name])]
    assert len(moved) > 10, "the copy that teaches is another one"


def test_queries_of_a_batch_are_weighted_by_their_own_corpus(splade: SparseEncoder, corpus: DistillationCorpus) -> None:
    # The other corpus has documents of the first word alone, so its features are as common as can be there.
    word = WORDS[0]
    texts = tuple(f"{word} {word}" if row % 2 else word for row in range(20))
    embeddings = np.full((20, len(WORDS)), 1.0, np.float32)
    teacher = TrainingData(embeddings, embeddings[:10], np.arange(10), np.zeros(1, np.int64))
    common = DistillationCorpus(TextSource("common", texts, texts[:10], tuple(range(10)), 0), teacher)
    model = train_splade(splade, [corpus, common], replace(SMALL, idf=True, steps=2)).model
    [idf] = [module for module in model if isinstance(module, QueryIdf)]
    encoder = TextEncoder(model)
    parts = [encoder.measure_statistics(each.source.documents).token_weights for each in (corpus, common)]
    assert parts[1].min() < 0.2 < parts[0].min() + parts[0].max(), "a feature of all documents weighs next to nothing"
    # Left with the mean of both, as they were in the sample of the last validation.
    assert np.abs(idf.token_weights.numpy() - (parts[0] + parts[1]) / 2).max() < 0.6
    assert not np.allclose(idf.token_weights.numpy(), 1.0)


def test_frozen_embeddings_stay_and_the_rest_learns(splade: SparseEncoder, corpus: DistillationCorpus) -> None:
    assert splade.transformers_model is not None
    before = {name: tensor.clone() for name, tensor in splade.state_dict().items()}
    length = splade.max_seq_length
    trained = train_splade(splade, [corpus], replace(SMALL, freeze_embeddings=True, max_length=5)).model
    after = trained.state_dict()
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed and not any("word_embeddings" in name for name in changed)
    assert trained.max_seq_length == length, "texts are cut in training alone"
    assert all(parameter.requires_grad for parameter in trained.parameters())


class Stopped(Exception):
    """Raised in the middle of a run."""


@pytest.mark.parametrize("idf", [False, True])
def test_a_stopped_run_resumes_to_the_same_result(
    splade_folder: Path, corpus: DistillationCorpus, tmp_path: Path, *, idf: bool
) -> None:
    settings = replace(SMALL, idf=idf)
    checkpoint = tmp_path / "checkpoint.pt"

    def train(**options: Any) -> TrainedSplade:
        model = load_encoder(str(splade_folder), device="cpu").model
        return train_splade(model, [corpus], settings, **options)

    def stop_at_half(what: str, share: float) -> None:
        if what == "training" and share > 0.6:
            raise Stopped

    whole = train()
    with pytest.raises(Stopped):
        train(checkpoint=checkpoint, save_every_s=0.0, progress=stop_at_half)
    with pytest.raises(EncoderError, match="belongs to a run with another lambda_t and seed"):
        train_splade(
            load_encoder(str(splade_folder), device="cpu").model,
            [corpus],
            replace(settings, lambda_t=2.0, seed=1),
            checkpoint=checkpoint,
        )
    other = replace(corpus, source=replace(corpus.source, queries=("others", *corpus.source.queries[1:])))
    with pytest.raises(EncoderError, match="belongs to a run with another corpus"):
        train_splade(load_encoder(str(splade_folder), device="cpu").model, [other], settings, checkpoint=checkpoint)
    with pytest.raises(EncoderError, match="belongs to a run with another teacher"):
        train(checkpoint=checkpoint, teacher="trained again")
    start = load_encoder(str(splade_folder), device="cpu").model
    with torch.no_grad():
        next(start.parameters()).mul_(1.5)
    with pytest.raises(EncoderError, match="belongs to a run with another start"):
        train_splade(start, [corpus], settings, checkpoint=checkpoint)
    resumed = train(checkpoint=checkpoint)
    assert (resumed.validations, resumed.losses) == (whole.validations, whole.losses)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name
    assert not checkpoint.exists(), "the run is over"


def test_what_cannot_be_trained_is_refused(
    encoder: TextEncoder, splade: SparseEncoder, corpus: DistillationCorpus
) -> None:
    with pytest.raises(EncoderError, match="is not a SPLADE: it has no SpladePooling"):
        train_splade(encoder.model, [corpus], SMALL)
    with pytest.raises(EncoderError, match="^3 training queries are too few; at least 10 are needed"):
        train_splade(splade, [corpus.take(np.arange(3))], SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "best"}, "method must be one of splade, dt, topk, ht, got 'best'"),
        ({"query_rule": "harsh"}, "query_rule must be one of none, soft, .* got 'harsh'"),
        ({"method": "topk", "query_rule": "soft"}, "the method topk has no thresholds; leave query_rule out"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"steepness": 0.0}, r"steepness must be above 0, got 0\.0"),
        ({"self_distillation": 1.5}, r"self_distillation must be from 0 to 1, got 1\.5"),
        ({"lambda_t": -1.0}, r"lambda_t must be at least 0, got -1\.0"),
        ({"max_seconds": 0.0}, r"max_seconds must be above 0, got 0\.0"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


@pytest.fixture
def train(tmp_path: Path, splade_folder: Path, dense_folder: Path, corpus: DistillationCorpus) -> Callable[..., Result]:
    """Runs the command on a BEIR folder of the corpus."""
    judged = [(str(row), str(row)) for row in range(40)]
    texts = numbered(corpus.source.documents), numbered(corpus.source.queries)
    folder = write_beir(tmp_path / "beir", *texts, train=judged)

    def run(*arguments: str) -> Result:
        common = ["--start", str(splade_folder), "--teacher", str(dense_folder), "--output", str(tmp_path / "out")]
        few = ["--steps", "3", "--batch-size", "4", "--device", "cpu"]
        return CliRunner().invoke(cli, ["train", "splade", str(folder), *common, *few, "--quiet", *arguments])

    return run


def test_too_few_queries_are_refused_before_a_model_is_loaded(
    train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.encoders.load.load_encoder", never("a model was loaded"))
    qrels = tmp_path / "beir" / "qrels" / "train.tsv"
    qrels.write_text("".join(qrels.read_text().splitlines(keepends=True)[:10]))  # a header and nine queries
    result = train()
    assert result.exit_code == 1 and "Error: 9 training queries are too few; at least 10 are needed" in result.stderr
    assert not (tmp_path / "out").exists()


def test_another_model_is_refused_before_texts_are_embedded(
    train: Callable[..., Result], head_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.training.distillation.embed_corpora", never("texts were embedded"))
    result = train("--start", str(head_folder))
    assert result.exit_code == 1 and "Error: the model is not a SPLADE" in result.stderr


def test_the_command_writes_a_model_that_loads_and_a_card(train: Callable[..., Result], tmp_path: Path) -> None:
    result = train("--lambda-t", "3", "--document-rule", "sigmoid", "--steepness", "2.5")
    assert result.exit_code == 0, result.output
    assert re.search(r"out: 3 steps in \d\.\d min; on held-out queries NDCG@10 0\.", result.stdout)
    report = json.loads((tmp_path / "out" / "training.json").read_text())
    assert report["data"] == {"beir": {"documents": 60, "queries": 40}}
    assert (report["settings"]["lambda_t"], report["settings"]["steepness"]) == (3.0, 2.5)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "learned thresholds (queries soft, documents sigmoid, K = 2.5, lambda_T = 3)" in card
    assert not (tmp_path / "out" / "checkpoint.pt").exists()
    [thresholding] = [each for each in load_encoder(str(tmp_path / "out"), device="cpu").model][2:]
    assert isinstance(thresholding, Thresholding)
    assert (thresholding.query, thresholding.document) == ("soft", "sigmoid")
    assert thresholding.document_threshold.item() == pytest.approx(
        report["validations"][-1]["document_threshold"], rel=2**-11
    )


def test_wrong_options_of_the_command_are_exit_status_2(train: Callable[..., Result]) -> None:
    result = train("--method", "topk", "--query-rule", "soft")
    assert result.exit_code == 2
    assert "the method topk has no thresholds; leave --query-rule out or choose ht." in result.stderr


def test_train_alone_still_trains_heads() -> None:
    result = CliRunner().invoke(cli, ["train", "--help"])
    assert "Train a K-sparse head" in result.output and "--latents" in result.output
    assert "--lambda-t" in CliRunner().invoke(cli, ["train", "splade", "--help"]).output
