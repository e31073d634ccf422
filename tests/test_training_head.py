"""Both recipes on 200 embeddings in clusters, in a few steps."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.sparse import csr_matrix

from connector.encoders.autoencoder import MIN_VALUE, KSparseAutoEncoder
from connector.encoders.folders import is_head
from connector.encoders.ivae import IdentifiableVAE
from connector.encoders.labels import LABELS_FILE, read_labels
from connector.encoders.lexical import pad_counts
from connector.errors import EncoderError
from connector.training.data import TrainingData
from connector.training.heads.card import save_head
from connector.training.heads.initialization import init_latents_from_documents
from connector.training.heads.settings import Recipe, TrainingSettings
from connector.training.heads.trainer import TrainedHead, train_head
from connector.training.loop import best_validation
from connector.training.validation import Validation, hold_out

SMALL = TrainingSettings(
    num_latents=64,
    k=8,
    k_query=4,
    train_k_query=(8, 4),
    steps=40,
    batch_size=32,
    neighbours_per_seed=4,
    num_neighbours=8,
    learning_rate=1e-2,
    validation_queries=30,
    validations=4,
    patience=10,
)
pytestmark = pytest.mark.usefixtures("narrow_ivae")

RECIPES: tuple[Recipe, ...] = ("retrieval", "paper", "ivae")


def small(recipe: Recipe) -> TrainingSettings:
    return replace(SMALL, recipe=recipe, learning_rate=1e-3 if recipe == "ivae" else SMALL.learning_rate)


def clustered(count: int, seed: int) -> NDArray[np.float32]:
    centres = np.random.default_rng(0).standard_normal((10, 16))
    random = np.random.default_rng(seed)
    rows = centres[np.arange(count) % 10] + 0.4 * random.standard_normal((count, 16))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return TrainingData(clustered(200, 1), np.empty((0, 16), np.float32), np.empty(0, np.int64), np.zeros(1, np.int64))


@pytest.fixture(scope="module")
def data_with_queries(data: TrainingData) -> TrainingData:
    return replace(data, queries=clustered(100, 2), positives=np.arange(100))


@pytest.fixture(scope="module", params=RECIPES)
def trained(request: pytest.FixtureRequest, data: TrainingData) -> TrainedHead:
    return train_head(data, small(request.param))


def test_the_loss_falls(trained: TrainedHead) -> None:
    assert len(trained.losses) == 4
    assert trained.losses[-1] < 0.9 * trained.losses[0]


def test_validations_are_spread_over_the_steps(trained: TrainedHead) -> None:
    assert trained.steps == 40
    at_first = [0] if trained.head.decoder is None and not isinstance(trained.head, IdentifiableVAE) else []
    assert [result.step for result in trained.validations] == [*at_first, 10, 20, 30, 40]


def test_the_head_has_the_weights_of_the_best_validation(trained: TrainedHead, data: TrainingData) -> None:
    assert trained.best.score == max(result.score for result in trained.validations)
    asked = replace(data, queries=clustered(100, 2), positives=np.arange(100))
    _, validation = hold_out(asked, asked.statistics(), 30, 0)
    # Other queries than those of the run, hence about.
    assert validation.run(trained.head, 0).overlap_at_10 == pytest.approx(trained.best.overlap_at_10, abs=0.15)


def test_the_head_is_better_than_an_untrained_one(trained: TrainedHead, data: TrainingData) -> None:
    torch.manual_seed(0)
    untrained = type(trained.head)(16, 64, 8, 4)
    asked = replace(data, queries=clustered(100, 2), positives=np.arange(100))
    _, validation = hold_out(asked, asked.statistics(), 30, 0)
    # Among 200 documents anything finds much; what training gives is to find it in fewer postings.
    after, before = validation.run(trained.head, 0), validation.run(untrained, 0)
    assert after.overlap_at_10 / after.postings > before.overlap_at_10 / before.postings


def test_the_weights_are_those_of_half_precision(trained: TrainedHead) -> None:
    for tensor in trained.head.state_dict().values():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tensor.half().float())


@pytest.mark.parametrize("recipe", RECIPES)
def test_one_seed_gives_one_head(data: TrainingData, recipe: Recipe) -> None:
    settings = replace(small(recipe), steps=8)
    weights = [torch.cat([each.flatten() for each in train_head(data, settings).head.parameters()]) for _ in range(2)]
    assert torch.equal(*weights)
    other = train_head(data, replace(settings, seed=1)).head
    assert not torch.equal(weights[0], torch.cat([each.flatten() for each in other.parameters()]))


@pytest.mark.parametrize("recipe", RECIPES)
def test_queries_are_learned_from_and_held_out(data_with_queries: TrainingData, recipe: Recipe) -> None:
    trained = train_head(data_with_queries, small(recipe), base_model="some/model")
    assert trained.losses[-1] < trained.losses[0]
    assert (trained.head.base_model, trained.head.k, trained.head.k_query) == ("some/model", 8, 4)


def test_the_weights_of_a_worse_last_step_are_not_returned(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    real = Validation.run

    def falling(self: Validation, head: KSparseAutoEncoder, step: int, **points: int) -> Any:  # noqa: ANN401
        if points:  # of the frontier, when the run is over
            return real(self, head, step, **points)
        seen.append(head.encoder.weight.detach().clone())
        return replace(real(self, head, step), ndcg_share=1.0 / step, recall_at_100=0.0)

    monkeypatch.setattr(Validation, "run", falling)
    trained = train_head(data, replace(SMALL, recipe="paper", patience=2))
    assert len(seen) == 3, "patience of 2 stops after two validations without a gain"
    assert trained.steps == 30
    assert trained.best.step == 10
    assert torch.equal(trained.head.encoder.weight, seen[0].half().float())


def test_the_later_of_equal_validations_is_chosen(data: TrainingData) -> None:
    first = train_head(data, replace(SMALL, steps=2)).best
    results = [replace(first, step=step, ndcg_share=share) for step, share in ((1, 0.5), (2, 0.9), (3, 0.9), (4, 0.1))]
    assert best_validation(results, SMALL).step == 3, "the weights of step 3 replaced those of step 2"
    assert best_validation(results, replace(SMALL, patience=None)).step == 4


def test_training_ends_in_time(data: TrainingData) -> None:
    trained = train_head(data, replace(SMALL, steps=10_000_000, max_seconds=0.2, validations=1))
    assert trained.elapsed_s >= 0.2 and trained.steps < 10_000_000
    assert [result.step for result in trained.validations] == [0, trained.steps]


def test_progress_names_its_stages(data: TrainingData) -> None:
    reported: list[tuple[str, float]] = []
    train_head(data, replace(SMALL, steps=2), progress=lambda what, share: reported.append((what, share)))
    placed = [("initializing latents", share) for share in (1 / 3, 2 / 3, 1.0)]
    assert reported == [("finding neighbours", 1.0), *placed, ("training", 0.5), ("training", 1.0)]


def test_a_loss_that_is_not_finite_stops_the_run(data: TrainingData) -> None:
    with pytest.raises(EncoderError, match=r"The loss became (nan|inf) at step \d+; lower learning_rate"):
        train_head(data, replace(SMALL, recipe="paper", learning_rate=1e25))


def test_a_few_queries_are_enough(data: TrainingData) -> None:
    few = replace(data, queries=clustered(9, 2), positives=np.arange(9))
    assert train_head(few, replace(SMALL, steps=2)).validations


def test_the_card_and_the_report_are_written(trained: TrainedHead, tmp_path: Path) -> None:
    save_head(trained, tmp_path / "head", SMALL, data={"stars": {"documents": 200, "queries": 0}})
    loaded = type(trained.head).load(str(tmp_path / "head"))
    for name, tensor in trained.head.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert {each.dtype for each in load_file(tmp_path / "head" / "model.safetensors").values()} == {torch.float16}
    report = json.loads((tmp_path / "head" / "training.json").read_text())
    assert report["settings"] == json.loads(json.dumps(asdict(SMALL)))
    assert report["data"] == {"stars": {"documents": 200, "queries": 0}}
    assert report["losses"] == trained.losses
    assert {"torch", "sentence-transformers", "numpy"} == set(report["versions"])
    card = (tmp_path / "head" / "README.md").read_text()
    assert "16 dimensions as 8 features for a document and 4 for a query" in card
    assert "| stars | 200 | 0 |" in card
    assert f"| dense top 10 found in the sparse top 10 | {trained.best.overlap_at_10:.1%} |" in card


def test_a_new_head_does_not_take_over_the_labels_of_the_one_before(trained: TrainedHead, tmp_path: Path) -> None:
    (tmp_path / LABELS_FILE).write_text('{"labels": [["stars"]]}')
    save_head(trained, tmp_path, SMALL, data={})
    assert read_labels(tmp_path) == ()


def test_a_head_that_was_not_saved_to_the_end_is_none(
    trained: TrainedHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_head(trained, tmp_path, SMALL, data={})
    assert is_head(tmp_path)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("connector.training.heads.card.save_file", full)
    with pytest.raises(OSError, match="no space left"):
        save_head(trained, tmp_path, SMALL, data={})
    assert not is_head(tmp_path)


def test_a_large_corpus_is_sampled_with_the_relevant_documents(
    data_with_queries: TrainingData,
) -> None:
    head = KSparseAutoEncoder(16, 64, 64, 64)
    torch.nn.init.normal_(head.encoder.weight)
    _, validation = hold_out(data_with_queries, [head.statistics], 20, 0, share=0.2, max_documents=30)
    # Document i is near query i; were it missing, no ranking could gain anything.
    assert validation.run(head).ndcg_share > 0.5


def tokens(count: int, seed: int) -> csr_matrix:
    """Each text has the token of its cluster, 10 of 20, two of ten others, and one that all have."""
    random = np.random.default_rng(seed)
    rows = np.zeros((count, 31), np.float32)
    rows[np.arange(count), np.arange(count) % 20] = 1
    rows[np.arange(count), 20 + random.integers(10, size=count)] += 1
    rows[:, 30] = 1
    return csr_matrix(rows)


def test_tokens_become_features(data_with_queries: TrainingData) -> None:
    with_tokens = replace(data_with_queries, document_tokens=tokens(200, 3), query_tokens=tokens(100, 4))
    settings = replace(SMALL, document_lexical_scale=0.3, query_lexical_scale=0.3)
    head = train_head(with_tokens, settings).head
    assert head.lexical is not None
    assert head.lexical.token_weights[30] == 0, "a token of every document tells nothing"
    assert head.num_features == 64 + 31
    rows = torch.from_numpy(data_with_queries.documents)
    features, values = head.strongest(rows, 8, tokens=pad_counts(tokens(200, 3)))
    kept = features[values > 0]
    assert (kept >= 64).any() and (kept < 64).any()
    assert not (kept == 64 + 30).any()


def test_tokens_of_documents_are_enough_where_all_queries_are_synthetic(data: TrainingData) -> None:
    none = csr_matrix((0, tokens(1, 4).shape[1]), dtype=np.float32)
    head = train_head(replace(data, document_tokens=tokens(200, 3), query_tokens=none), replace(SMALL, steps=4)).head
    assert head.lexical is not None and head.lexical.token_weights.any()


def test_without_their_scale_tokens_are_no_features(data_with_queries: TrainingData) -> None:
    with_tokens = replace(data_with_queries, document_tokens=tokens(200, 3), query_tokens=tokens(100, 4))
    for settings in (replace(SMALL, query_lexical_scale=0.0), replace(SMALL, recipe="paper")):
        assert train_head(with_tokens, replace(settings, steps=2)).head.lexical is None


def test_the_mean_of_the_corpus_is_taken_off(data: TrainingData) -> None:
    shifted = replace(data, documents=data.documents + np.float32(1.0))
    head = train_head(shifted, replace(SMALL, steps=2)).head
    np.testing.assert_allclose(head.mean.numpy(), shifted.documents.mean(axis=0), rtol=1e-3)
    assert not train_head(shifted, replace(SMALL, steps=2, recipe="paper")).head.mean.any()


def test_hold_out_takes_a_tenth_at_most(data_with_queries: TrainingData) -> None:
    left, _ = hold_out(data_with_queries, data_with_queries.statistics(), 1_000, 0)
    assert (len(left.queries), len(left.positives), len(left.documents)) == (90, 90, 200)
    left, _ = hold_out(data_with_queries, data_with_queries.statistics(), 4, 0)
    assert len(left.queries) == 96


def test_a_query_is_held_out_with_all_of_its_relevant_documents(data: TrainingData) -> None:
    repeated = replace(data, queries=clustered(25, 2).repeat(4, axis=0), positives=np.arange(100))
    left, validation = hold_out(repeated, repeated.statistics(), 10, 0)
    [(held, _)] = validation._corpora
    assert (len(left.queries), len(held.queries)) == (92, 8)
    assert not {row.tobytes() for row in held.queries} & {row.tobytes() for row in left.queries}
    left, _ = hold_out(repeated, repeated.statistics(), 3, 0)
    assert len(left.queries) == 96, "one query at least"


def test_validation_by_hand() -> None:
    # One latent per direction: documents 0 and 1 share a latent, 2 has its own, latent 3 is dead.
    head = KSparseAutoEncoder(3, 4, k=1)
    with torch.no_grad():
        head.encoder.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [-1.0, -1.0, -1.0]]))
        head.encoder.bias.zero_()
    documents = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    queries = np.array([[1, 0, 0]], np.float32)
    asked = TrainingData(documents, queries, np.array([1]), np.zeros(1, np.int64))
    result = Validation([asked, asked.without_queries(np.array([0]))], [head.statistics] * 2).run(head, 7)
    # The dense top 10 are all three documents; the sparse ones are the two that share a latent with the query.
    assert result.step == 7
    assert result.ndcg_share == pytest.approx(1.0), "document 1 is second in both"
    assert result.overlap_at_10 == pytest.approx(2 / 3)
    assert result.recall_at_100 == pytest.approx(2 / 3)
    assert result.postings == pytest.approx(2 / 3)
    assert result.highest_document_frequency == pytest.approx(2 / 3)
    assert result.dead_latents == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"validations": 0}, "validations must be at least 1, got 0"),
        ({"k": 65}, "k 65 exceeds num_latents 64; lower k or raise num_latents"),
        ({"k_query": 65}, "k_query 65 exceeds num_latents 64; lower k_query or raise num_latents"),
        ({"train_k_query": (65, 4)}, "train_k_query 65 exceeds num_latents 64"),
        ({"batch_size": 30}, r"batch_size 30 must be a multiple of 4 \(neighbours_per_seed\)"),
        ({"query_lexical_scale": -0.1}, "query_lexical_scale -0.1 must be at least 0"),
        ({"max_seconds": 0.0}, "max_seconds must be above 0, got 0.0"),
        ({"threshold_weight": -1.0}, "threshold_weight must be at least 0, got -1.0"),
        ({"threshold_weight": 1.0, "recipe": "paper"}, "the recipe paper does not learn thresholds"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    "change",
    [{"num_neighbours": 0}, {"validation_queries": 0}, {"train_k_query": (0,)}]
    + [{"temperature": 0.0}, {"learning_rate": -1.0}, {"patience": 0}],
)
def test_more_settings_that_cannot_work_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(SMALL, **change)


class Stopped(Exception):
    """Raised in the middle of a run."""


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_stopped_run_resumes_to_the_same_result(
    data_with_queries: TrainingData, tmp_path: Path, recipe: Recipe
) -> None:
    settings, checkpoint = small(recipe), tmp_path / "head" / "checkpoint.pt"
    whole = train_head(data_with_queries, settings)

    def stop_at_half(what: str, share: float) -> None:
        if what == "training" and share > 0.6:
            raise Stopped

    with pytest.raises(Stopped):
        train_head(data_with_queries, settings, checkpoint=checkpoint, save_every_s=0.0, progress=stop_at_half)
    assert checkpoint.is_file()
    with pytest.raises(EncoderError, match="belongs to a run with another learning_rate and seed"):
        train_head(data_with_queries, replace(settings, learning_rate=1e-4, seed=5), checkpoint=checkpoint)
    other = replace(data_with_queries, positives=data_with_queries.positives[::-1].copy())
    with pytest.raises(EncoderError, match="belongs to a run with another corpus"):
        train_head(other, settings, checkpoint=checkpoint)
    with pytest.raises(EncoderError, match="belongs to a run with another base_model"):
        train_head(data_with_queries, settings, base_model="other", checkpoint=checkpoint)
    with pytest.raises(EncoderError, match="belongs to a run with another base_model"):
        train_head(data_with_queries, settings, teacher="trained again", checkpoint=checkpoint)
    resumed = train_head(data_with_queries, settings, checkpoint=checkpoint)
    assert resumed.validations == whole.validations
    assert resumed.losses == whole.losses
    for name, tensor in whole.head.state_dict().items():
        assert torch.equal(resumed.head.state_dict()[name], tensor), name
    assert not checkpoint.exists(), "the run is over"


def test_a_damaged_checkpoint_is_refused(data: TrainingData, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"PK, but no more")
    with pytest.raises(EncoderError, match="cannot be read"):
        train_head(data, SMALL, checkpoint=tmp_path / "checkpoint.pt")


def test_a_baseline_is_kept_where_nothing_better_is_found(data_with_queries: TrainingData) -> None:
    first = train_head(data_with_queries, SMALL).head
    ruinous = replace(SMALL, init="random", learning_rate=1e3)
    ruined = train_head(data_with_queries, ruinous, baseline=first)
    assert ruined.baseline is not None
    assert ruined.best == ruined.validations[0] == ruined.baseline, "nothing better was found"
    assert torch.equal(ruined.head.encoder.weight, first.encoder.weight)
    bad = train_head(data_with_queries, ruinous).head
    better = train_head(data_with_queries, replace(SMALL, num_latents=32), baseline=bad)
    assert better.baseline is not None and better.best.score > better.baseline.score
    assert better.best in better.validations[1:]
    assert better.head.num_latents == 32, "a baseline of other sizes is compared with all the same"


def test_latents_that_begin_as_documents_find_neighbours_before_any_step(data: TrainingData) -> None:
    many = replace(data, documents=clustered(2_000, 3))
    settings = replace(SMALL, num_latents=512, steps=1, validations=1, learning_rate=1e-12)
    at_random = train_head(many, replace(settings, init="random")).best
    at_documents = train_head(many, settings).validations[0]
    assert at_documents.step == 0
    assert at_documents.recall_at_100 > at_random.recall_at_100 + 0.1
    assert at_documents.postings < 0.5 * at_random.postings
    assert at_documents.dead_latents < 0.01


@pytest.mark.parametrize("num_latents", [16, 64, 1_000])
def test_latents_begin_as_centroids_and_documents_score_one_with_themselves(
    data: TrainingData, num_latents: int
) -> None:
    heads = [KSparseAutoEncoder(dim=data.documents.shape[1], num_latents=num_latents, k=8) for _ in range(2)]
    reported: list[float] = []
    init_latents_from_documents(heads[0], data, data.statistics(), seed=3, progress=reported.append)
    init_latents_from_documents(heads[1], data, data.statistics(), seed=3)
    head = heads[0]
    assert torch.equal(head.encoder.weight, heads[1].encoder.weight), "the same seed"
    assert reported == sorted(reported) and reported[-1] == 1.0
    lengths = head.encoder.weight.norm(dim=1)
    assert torch.allclose(lengths, lengths[0].expand(num_latents)), "no latent has an advantage by its length"
    assert head.encoder.bias.std() > 0, "wide where documents are few"
    head.mean.copy_(torch.from_numpy(data.documents.mean(axis=0)))
    _, values = head.strongest(torch.from_numpy(data.documents), 8)
    assert values.square().sum(dim=1).mean().item() == pytest.approx(1.0, abs=0.1)


def test_copies_of_a_document_are_one_latent(data: TrainingData) -> None:
    copies = replace(data, documents=np.concatenate([data.documents, np.repeat(data.documents[:1], 400, axis=0)]))
    head = KSparseAutoEncoder(dim=data.documents.shape[1], num_latents=64, k=8)
    np.testing.assert_array_equal(copies.statistics()[0].mean, data.statistics()[0].mean)
    init_latents_from_documents(head, copies, copies.statistics(), seed=3)
    directions = torch.nn.functional.normalize(head.encoder.weight.detach(), dim=1)
    assert (directions @ directions.T).triu(1).max() < 0.999


def test_learned_thresholds_leave_each_text_as_many_features_as_it_needs(data_with_queries: TrainingData) -> None:
    lengths = []
    for weight in (0.5, 20.0):
        settings = replace(SMALL, threshold_weight=weight, k=16, k_query=16, learning_rate=2e-3)
        trained = train_head(data_with_queries, settings)
        head = trained.head
        assert trained.best.step == trained.steps == settings.steps, (
            "the best held-out quality is that without thresholds"
        )
        assert head.thresholds is not None and (head.thresholds.query, head.thresholds.document) == ("soft", "hard")
        threshold = head.thresholds.document_threshold.item()
        _, values = head.strongest(torch.from_numpy(data_with_queries.documents), 16)
        assert not ((values > MIN_VALUE) & (values < threshold)).any()
        lengths.append((values > 0).sum(dim=1).float())
    assert lengths[1].mean() < lengths[0].mean() < 16, "lambda_T does not act"
    assert lengths[1].std() > 0, "all documents have the same length"


def test_thresholds_that_leave_nothing_are_an_error(data_with_queries: TrainingData, tmp_path: Path) -> None:
    settings = replace(SMALL, threshold_weight=1e6, learning_rate=0.1)
    with pytest.raises(EncoderError, match=r"threshold_weight 1e\+06 no features are left; lower it"):
        train_head(data_with_queries, settings, checkpoint=tmp_path / "checkpoint.pt")
    assert not (tmp_path / "checkpoint.pt").exists(), "a run with another weight begins anew"


def test_a_head_with_thresholds_is_saved_and_loaded(data_with_queries: TrainingData, tmp_path: Path) -> None:
    settings = replace(SMALL, threshold_weight=1.0, steps=4)
    trained = train_head(data_with_queries, settings)
    save_head(trained, tmp_path, settings, data={"stars": {"documents": 200, "queries": 100}})
    loaded = KSparseAutoEncoder.load(str(tmp_path)).eval()
    assert loaded.thresholds_config == {"query": "soft", "document": "hard", "steepness": 250.0}
    rows = torch.from_numpy(data_with_queries.documents)
    for task in ("query", "document"):
        before, after = (head.activations(rows, 8, task=task) for head in (trained.head, loaded))
        assert torch.equal(before, after)
    card = (tmp_path / "README.md").read_text()
    assert "at most 8 features for a document and 4 for a query" in card


def test_the_frontier_is_measured_where_there_are_latents_enough(trained: TrainedHead) -> None:
    assert [(result.k, result.k_query) for result in trained.frontier] == [
        (32, 8), (32, 16), (64, 8), (64, 16), (64, 32), (64, 64)
    ]  # fmt: skip
    fewest, most = trained.frontier[0], trained.frontier[-1]
    assert fewest.postings < most.postings
    # Among 200 documents the first 100 of the sparse ranking hold nearly all of the dense top 10.
    assert most.recall_at_100 > 0.9 and most.rescored_ndcg_share > 0.9
    assert trained.document_frequencies.shape == (64,)
    assert 0 < trained.document_frequencies.max() <= 1
