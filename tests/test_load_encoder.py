from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.base_model import find_base_model, find_local_model
from connector.encoders.folders import check_encoder
from connector.encoders.load import DEFAULT_ENCODER, join, load_encoder, shipped_encoders, shipped_heads
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from tests.never import never
from tests.tiny import DIM, K_QUERY, NUM_LATENTS, K, build_dense, build_head, build_splade

TEXTS = ["cats sleep on warm stones", "rivers carry sand to the sea", "stars"]


@pytest.fixture(scope="module")
def whole_folder(encoder: TextEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dense model and head, saved as one."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    encoder.model.save_pretrained(str(folder))
    return folder


def test_the_whole_model_loads_and_gives_the_same_vectors(encoder: TextEncoder, whole_folder: Path) -> None:
    loaded = load_encoder(str(whole_folder), device="cpu")
    for before, after in (
        (encoder.encode_document(TEXTS), loaded.encode_document(TEXTS)),
        (encoder.encode_query(TEXTS), loaded.encode_query(TEXTS)),
    ):
        np.testing.assert_array_equal(before.features, after.features)
        np.testing.assert_allclose(before.weights, after.weights, rtol=1e-6)
    assert (loaded.k, loaded.k_query) == (K, K_QUERY)


def test_head_folder_and_whole_model_have_one_digest(encoder: TextEncoder, whole_folder: Path) -> None:
    assert load_encoder(str(whole_folder), device="cpu").fingerprint.digest == encoder.fingerprint.digest


def test_a_plain_sparse_encoder_runs_the_whole_model(encoder: TextEncoder, whole_folder: Path) -> None:
    # sentence-transformers asks for trust with any module that is not its own.
    model = SparseEncoder(str(whole_folder), device="cpu", trust_remote_code=True)
    assert isinstance(model[-1], KSparseAutoEncoder)
    for theirs, ours in (
        (model.encode_document(TEXTS), encoder.encode_document(TEXTS)),
        (model.encode_query(TEXTS), encoder.encode_query(TEXTS)),
    ):
        assert isinstance(theirs, torch.Tensor)
        rows = theirs.to_dense().numpy()
        np.testing.assert_allclose(np.take_along_axis(rows, ours.features, axis=1), ours.weights, rtol=1e-6)
        np.testing.assert_array_equal((rows > 0).sum(axis=1), ours.active_dims)


def test_prompts_survive_saving_and_loading(transformer_folder: Path, tmp_path: Path) -> None:
    model = join(build_dense(transformer_folder, prompts={"query": "query: "}), build_head())
    model.save_pretrained(str(tmp_path / "m"))
    assert load_encoder(str(tmp_path / "m"), device="cpu").fingerprint.prompts == {"query": "query: "}


def test_k_can_be_changed_on_loading(head_folder: Path) -> None:
    loaded = load_encoder(str(head_folder), device="cpu", k=6, k_query=2)
    assert (loaded.fingerprint.k, loaded.encode_document(TEXTS).weights.shape) == (6, (3, 6))
    assert loaded.encode_query(TEXTS).weights.shape == (3, 2)


def test_the_fingerprint_names_the_base_model(encoder: TextEncoder, dense_folder: Path) -> None:
    assert (encoder.fingerprint.base_model, encoder.fingerprint.revision) == (str(dense_folder), "")


def test_the_folder_of_a_dense_model_is_named_for_any_working_directory(
    dense_folder: Path, head_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dense_folder.parent)
    assert find_base_model("./dense").name == str(dense_folder.resolve())
    build_head("dense").save(str(tmp_path))
    dense, head = (load_encoder(name, device="cpu").fingerprint for name in ("dense", str(tmp_path)))
    assert dense.base_model == head.base_model == str(dense_folder.resolve())
    assert head.digest == load_encoder(str(head_folder), device="cpu").fingerprint.digest


def test_a_saved_splade_loads(tmp_path: Path) -> None:
    model = build_splade(tmp_path / "transformer")
    model.save_pretrained(str(tmp_path / "m"))
    loaded = load_encoder(str(tmp_path / "m"), device="cpu")
    assert (loaded.head, loaded.fingerprint.pooling) == (None, "max/relu")
    np.testing.assert_allclose(
        loaded.encode_document(TEXTS).weights, TextEncoder(model).encode_document(TEXTS).weights, rtol=1e-5
    )


def test_a_shipped_head_goes_by_its_name() -> None:
    assert DEFAULT_ENCODER in shipped_heads()
    head = KSparseAutoEncoder.load(str(shipped_heads()[DEFAULT_ENCODER]))
    assert (head.dim, head.base_model) == (384, "sentence-transformers/all-MiniLM-L6-v2")


def test_the_shipped_splade_goes_by_its_name_and_is_small() -> None:
    folder = shipped_encoders()["bert-tiny-splade-ht"]
    assert "bert-tiny-splade-ht" not in shipped_heads()
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 18e6
    splade = load_encoder("bert-tiny-splade-ht", device="cpu")
    assert splade.is_splade and splade.statistics is not None
    assert {parameter.dtype for parameter in splade.model.parameters()} == {torch.float32}
    [document] = splade.encode_document(["Plants make sugar from light, which is called photosynthesis."]).as_mappings()
    [query] = splade.encode_query(["photosynthesis of plants"]).as_mappings()
    found = [splade.label(name) for name in document if name in query]
    assert found and '"plants"' in found and len(document) < 60
    common, rare = (splade.encode_query([word]).weights.max() for word in ("what is it", "photosynthesis"))
    assert rare > common


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EncoderError, match="is neither a head .* nor a SparseEncoder"):
        load_encoder(str(tmp_path))


