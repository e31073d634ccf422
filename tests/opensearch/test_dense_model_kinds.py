"""Kinds of dense models, each through ingest, search, doctor, tune and reencode with a dictionary of its index.

The expected ranking is sentence-transformers' own, by `encode_query`, `encode_document` and `similarity`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from opensearchpy import OpenSearch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
    XLMRobertaConfig,
    XLMRobertaModel,
    XLMRobertaTokenizer,
)

from connector import SearchSettings, SparseIndex
from connector.cli.main import cli
from connector.index.schema import existing_schema
from tests.tiny import MAX_TOKENS, WORDS, build_transformer

pytestmark = pytest.mark.opensearch

PIECES = 250_000
COUNT = 300
QUERIES = 12

_RANDOM = np.random.default_rng(7)
_RARITY = 1 / np.arange(1, len(WORDS) + 1) ** 1.3
TEXTS = [
    " ".join(_RANDOM.choice(WORDS, size, p=_RARITY / _RARITY.sum())) for size in _RANDOM.integers(1, 9, COUNT + QUERIES)
]
CORPUS, ASKED = TEXTS[:COUNT], TEXTS[COUNT:]


@dataclass(frozen=True)
class Kind:
    """A kind of dense model.

    Attributes:
        dim: Width of the transformer.
        heads: Attention heads, which divide the width.
        pooling: Mode of the pooling.
        unit: Whether the model normalizes.
        options: Arguments of `SentenceTransformer`.
        sentencepiece: Whether the tokenizer has 250,000 pieces.
        causal: Whether tokens see only those before them.
        bits: Bits of its codes.
        found: Share of the nearest ten that features find among 300 documents. Of models that do not normalize, the
            longest documents are neighbours of all queries, and most share no cell with a query.
    """

    dim: int = 16
    heads: int = 2
    pooling: str = "mean"
    unit: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    sentencepiece: bool = False
    causal: bool = False
    bits: int = 4
    found: float = 0.9


DOT = {"similarity_fn_name": "dot"}
QUERY_PROMPT = {"query": "query : "}

KINDS = {
    "an odd number of dimensions, first token": Kind(33, 3, pooling="cls", bits=8),
    "truncated, prompts": Kind(
        128, options={"truncate_dim": 64, "prompts": QUERY_PROMPT | {"document": "document : "}}
    ),
    "truncated, dot product": Kind(
        128, pooling="mean_sqrt_len_tokens", unit=False, options=DOT | {"truncate_dim": 50}, found=0.5
    ),
    "cosine, not normalized": Kind(pooling="mean_sqrt_len_tokens", unit=False),
    "last token, a prompt named passage": Kind(
        pooling="lasttoken", options={"prompts": QUERY_PROMPT | {"passage": "passage : "}}
    ),
    "250,000 pieces": Kind(sentencepiece=True),
    "768 dimensions, dot product": Kind(768, 4, pooling="mean_sqrt_len_tokens", unit=False, options=DOT, found=0.75),
    "1,024 dimensions": Kind(1_024, 4),
    "causal, padded at the left, last token": Kind(pooling="lasttoken", causal=True),
}


def build_pieces(folder: Path) -> Path:
    """Write an XLM-RoBERTa of one narrow layer with a SentencePiece vocabulary of 250,000 pieces."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *(f"▁{word}" for word in WORDS)]
    pieces += [f"▁{number:x}" for number in range(PIECES - len(pieces) - 1)]
    tokenizer = XLMRobertaTokenizer(vocab=[(piece, -float(place > 3)) for place, piece in enumerate(pieces)])
    tokenizer.save_pretrained(str(folder))
    torch.manual_seed(1)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    XLMRobertaModel(config).save_pretrained(str(folder))
    return folder


