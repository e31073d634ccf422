"""Forked processes, which have none of the threads that encoded in their parent."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SparseEncoder

from connector.encoders.load import join
from connector.encoders.text import TextEncoder
from tests.patience import PATIENCE_S
from tests.tiny import build_dense, build_head

pytestmark = pytest.mark.usefixtures("own_cache")

TEXTS = ["cats sleep", "stars burn", "plants eat light"]


@pytest.fixture
def model(transformer_folder: Path) -> SparseEncoder:
    return join(build_dense(transformer_folder), build_head())


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_forked_process_encodes_as_its_parent_did(backend: str, model: SparseEncoder) -> None:
    encoder = TextEncoder(model, base_model="forked", backend=backend)
    assert encoder.backend == backend
    before = encoder.encode_document(TEXTS * 50)
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(encoder.encode_document(TEXTS)))
    child.start()
    try:
        assert receiver.poll(PATIENCE_S), "the child does not encode"
        found = receiver.recv()
        child.join(PATIENCE_S)
        assert child.exitcode == 0
    finally:
        child.kill()
    np.testing.assert_array_equal(found.features, before.features[: len(TEXTS)])
    np.testing.assert_allclose(found.weights, before.weights[: len(TEXTS)], rtol=1e-3)


SCRIPT = """
import os, sys
from pathlib import Path
import numpy as np
from connector.encoders.graph import Graph

graph, unused = (Graph(Path(sys.argv[1])) for _ in range(2))
ids = np.ones((2, 3), dtype=np.int64)

def embed(graph):
    [(_, embeddings)] = graph.embed([(0, {name: ids for name in graph.inputs})])
    return embeddings

before, _ = embed(graph), embed(unused)
child = os.fork()
if not child:
    assert np.array_equal(embed(graph), before)
    sys.exit(0)  # with destructors, as of a worker of a web server
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_ends_as_others_do(model: SparseEncoder, own_cache: Path) -> None:
    encoder = TextEncoder(model, base_model="forked", backend="openvino")
    encoder.encode_query(TEXTS[:1])
    [graph] = (own_cache / "graphs").glob("*/model.xml")
    script = [sys.executable, "-c", SCRIPT, str(graph.parent)]
    ended = subprocess.run(script, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 0, ended.stderr