def test_a_head_without_a_base_model_is_refused(tmp_path: Path) -> None:
    build_head().save(str(tmp_path))
    with pytest.raises(EncoderError, match=r"config\.json has no base_model"):
        load_encoder(str(tmp_path))


def test_a_head_of_another_width_is_refused(dense_folder: Path, tmp_path: Path) -> None:
    KSparseAutoEncoder(DIM + 1, NUM_LATENTS, K, base_model=str(dense_folder)).save(str(tmp_path))
    with pytest.raises(EncoderError, match="has 16 dimensions, the head was trained for 17"):
        load_encoder(str(tmp_path), device="cpu")


def test_a_name_that_is_nowhere_is_refused() -> None:
    with pytest.raises(EncoderError, match="'nobody/nothing' is not a folder and cannot be fetched .* Check the name"):
        load_encoder("nobody/nothing")


def test_a_base_model_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    build_head(str(tmp_path / "gone")).save(str(tmp_path))
    with pytest.raises(EncoderError, match="gone' is not a folder and cannot be fetched"):
        load_encoder(str(tmp_path))


def test_minilm_comes_from_its_package_where_there_is_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = find_base_model()
    assert (found.name, found.revision) == ("sentence-transformers/all-MiniLM-L6-v2", "")
    assert (Path(found.path) / "modules.json").is_file()


