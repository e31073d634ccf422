"""The suite `gpu` in miniature, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unjudged import COUNT, read_groups, run, write_unjudged


@pytest.mark.slow
def test_all_parts_run_on_whatever_device_there_is(head_folder: Path, tmp_path: Path) -> None:
    dataset, output = write_unjudged(tmp_path / "unjudged"), tmp_path / "gpu.json"
    sizes = ("--texts", "40", "--cells", "700", "--seconds", "3", "--rounds", "1")
    options = ("--encoder", str(head_folder), "--device", "cpu", "--output", str(output))
    precisions = ("--precision", "float32", "--precision", "bfloat16")
    run("gpu", str(dataset), *options, *sizes, *precisions)
    assert json.loads(output.read_text())["environment"]["device"] == "cpu"
    [(name, rows)] = read_groups(output).items()
    assert name == "unjudged"
    assert [row["part"] for row in rows] == ["end to end", "dictionary", *10 * ["encoding"], "training"]
    whole, large, *encoded, trained = rows
    assert (whole["documents"], whole["cells"]) == (COUNT, 26 * 27)
    assert whole["total_s"] == pytest.approx(whole["embed_s"] + whole["build_s"] + whole["encode_s"])
    assert 600 <= large["cells"] <= 700 and large["real"] <= large["embeddings"]
    for precision in ("float32", "bfloat16"):
        some = [row for row in encoded if row["precision"] == precision]
        assert max(row["ratio"] for row in some if "batch_size" in row) == 1.0
        ours = [row for row in some if "cells" in row]
        assert [row["cells"] for row in ours] == [whole["cells"], large["cells"]]
        exact = precision == "float32"
        assert all((row["equal_features"] == 1.0) == exact for row in ours)
        assert min(row["cosine"] for row in ours) > (0.999 if exact else 0.99)
    assert trained["steps"] >= 1 and trained["latents"] == 64