def build_causal(folder: Path) -> Path:
    """Write a Qwen2 of two narrow layers, which pads at the left."""
    words = {word: number for number, word in enumerate(["<end>", "<unk>", *WORDS])}
    whole = Tokenizer(WordLevel(words, unk_token="<unk>"))
    whole.pre_tokenizer = Whitespace()
    whole.post_processor = TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 0)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=whole, eos_token="<end>", pad_token="<end>", unk_token="<unk>", padding_side="left"
    )
    tokenizer.save_pretrained(str(folder))
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    Qwen2Model(config).save_pretrained(str(folder))
    return folder


@dataclass(frozen=True)
class Built:
    """A saved model and what it ranks by itself.

    Attributes:
        kind: Its kind.
        folder: Its folder.
        similarities: (queries, documents).
    """

    kind: Kind
    folder: Path
    similarities: NDArray[np.float32]


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    kind = KINDS[request.param]
    folder = tmp_path_factory.mktemp("model")
    if kind.sentencepiece:
        build_pieces(folder / "transformer")
    elif kind.causal:
        build_causal(folder / "transformer")
    else:
        build_transformer(folder / "transformer", dim=kind.dim, heads=kind.heads)
    transformer = Transformer(str(folder / "transformer"), max_seq_length=MAX_TOKENS)
    modules = [transformer, Pooling(kind.dim, kind.pooling), *([Normalize()] if kind.unit else [])]
    options = {"device": "cpu", "similarity_fn_name": "cosine"} | kind.options
    dense = SentenceTransformer(modules=modules, **options)
    dense.save_pretrained(str(folder / "dense"))
    # encode_document takes the default prompt of documents, which is empty, before one named passage.
    name = "passage" if "passage" in dense.prompts else "document"
    documents, queries = dense.encode(CORPUS, prompt_name=name), dense.encode_query(ASKED)
    return Built(kind, folder / "dense", dense.similarity(queries, documents).numpy())


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def assert_ranked_alike(client: OpenSearch, index: str, model: Built) -> None:
    """Another program finds the model's nearest documents; scores are about 1 plus the model's similarity."""
    errors, losses = [], []
    with SparseIndex(index, client=client) as docs:
        for query, similarities in zip(ASKED, model.similarities, strict=True):
            hits = docs.search(query, top_k=10, settings=SearchSettings(window=1_000))
            found = similarities[[int(hit.id) for hit in hits]]
            errors.append(np.abs([hit.score - 1 for hit in hits] - found))
            losses.append(np.sort(similarities)[-10:].mean() - found.mean())
    spread = model.similarities.std()
    assert np.mean(errors) < 0.2 * spread
    assert np.mean(losses) < 0.35 * spread


@pytest.mark.usefixtures("few_trials", "small_dictionaries")
def test_it_goes_through_all_commands(client: OpenSearch, named: str, model: Built, workplace: Path) -> None:
    lines = [json.dumps({"_id": str(row), "text": text}) for row, text in enumerate(CORPUS)]
    (workplace / "corpus.jsonl").write_text("\n".join(lines))
    (workplace / "queries.txt").write_text("\n".join(ASKED))
    run("ingest", "corpus.jsonl", "--index", named, "--encoder", str(model.folder), "--quiet")
    schema = existing_schema(client, named)
    assert schema.dictionary is not None and schema.code is not None
    assert schema.code.bits == model.kind.bits
    if model.kind.sentencepiece:
        assert schema.dictionary.size < 2.2 * PIECES, "half precision"

    assert_ranked_alike(client, named, model)
    assert json.loads(run("search", ASKED[0], "--index", named, "--json"))["hits"]
    assert json.loads(run("doctor", "--index", named, "--recall", "0.1", "--json"))["cells"] == 13 * 13
    wanted = ("--recall", str(model.kind.found))
    assert json.loads(run("tune", "--index", named, "--queries", "queries.txt", *wanted, "--json"))["reached"]
    run("reencode", named, "--to", f"{named}-2", "--encoder", "own", "--delete-old", "--quiet")
    assert existing_schema(client, named).names == (f"{named}-2",)
    assert_ranked_alike(client, f"{named}-2", model)
