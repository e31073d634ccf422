"""The equations of the HT paper against numbers from a pocket calculator, and the modules that apply them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SparseEncoder
from torch import Tensor

from connector.encoders.lexical import Task
from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder
from connector.encoders.threshold_rules import ThresholdRule
from connector.encoders.thresholds import (
    Thresholding,
    TopKMasking,
    gauss_threshold,
    hard_threshold,
    sigmoid_threshold,
    soft_threshold,
)
from tests.tiny import build_splade

WEIGHTS = torch.tensor([0.0, 0.4, 0.5, 0.6, 2.0])
AT = torch.tensor(0.5)
TEXTS = ["cats sleep on warm stones", "stars", "why do plants eat light"]


def close(found: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-4)


def test_soft_hard_and_sigmoid_thresholds_by_hand() -> None:
    close(soft_threshold(WEIGHTS, AT), [0.0, 0.0, 0.0, 0.1, 1.5])
    close(hard_threshold(WEIGHTS, AT), [0.0, 0.0, 0.5, 0.6, 2.0])
    # Eq. 1 with K = 25: 0.4 / (1 + e^2.5) = 0.0303, 0.5 / 2, 0.6 / (1 + e^-2.5) = 0.5545.
    close(sigmoid_threshold(WEIGHTS, AT, 25.0), [0.0, 0.0303, 0.25, 0.5545, 2.0])


def test_the_gauss_error_function_is_as_steep_as_the_sigmoid_at_the_threshold() -> None:
    slopes = []
    for rule in (sigmoid_threshold, gauss_threshold):
        weight = torch.tensor(0.5, requires_grad=True)
        rule(weight, AT, 25.0).backward()  # type: ignore[no-untyped-call]
        slopes.append(weight.grad)
    # Both are 1/2 + 25 * 0.5 / 4 there.
    close(torch.stack([each for each in slopes if each is not None]), [3.625, 3.625])
    # erf(25 sqrt(pi) / 4 * 0.1) = erf(1.1078) = 0.8828.
    close(gauss_threshold(WEIGHTS, AT, 25.0), [0.0, 0.0234, 0.25, 0.5648, 2.0])


def test_an_infinitely_steep_sigmoid_is_the_hard_threshold_but_at_the_threshold_itself() -> None:
    apart = WEIGHTS[WEIGHTS != 0.5]
    torch.testing.assert_close(sigmoid_threshold(apart, AT, 1e6), hard_threshold(apart, AT))


def test_a_soft_threshold_of_0_changes_nothing() -> None:
    assert torch.equal(soft_threshold(WEIGHTS, torch.tensor(0.0)), WEIGHTS)


def test_the_index_approximation_error_is_below_the_papers_bound() -> None:
    weights = torch.linspace(0, 3, 301)
    for steepness in (2.5, 25.0, 250.0):
        error = (sigmoid_threshold(weights, AT, steepness) - hard_threshold(weights, AT)).abs()
        assert (error <= weights / (2 + steepness * (weights - AT).abs()) + 1e-6).all()


def thresholding(query: ThresholdRule = "soft", document: ThresholdRule = "hard") -> Thresholding:
    module = Thresholding(query, document)
    with torch.no_grad():
        module.query_threshold.fill_(0.4)
        module.document_threshold.fill_(0.5)
    return module


@pytest.mark.parametrize(
    ("rule", "in_training", "afterwards"),
    [
        ("none", [0.4, 0.5, 0.6], [0.4, 0.5, 0.6]),
        ("soft", [0.0, 0.0, 0.1], [0.0, 0.0, 0.1]),
        ("sigmoid", [0.0303, 0.25, 0.5545], [0.0303, 0.25, 0.5545]),
        ("hard", [0.0303, 0.25, 0.5545], [0.0, 0.5, 0.6]),
        ("gauss", [0.0234, 0.25, 0.5648], [0.0, 0.5, 0.6]),
    ],
)
def test_a_rule_applies_in_training_and_afterwards(
    rule: ThresholdRule, in_training: list[float], afterwards: list[float]
) -> None:
    module = thresholding(document=rule)
    close(module.train().threshold(WEIGHTS[1:4], "document"), in_training)
    close(module.eval().threshold(WEIGHTS[1:4], "document"), afterwards)


def test_queries_have_a_threshold_and_a_rule_of_their_own() -> None:
    module = thresholding().eval()
    output = module({"sentence_embedding": WEIGHTS.unsqueeze(0)}, task="query")
    close(output["sentence_embedding"][0], [0.0, 0.0, 0.1, 0.2, 1.6])
    assert torch.equal(output["activations"][0], WEIGHTS), "what L_Q and L_D look at"
    close(module({"sentence_embedding": WEIGHTS.unsqueeze(0)})["sentence_embedding"][0], [0.0, 0.0, 0.5, 0.6, 2.0])


@pytest.mark.parametrize("rule", ["soft", "sigmoid", "hard", "gauss"])
@pytest.mark.parametrize("task", ["query", "document"])
def test_a_gradient_reaches_the_threshold_of_its_task_alone(rule: ThresholdRule, task: Task) -> None:
    module = thresholding(rule, rule)
    module.threshold(WEIGHTS, task).sum().backward()  # type: ignore[no-untyped-call]
    gradients = {"query": module.query_threshold.grad, "document": module.document_threshold.grad}
    own = gradients.pop(task)
    assert own is not None and own < 0, "a higher threshold leaves less"
    assert list(gradients.values()) == [None]


def test_a_threshold_below_0_gives_no_text_every_feature() -> None:
    module = Thresholding()
    with torch.no_grad():
        module.query_threshold.fill_(-0.1)
    assert torch.equal(module.threshold(WEIGHTS, "query"), WEIGHTS)
    module.loss().backward()  # type: ignore[no-untyped-call]
    assert module.query_threshold.grad is not None and module.query_threshold.grad < 0, "L_T brings it back"


def test_the_threshold_loss_by_hand() -> None:
    # log(1 + e^-0.4) + log(1 + e^-0.5); without a rule for queries the second alone.
    assert thresholding().loss().item() == pytest.approx(0.5130 + 0.4741, abs=1e-4)
    assert thresholding(query="none").loss().item() == pytest.approx(0.4741, abs=1e-4)
    assert thresholding("none", "none").loss().item() == 0


def test_a_mask_keeps_the_largest_weights_of_documents_and_all_of_queries() -> None:
    rows = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 4.0]])
    module = TopKMasking(2)
    documents = module({"sentence_embedding": rows})["sentence_embedding"]
    assert documents.tolist() == [[3.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 4.0]]
    assert torch.equal(module({"sentence_embedding": rows}, task="query")["sentence_embedding"], rows)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="the query rule must be one of none, soft, .* got 'harsh'"):
        Thresholding(query="harsh")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"steepness must be above 0, got 0\.0"):
        Thresholding(steepness=0.0)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        TopKMasking(0)


@pytest.fixture(scope="module")
def splade(tmp_path_factory: pytest.TempPathFactory) -> SparseEncoder:
    return build_splade(tmp_path_factory.mktemp("splade") / "transformer")


def with_module(splade: SparseEncoder, module: torch.nn.Module) -> SparseEncoder:
    return SparseEncoder(modules=[*splade, module], device="cpu", similarity_fn_name="dot")


def test_a_saved_model_gives_the_same_vectors(splade: SparseEncoder, tmp_path: Path) -> None:
    before = TextEncoder(with_module(splade, thresholding()))
    before.model.save_pretrained(str(tmp_path / "ht"))
    after = load_encoder(str(tmp_path / "ht"), device="cpu")
    # sentence-transformers asks for trust with any module that is not its own.
    plain = SparseEncoder(str(tmp_path / "ht"), device="cpu", trust_remote_code=True)
    for mine, theirs, vectors in (
        (after.encode_document(TEXTS), plain.encode_document(TEXTS), before.encode_document(TEXTS)),
        (after.encode_query(TEXTS), plain.encode_query(TEXTS), before.encode_query(TEXTS)),
    ):
        np.testing.assert_array_equal(mine.features, vectors.features)
        np.testing.assert_allclose(mine.weights, vectors.weights, rtol=1e-6)
        assert isinstance(theirs, Tensor)
        rows = theirs.to_dense().numpy()
        np.testing.assert_array_equal((rows > 0).sum(axis=1), vectors.active_dims)
        np.testing.assert_allclose(rows.sum(axis=1), vectors.weights.sum(axis=1), rtol=1e-5)
    assert after.fingerprint.digest == before.fingerprint.digest


def test_documents_are_cut_hard_and_queries_softly(splade: SparseEncoder) -> None:
    whole, cut = TextEncoder(splade), TextEncoder(with_module(splade, thresholding()))
    for found, everything in zip(
        cut.encode_document(TEXTS).as_mappings(), whole.encode_document(TEXTS).as_mappings(), strict=True
    ):
        assert found == {name: weight for name, weight in everything.items() if weight >= 0.5}
    for found, everything in zip(
        cut.encode_query(TEXTS).as_mappings(), whole.encode_query(TEXTS).as_mappings(), strict=True
    ):
        assert found == pytest.approx({name: weight - 0.4 for name, weight in everything.items() if weight > 0.4})


def test_the_fingerprint_covers_thresholds_rules_and_masks(splade: SparseEncoder) -> None:
    raised = thresholding()
    with torch.no_grad():
        raised.document_threshold.fill_(0.75)
    modules = [thresholding(), raised, thresholding(query="hard"), TopKMasking(4), TopKMasking(5)]
    encoders = [TextEncoder(splade), *(TextEncoder(with_module(splade, module)) for module in modules)]
    assert len({encoder.fingerprint.digest for encoder in encoders}) == len(encoders)
