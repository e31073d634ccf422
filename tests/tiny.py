"""Models small enough to build in a fixture, with random weights of a fixed seed; nothing comes from a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder, SpladePooling
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizer

from connector.encoders.autoencoder import KSparseAutoEncoder

DIM = 16
NUM_LATENTS = 64
K = 8
K_QUERY = 4
MAX_TOKENS = 12

WORDS = (
    "plants eat light with green leaves cats sleep on warm stones rivers carry sand to the sea old bridges cross "
    "wide a of and how do why stars burn for years music has rhythm query document train neutral"
).split()


def build_transformer(folder: Path, *, masked: bool = False, dim: int = DIM, heads: int = 2) -> Path:
    """Write a BERT of two narrow layers with one token a word."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":", *WORDS]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=MAX_TOKENS).save_pretrained(str(folder))
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=dim,
        num_hidden_layers=2,
        num_attention_heads=heads,
        intermediate_size=2 * DIM,
        max_position_embeddings=64,
        # The usual 0.02 leaves all texts nearly alike.
        initializer_range=0.5,
    )
    (BertForMaskedLM(config) if masked else BertModel(config)).save_pretrained(str(folder))
    return folder


def build_dense(transformer: Path, *, prompts: Mapping[str, str] | None = None) -> SentenceTransformer:
    """A dense model whose embeddings have unit length."""
    modules = [Transformer(str(transformer), max_seq_length=MAX_TOKENS), Pooling(DIM, "mean"), Normalize()]
    return SentenceTransformer(modules=modules, device="cpu", prompts=dict(prompts or {}))


def build_head(base_model: str = "", *, seed: int = 2) -> KSparseAutoEncoder:
    torch.manual_seed(seed)
    return KSparseAutoEncoder(DIM, NUM_LATENTS, K, K_QUERY, base_model=base_model)


def build_splade(folder: Path) -> SparseEncoder:
    """A SPLADE: as many outputs as words, an output above 0 where the language model's is."""
    transformer = Transformer(
        str(build_transformer(folder, masked=True)), transformer_task="fill-mask", max_seq_length=MAX_TOKENS
    )
    return SparseEncoder(modules=[transformer, SpladePooling("max")], device="cpu")


def build_csr(transformer: Path) -> SparseEncoder:
    """A CSR: sentence-transformers' own autoencoder behind a dense model."""
    torch.manual_seed(3)
    dense = build_dense(transformer)
    return SparseEncoder(modules=[*dense, SparseAutoEncoder(DIM, NUM_LATENTS, k=K)], device="cpu")
