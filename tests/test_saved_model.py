"""What a saved model is, before it is loaded: kinds that are refused, and code that is not run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling

from connector.encoders.convert import convert
from connector.encoders.folders import check_encoder
from connector.encoders.load import load_encoder, shipped_encoders
from connector.encoders.saved_model import read_saved_model
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from tests.never import never
from tests.tiny import DIM, build_head, build_transformer

TEXTS = ["cats sleep on warm stones", "rivers carry sand to the sea"]


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def add_module(folder: Path, kind: str, name: str, **config: object) -> None:
    """Append a module to a saved model, as its first one before the head."""
    (folder / name).mkdir()
    (folder / name / "config.json").write_text(json.dumps(config))
    edit(folder / "modules.json", lambda found: found.insert(-1, {"idx": 9, "name": name, "path": name, "type": kind}))


@pytest.fixture(scope="module")
def routers(tmp_path_factory: pytest.TempPathFactory) -> tuple[SparseEncoder, SentenceTransformer]:
    """An inference-free SPLADE, and a dense model with another transformer for queries."""
    folder = tmp_path_factory.mktemp("routers")
    masked = Transformer(str(build_transformer(folder / "masked", masked=True)), transformer_task="fill-mask")
    splade = Router.for_query_document([SparseStaticEmbedding(masked.tokenizer)], [masked, SpladePooling("max")])
    plain = str(build_transformer(folder / "plain"))
    asked, stored = ([Transformer(plain), Pooling(DIM, mode)] for mode in ("mean", "cls"))
    dense = Router.for_query_document(asked, stored, default_route="document")
    return SparseEncoder(modules=[splade], device="cpu"), SentenceTransformer(modules=[dense], device="cpu")


def test_a_model_with_routes_is_refused(routers: tuple[SparseEncoder, SentenceTransformer], tmp_path: Path) -> None:
    for name, model in zip(("sparse", "dense"), routers, strict=True):
        model.save_pretrained(str(tmp_path / name))
        for use in (check_encoder, load_encoder):
            with pytest.raises(EncoderError, match=rf"{name} has different modules for .* \(Router\)"):
                use(str(tmp_path / name))
    (tmp_path / "head").mkdir()
    build_head(str(tmp_path / "dense")).save(str(tmp_path / "head"))
    with pytest.raises(EncoderError, match=r"dense has different modules for queries and documents \(Router\)"):
        load_encoder(str(tmp_path / "head"), device="cpu")


def test_a_graph_has_no_routes(routers: tuple[SparseEncoder, SentenceTransformer], tmp_path: Path) -> None:
    dense = routers[1]
    with pytest.raises(ValueError, match="depend on the task"):
        convert(list(dense), dense, tmp_path / "graph")
    assert not (tmp_path / "graph").exists()


@pytest.mark.parametrize("kind", ["CrossEncoder", "MultiVectorEncoder"])
def test_a_model_of_another_kind_is_refused(dense_folder: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(dense_folder, tmp_path / "model")
    edit(tmp_path / "model" / "config_sentence_transformers.json", lambda found: found.update(model_type=kind))
    (tmp_path / "head").mkdir()
    build_head(str(tmp_path / "model")).save(str(tmp_path / "head"))
    for name, use in (("model", check_encoder), ("model", load_encoder), ("head", load_encoder)):
        with pytest.raises(EncoderError, match=f"model is a {kind} .*, and cannot be used as a SentenceTransformer"):
            use(str(tmp_path / name))


def test_sparse_and_dense_models_are_not_converted_into_each_other(dense_folder: Path, tmp_path: Path) -> None:
    shipped = shipped_encoders()["bert-tiny-splade-ht"]
    build_head(str(shipped)).save(str(tmp_path))
    with pytest.raises(EncoderError, match="is a SparseEncoder .* cannot be used as a SentenceTransformer"):
        load_encoder(str(tmp_path), device="cpu")
    shutil.copytree(dense_folder, tmp_path / "dense")
    add_module(tmp_path / "dense", "sentence_transformers.sparse_encoder.modules.SparseAutoEncoder", "head")
    with pytest.raises(EncoderError, match="is a SentenceTransformer .* cannot be used as a SparseEncoder"):
        load_encoder(str(tmp_path / "dense"), device="cpu")


def test_code_that_a_configuration_names_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = never("code was fetched")
    monkeypatch.setattr("transformers.dynamic_module_utils.get_cached_module_file", fetched)
    expected = load_encoder("bert-tiny-splade-ht", device="cpu").encode_document(TEXTS)
    folder = tmp_path / "m"
    shutil.copytree(shipped_encoders()["bert-tiny-splade-ht"], folder)
    code = "evil/repo--code.Evil"
    edit(
        folder / "config.json", lambda found: found.update(auto_map={"AutoConfig": code, "AutoModelForMaskedLM": code})
    )
    edit(folder / "tokenizer_config.json", lambda found: found.update(auto_map={"AutoTokenizer": [code, code]}))
    found = load_encoder(str(folder), device="cpu").encode_document(TEXTS)
    np.testing.assert_array_equal(found.features, expected.features)
    np.testing.assert_array_equal(found.weights, expected.weights)
    (folder / "processor_config.json").write_text(json.dumps({"auto_map": {"AutoProcessor": code}}))
    with pytest.raises(EncoderError, match=r"m cannot be loaded: (.|\n)* wrap it: TextEncoder"):
        load_encoder(str(folder), device="cpu")


@pytest.mark.parametrize(
    ("kind", "config", "reason"),
    [
        ("sentence_transformers.models.Dense", {"activation_function": "evil.Run"}, "Dense may run any code"),
        ("sentence_transformers.models.WordEmbeddings", {"tokenizer_class": "e/r--c.T"}, "Embeddings may run any code"),
        ("evil.Module", {}, r"evil\.Module is not part of sentence-transformers"),
    ],
)
def test_a_module_beside_ours_that_may_run_code_is_refused(
    encoder: TextEncoder, tmp_path: Path, kind: str, config: dict[str, object], reason: str
) -> None:
    encoder.model.save_pretrained(str(tmp_path / "m"))
    add_module(tmp_path / "m", kind, "added", **config)
    with pytest.raises(EncoderError, match=rf"m cannot be loaded: its module .*{reason}.* wrap it: TextEncoder"):
        load_encoder(str(tmp_path / "m"), device="cpu")


def test_code_in_the_folder_is_refused(encoder: TextEncoder, tmp_path: Path) -> None:
    encoder.model.save_pretrained(str(tmp_path / "m"))
    (tmp_path / "m" / "evil.py").touch()
    with pytest.raises(EncoderError, match=r"m cannot be loaded: it contains code \(evil\.py\)"):
        load_encoder(str(tmp_path / "m"), device="cpu")


def test_an_activation_of_torch_is_allowed(encoder: TextEncoder, tmp_path: Path) -> None:
    encoder.model.save_pretrained(str(tmp_path / "m"))
    activation = "torch.nn.modules.activation.Tanh"
    add_module(tmp_path / "m", "sentence_transformers.models.Dense", "dense", activation_function=activation)
    saved = read_saved_model(str(tmp_path / "m"))
    assert saved.has_foreign
    saved.check_code(tmp_path / "m", [module.type for module in saved.modules if module.is_foreign])


def test_a_model_with_a_broken_list_of_modules_is_refused(dense_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(dense_folder, tmp_path / "model")
    (tmp_path / "model" / "modules.json").write_text("[")
    with pytest.raises(EncoderError, match=r"modules\.json is not valid JSON .* download the model again"):
        check_encoder(str(tmp_path / "model"))
