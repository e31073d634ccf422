"""Advice of commands: for an index with its own dictionary, other commands than for one with a fixed encoder."""

from __future__ import annotations

import re

import click
import numpy as np
import pytest
from opensearchpy import OpenSearch

from connector.cli.connection import ConnectionOptions
from connector.cli.label import _encoder_of
from connector.cli.new_index import NewIndexChoice, check_copied, check_k
from connector.cli.tune import _print
from connector.errors import EncoderError, EncoderMismatchError, IndexMappingError
from connector.index.companion import Companion
from connector.index.schema import IndexSchema
from connector.query.settings import SearchSettings
from connector.search.tune import Trial, Tuning
from connector.types import EncoderFingerprint
from connector.vectors.codes import RotatedCode

HEAD = IndexSchema(
    "docs",
    EncoderFingerprint("dense", "", "0" * 64, 32, 700, "mean", 256),
    {},
    code=RotatedCode(np.zeros(8, np.float32), 4),
    encoder_name="my-head",
)
OWN = IndexSchema(
    "docs", HEAD.encoder, {}, code=HEAD.code, dictionary=Companion("ksparse-dictionary-0", "0" * 64, 1_000)
)
SPLADE = IndexSchema("docs", HEAD.encoder, {}, encoder_name="my-splade")


def message_of(refused: pytest.ExceptionInfo[Exception]) -> str:
    return getattr(refused.value, "message", str(refused.value))


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        (HEAD, "or copy the index: `ksparse reencode docs --to NEW --k 48 --no-switch`."),
        (
            OWN,
            "or copy the index with a fixed encoder: `ksparse reencode docs --to NEW --encoder all-MiniLM-L6-v2 --k 48 "
            "--no-switch`.",
        ),
    ],
    ids=["head", "dictionary"],
)
def test_another_number_of_features_needs_a_fixed_encoder(schema: IndexSchema, advice: str) -> None:
    with pytest.raises(EncoderMismatchError) as refused:
        check_k(schema, 48)
    said = "Index 'docs' keeps 32 features per document, not 48. Leave --k out, "
    assert str(refused.value) == f"{said}{advice}"


@pytest.mark.parametrize(
    ("schema", "choice", "copied"),
    [
        (HEAD, NewIndexChoice(code_bits="3"), "--encoder own --code-bits 3"),
        (OWN, NewIndexChoice(code_bits="3"), "--code-bits 3"),
        (HEAD, NewIndexChoice(code_bits="2"), "--code-bits 2"),
        (OWN, NewIndexChoice(idf=True), "--encoder bert-tiny-splade-ht --idf"),
        (HEAD, NewIndexChoice(idf=True), "--encoder bert-tiny-splade-ht --idf"),
        (SPLADE, NewIndexChoice(idf=True), "--idf"),
        (OWN, NewIndexChoice(idf=True, code_bits="2"), None),
    ],
)
def test_only_copies_that_are_possible_are_advised(
    schema: IndexSchema, choice: NewIndexChoice, copied: str | None
) -> None:
    with pytest.raises(IndexMappingError, match="only a new index can have") as refused:
        choice.check_existing(OpenSearch(), schema)
    found = re.search("`ksparse reencode docs --to NEW (.*) --no-switch`", str(refused.value))
    assert (found and found[1]) == copied


def test_a_copy_with_the_same_dictionary_has_the_same_features() -> None:
    for possible in (HEAD, SPLADE):
        check_copied(possible, 48, idf=True)
    check_copied(OWN, None, idf=False)
    check_copied(OWN, 32, idf=False)
    for k, idf, option, copied in (
        (48, False, "--k 48", "--encoder all-MiniLM-L6-v2 --k 48"),
        (None, True, "--idf", "--encoder bert-tiny-splade-ht --idf"),
    ):
        with pytest.raises(click.UsageError) as refused:
            check_copied(OWN, k, idf=idf)
        assert message_of(refused) == (
            f"{option} is impossible: docs has its own dictionary, whose features are fixed. Leave it out, or copy the "
            f"index with a fixed encoder: `ksparse reencode docs --to NEW {copied} --no-switch`."
        )


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        (HEAD, "more than 32 features per document: `ksparse reencode docs --to NEW --k K --no-switch`."),
        (OWN, "build a new dictionary: `ksparse reencode docs --to NEW --encoder own --no-switch`."),
    ],
    ids=["head", "dictionary"],
)
def test_tune_advises_what_the_encoder_allows(
    schema: IndexSchema, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = Trial(SearchSettings(32, 100), 0.8, 1.0, 2.0)
    _print(Tuning((trial,), trial, reached=False), 0.9, 50, schema)
    said = "No setting reaches 0.9 on 50 queries; k_query 32 and a window of 100 come closest. Ask for a lower --recall"
    assert f"{said}, or {advice}\n" in capsys.readouterr().out


def test_cells_of_a_dictionary_are_not_labelled_as_latents_of_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.cli.label.open_client", lambda _: OpenSearch())
    monkeypatch.setattr("connector.index.schema.existing_schema", lambda *_: OWN)
    connection = ConnectionOptions()
    with pytest.raises(EncoderError) as refused:
        _encoder_of("docs", connection)
    assert str(refused.value) == (
        "Index 'docs' has its own dictionary, whose cells have no labels; only the latents of a head can be labelled. "
        "For labels, copy the index with a fixed encoder: `ksparse reencode docs --to NEW --encoder all-MiniLM-L6-v2 "
        "--no-switch`."
    )
    monkeypatch.setattr("connector.index.schema.existing_schema", lambda *_: HEAD)
    assert _encoder_of("docs", connection) == "my-head"
