from __future__ import annotations

import gc
import os
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException

from connector.connection.client import connect
from connector.index.drop import drop_index
from connector.types import EncoderFingerprint
from tests.patience import wait_until

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder

pytest_plugins = ["tests.opensearch_fixture"]

# Read when huggingface_hub is imported: no test may wait for a network.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tiny models differ from test to test, and each would be converted: seconds. Tests of OpenVINO ask for it.
os.environ["KSPARSE_BACKEND"] = "torch"
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"


def pytest_collection() -> None:
    """Objects created while tests are collected live until the end; the garbage collector would search them."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Exclude the objects created so far from garbage collection, and let it run less often."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


# Threads of libraries that live for the whole run; the watcher of late replies ends automatically.
_LASTING_THREADS = ("tqdm", "Thread-asyncio", "ray", "pydevd", "ksparse-slow-replies")


@pytest.fixture(autouse=True)
def no_thread_outlives_its_test() -> Iterator[None]:
    """Threads must end with their test, or they would affect others."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        # Dummies stand for threads that Python did not start, Ray's for example; nobody can wait for those.
        if not isinstance(thread, threading._DummyThread) and not thread.name.startswith(_LASTING_THREADS):
            wait_until(partial(_has_ended, thread), f"{thread} outlives the test")


def _has_ended(thread: threading.Thread) -> bool:
    try:
        thread.join(0.1)
    except RuntimeError:  # it is just being started, by a server that has accepted a last connection
        return False
    return not thread.is_alive()


@pytest.fixture(scope="session")
def transformer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT behind all dense models here."""
    from tests.tiny import build_transformer

    return build_transformer(tmp_path_factory.mktemp("models") / "transformer")


@pytest.fixture(scope="session")
def dense_folder(transformer_folder: Path) -> Path:
    """A saved dense SentenceTransformer of 16 dimensions."""
    from tests.tiny import build_dense

    folder = transformer_folder.parent / "dense"
    build_dense(transformer_folder).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def head_folder(dense_folder: Path) -> Path:
    """A head (8 of 64 latents, 4 for a query) that names the tiny dense model; what `--encoder` takes."""
    from tests.tiny import build_head

    folder = dense_folder.parent / "head"
    folder.mkdir()
    build_head(str(dense_folder)).save(str(folder))
    return folder


@pytest.fixture(scope="session")
def encoder(head_folder: Path) -> TextEncoder:
    from connector.encoders.load import load_encoder

    return load_encoder(str(head_folder), device="cpu")


@pytest.fixture(scope="session")
def lexical(dense_folder: Path) -> TextEncoder:
    """An untrained head with tokens beside its 64 latents, and no statistics yet."""
    import torch

    from connector.encoders.autoencoder import KSparseAutoEncoder
    from connector.encoders.load import join
    from connector.encoders.text import TextEncoder
    from tests.tiny import DIM, NUM_LATENTS, K, build_dense

    dense = build_dense(dense_folder.parent / "transformer")
    sizes = {"num_tokens": len(dense.tokenizer), "document_scale": 0.3, "query_scale": 0.5}
    torch.manual_seed(4)
    head = KSparseAutoEncoder(DIM, NUM_LATENTS, K, base_model=str(dense_folder), lexical_config=sizes)
    return TextEncoder(join(dense, head))


@pytest.fixture
def fingerprint() -> EncoderFingerprint:
    """Fingerprint of an encoder that need not exist."""
    return EncoderFingerprint("tiny", "", "ab" * 32, 8, 64, "mean", 12, {"query": "ask: "})


@pytest.fixture(scope="session")
def client(opensearch_url: str) -> Iterator[OpenSearch]:
    with connect(opensearch_url) as client:
        yield client


@pytest.fixture
def workplace(tmp_path: Path, opensearch_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary working folder for commands, connected to the node."""
    monkeypatch.setenv("OPENSEARCH_URL", opensearch_url)
    for name in ("OPENSEARCH_USERNAME", "OPENSEARCH_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def index(client: OpenSearch) -> Iterator[str]:
    """A name that no other test uses; whatever index has it at the end is deleted."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    try:
        client.indices.delete(index=name, ignore_unavailable=True)
    except AuthorizationException:
        # A read-only index cannot even be deleted.
        client.indices.put_settings(index=name, body={"index.blocks.read_only": None})
        client.indices.delete(index=name)


@pytest.fixture
def second(client: OpenSearch) -> Iterator[str]:
    """The name of another index, which is deleted at the end."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    client.indices.delete(index=name, ignore_unavailable=True)


@pytest.fixture
def few_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tune` tries 6 settings instead of 52 (4 instead of 20 for a dictionary), each with every query three times."""
    for name, values in {"K_QUERIES": (4, 16), "BUDGETS": (0.02,), "CELLS": (8, 32), "WINDOWS": (100, 500)}.items():
        monkeypatch.setattr(f"connector.search.tune.{name}", values)


@pytest.fixture
def small_dictionaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 documents are enough for a dictionary."""
    for module in ("ingest.own_dictionary", "ingest.prepare", "search.growth", "training.dictionary.build"):
        monkeypatch.setattr(f"connector.{module}.MIN_DOCUMENTS", 300)


@pytest.fixture(scope="module")
def narrow_ivae() -> Iterator[None]:
    """Networks of an iVAE with a thirtieth of the weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("connector.training.heads.trainer.HIDDEN_DIM", 256)
        yield


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test alone."""
    monkeypatch.setenv("KSPARSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def named(client: OpenSearch, index: str, own_cache: Path) -> Iterator[str]:  # noqa: ARG001
    """Name of an index that is deleted with its dictionary, as is the one named INDEX-2."""
    yield index
    for each in (index, f"{index}-2"):
        drop_index(client, each)


@pytest.fixture(scope="module")
def file_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the tests of one file: what one of them converts, the others find."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def in_file_cache(file_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSPARSE_CACHE", str(file_cache))
