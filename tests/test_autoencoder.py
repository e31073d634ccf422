from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from connector.encoders.autoencoder import MIN_VALUE, KSparseAutoEncoder
from connector.encoders.lexical import Task
from connector.vectors.top_k import sparsify
from tests.tiny import DIM, K_QUERY, NUM_LATENTS, K, build_head


@pytest.fixture
def head() -> KSparseAutoEncoder:
    return build_head()


@pytest.fixture
def embeddings() -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(20, DIM, generator=torch.Generator().manual_seed(0)), dim=1)


def test_the_training_top_k_is_what_sparsify_keeps(head: KSparseAutoEncoder, embeddings: torch.Tensor) -> None:
    with torch.inference_mode():
        activations = head.activations(embeddings, K).numpy()
        expected = sparsify(head.encoder(embeddings).numpy(), K)
    rebuilt = np.zeros_like(activations)
    np.put_along_axis(rebuilt, expected.features, expected.weights, axis=1)
    np.testing.assert_array_equal(activations, rebuilt)


def test_strongest_is_activations_without_the_zeros(head: KSparseAutoEncoder, embeddings: torch.Tensor) -> None:
    with torch.inference_mode():
        latents, values = head.strongest(embeddings, K)
        rebuilt = torch.zeros(len(embeddings), NUM_LATENTS).scatter(1, latents, values)
        assert torch.equal(rebuilt, head.activations(embeddings, K))
    assert torch.equal(values, values.sort(dim=1, descending=True).values)


def test_the_values_kept_have_length_1_where_that_is_requested(tmp_path: Path, embeddings: torch.Tensor) -> None:
    head = KSparseAutoEncoder(DIM, NUM_LATENTS, K, normalize=True)
    head.save(str(tmp_path))
    with torch.inference_mode():
        for k in (K, 2):
            values = KSparseAutoEncoder.load(str(tmp_path)).activations(3 * embeddings, k)
            torch.testing.assert_close(values.norm(dim=1), torch.ones(len(values)))


def test_negative_activations_become_0_after_the_cut() -> None:
    head = KSparseAutoEncoder(1, 3, k=2)
    with torch.no_grad():
        head.encoder.weight.copy_(torch.tensor([[1.0], [-1.0], [-2.0]]))
        head.encoder.bias.zero_()
    assert head.activations(torch.tensor([[1.0]]), 2).tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("thresholds", [None, {}])
def test_a_text_of_which_nothing_is_positive_keeps_its_strongest_feature(
    normalize: bool, thresholds: dict[str, str] | None
) -> None:
    head = KSparseAutoEncoder(1, 3, k=2, normalize=normalize, thresholds_config=thresholds).eval()
    with torch.no_grad():
        head.encoder.weight.copy_(torch.tensor([[-3.0], [-1.0], [-2.0]]))
        head.encoder.bias.zero_()
        activations = head.activations(torch.tensor([[1.0], [-1.0]]), 2)
        assert activations[0].tolist() == pytest.approx([0.0, MIN_VALUE, 0.0])
        assert activations[1, 0] > activations[1, 2] > MIN_VALUE and activations[1, 1] == 0.0
        # A loss that goes by values is not to see one that no weight has made.
        assert head.train().activations(torch.tensor([[1.0]]), 2).tolist() == [[0.0, 0.0, 0.0]]


def test_gradients_reach_kept_latents_only(head: KSparseAutoEncoder, embeddings: torch.Tensor) -> None:
    activations = head.activations(embeddings[:1], K)
    activations.sum().backward()  # type: ignore[no-untyped-call]
    assert head.encoder.weight.grad is not None
    reached = head.encoder.weight.grad.abs().sum(dim=1) > 0
    assert torch.equal(reached, activations[0] > 0)
    assert 0 < int(reached.sum()) <= K


@pytest.mark.parametrize(("task", "kept"), [("query", K_QUERY), ("document", K), (None, K)])
def test_a_query_keeps_k_query_and_all_else_k(
    head: KSparseAutoEncoder, embeddings: torch.Tensor, task: Task | None, kept: int
) -> None:
    features = head({"sentence_embedding": embeddings}, task=task)
    assert int((features["sentence_embedding"] > 0).sum(dim=1).max()) == kept
    assert features["dense_embedding"] is embeddings


def test_max_active_dims_goes_before_k(head: KSparseAutoEncoder, embeddings: torch.Tensor) -> None:
    for asked, kept in ((2, 2), (10_000, NUM_LATENTS)):
        activations = head({"sentence_embedding": embeddings}, max_active_dims=asked)["sentence_embedding"]
        assert torch.equal(activations, head.activations(embeddings, kept))


def test_the_decoder_runs_in_training_only(embeddings: torch.Tensor) -> None:
    head = KSparseAutoEncoder(DIM, NUM_LATENTS, K, with_decoder=True)
    assert head({"sentence_embedding": embeddings})["decoded_embedding"].shape == embeddings.shape
    head.eval()
    assert "decoded_embedding" not in head({"sentence_embedding": embeddings})


@pytest.mark.parametrize("with_decoder", [False, True])
def test_save_and_load_keep_weights_and_configuration(tmp_path: Path, with_decoder: bool) -> None:
    head = KSparseAutoEncoder(DIM, NUM_LATENTS, K, K_QUERY, with_decoder=with_decoder, base_model="some/model")
    head.save(str(tmp_path))
    loaded = KSparseAutoEncoder.load(str(tmp_path))
    assert loaded.get_config_dict() == head.get_config_dict()
    assert (loaded.k, loaded.k_query, loaded.base_model) == (K, K_QUERY, "some/model")
    for name, tensor in head.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_file_in_half_precision_is_widened(tmp_path: Path, head: KSparseAutoEncoder) -> None:
    head.save(str(tmp_path))
    weights = load_file(tmp_path / "model.safetensors")
    save_file({name: tensor.half() for name, tensor in weights.items()}, tmp_path / "model.safetensors")
    loaded = KSparseAutoEncoder.load(str(tmp_path))
    assert loaded.encoder.weight.dtype == torch.float32
    assert torch.equal(loaded.encoder.weight, head.encoder.weight.half().float())


@pytest.mark.parametrize("sizes", [(0, 64, 8, 4), (16, 0, 8, 4), (16, 64, 0, 4), (16, 64, 8, -1)])
def test_a_size_below_1_is_refused(sizes: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        KSparseAutoEncoder(*sizes)


@pytest.mark.parametrize("sizes", [(16, 64, 65, 8), (16, 64, 8, 65)])
def test_more_features_than_latents_are_refused(sizes: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot exceed num_latents 64"):
        KSparseAutoEncoder(*sizes)


def test_k_query_is_k_where_it_is_not_given() -> None:
    assert KSparseAutoEncoder(16, 64, 8).k_query == 8