COMMIT = "0123456789" * 4


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the model hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(cache: Path, name: str) -> Path:
    """The folder of a model in the cache, still empty."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    return folder / "snapshots" / COMMIT


def test_a_cached_masked_language_model_needs_no_hub(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.encoders.base_model.HfApi", never("the hub was asked"))
    build_splade(tmp_path / "transformer")
    shutil.copytree(tmp_path / "transformer", cached(hub_cache, "nobody/splade"), dirs_exist_ok=True)
    loaded = load_encoder("nobody/splade", device="cpu")
    assert loaded.is_splade
    assert (loaded.fingerprint.base_model, loaded.fingerprint.revision) == ("nobody/splade", COMMIT)


def test_a_cached_model_whose_download_was_stopped_is_not_used(hub_cache: Path) -> None:
    folder = cached(hub_cache, "nobody/large")
    parts = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = json.dumps({"weight_map": {f"layer.{number}": part for number, part in enumerate(parts)}})
    for name, content in (("modules.json", "[]"), ("model.safetensors.index.json", index), (parts[0], "")):
        (folder / name).write_text(content)
        with pytest.raises(EncoderError, match="cannot be fetched from the model hub"):
            find_base_model("nobody/large")
    (folder / parts[1]).touch()
    assert find_base_model("nobody/large").path == str(folder)


@pytest.mark.parametrize(
    ("absent", "complete"),
    [
        ("onnx/model.onnx", True),
        ("onnx/config.json", True),
        ("openvino/openvino_model.bin", True),
        ("pytorch_model.bin", True),
        ("README.md", True),
        ("1_Pooling/config.json", False),
        ("2_Dense/model.safetensors", False),
    ],
)
def test_a_cached_model_needs_only_files_that_are_loaded(
    hub_cache: Path, absent: str, complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.encoders.base_model.HfApi", never("the hub was asked"))
    folder = cached(hub_cache, "nobody/graphs")
    present = ("modules.json", "config.json", "model.safetensors")
    for name in present:
        (folder / name).write_text("[]")
    listed = {name: {"size": 2, "blob_id": "0" * 40} for name in (*present, absent)}
    (folder.parents[1] / "trees").mkdir()
    (folder.parents[1] / "trees" / f"{COMMIT}.json").write_text(json.dumps({"format_version": 1, "files": listed}))
    found = find_local_model("nobody/graphs")
    assert (found.path if found is not None else None) == (str(folder) if complete else None)


def test_the_hub_is_asked_once_for_a_model(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Hub:
        def model_info(self, name: str, timeout: float) -> SimpleNamespace:
            asked.append(name)
            return SimpleNamespace(sha=COMMIT)

    monkeypatch.setattr("connector.encoders.base_model.HfApi", Hub)
    check_encoder("nobody/asked-once")
    found = find_base_model("nobody/asked-once")
    assert (found.path, found.revision, asked) == ("nobody/asked-once", COMMIT, ["nobody/asked-once"])


def test_a_dense_model_embeds_but_has_no_features(dense_folder: Path) -> None:
    dense = load_encoder(str(dense_folder), device="cpu")
    assert dense.needs_dictionary
    assert dense.embed(["plants eat light"]).shape == (1, DIM)
    with pytest.raises(EncoderError, match="is a dense model without a head"):
        dense.encode_document(["plants eat light"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_dense_model_stored_in_half_precision_computes_in_float32(
    transformer_folder: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    model = build_dense(transformer_folder).to(dtype)
    model.save_pretrained(str(tmp_path / "half"))
    model.float().save_pretrained(str(tmp_path / "same"))
    half, same = (load_encoder(str(tmp_path / name), device="cpu") for name in ("half", "same"))
    np.testing.assert_array_equal(half.embed(TEXTS), same.embed(TEXTS))
    found, expected = (dense.with_head(build_head()) for dense in (half, same))
    assert found.fingerprint.weights_sha256 == expected.fingerprint.weights_sha256
    for ours, theirs in zip(found.encode_document(TEXTS), expected.encode_document(TEXTS), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_dense_model_with_code_of_its_own_is_refused(dense_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(dense_folder, tmp_path / "dense")
    modules = tmp_path / "dense" / "modules.json"
    first, *others = json.loads(modules.read_text())
    modules.write_text(json.dumps([first | {"type": "custom_st.Transformer"}, *others]))
    (tmp_path / "head").mkdir()
    build_head(str(tmp_path / "dense")).save(str(tmp_path / "head"))
    for name in ("dense", "head"):
        with pytest.raises(EncoderError, match=r"dense cannot be loaded: (.|\n)*custom_st(.|\n)* wrap it: TextEncoder"):
            load_encoder(str(tmp_path / name), device="cpu")


def test_a_dense_model_without_a_transformer_is_refused(transformer_folder: Path, tmp_path: Path) -> None:
    static = StaticEmbedding(Tokenizer.from_file(str(transformer_folder / "tokenizer.json")), embedding_dim=DIM)
    SentenceTransformer(modules=[static], device="cpu").save_pretrained(str(tmp_path))
    with pytest.raises(EncoderError, match=r"has no tokenizer of transformers \(StaticEmbedding\)"):
        load_encoder(str(tmp_path), device="cpu")


def test_a_broken_configuration_is_refused(head_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(head_folder, tmp_path / "head")
    (tmp_path / "head" / "config.json").write_text('{"num_latents": 64')
    with pytest.raises(EncoderError, match=r"config\.json"):
        load_encoder(str(tmp_path / "head"))


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_refused(head_folder: Path, device: str) -> None:
    with pytest.raises(EncoderError, match=f"Device '{device}' is not available; leave it out"):
        load_encoder(str(head_folder), device=device)


def test_a_masked_language_model_alone_is_a_splade(tmp_path: Path) -> None:
    model = build_splade(tmp_path / "transformer")
    loaded = load_encoder(str(tmp_path / "transformer"), device="cpu")
    expected = model.encode_document(TEXTS)
    assert isinstance(expected, torch.Tensor)
    rows, found = expected.to_dense().numpy(), loaded.encode_document(TEXTS)
    np.testing.assert_array_equal((rows > 0).sum(axis=1), found.active_dims)
    np.testing.assert_allclose(
        np.take_along_axis(rows, found.features, axis=1)[found.weights > 0], found.weights[found.weights > 0], rtol=1e-5
    )
