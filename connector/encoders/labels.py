"""Read and write the labels of latents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from connector.errors import EncoderError

LABELS_FILE = "labels.json"

Labels = tuple[tuple[str, ...], ...]
"""Terms of each latent, most characteristic first; empty without a label."""


def label_of(latent: int, labels: Labels) -> str:
    """The terms of a latent, joined by commas; empty without a label."""
    return ", ".join(labels[latent]) if latent < len(labels) else ""


@dataclass(frozen=True, slots=True)
class LabelQuality:
    """How well the terms of a latent predict, on held-out documents, whether it fires.

    Attributes:
        latents: Number of labelled latents that fire in enough documents to be evaluated.
        auc: Mean AUC: the probability that a document that activates the latent has more of its terms than one that
            does not.
        shuffled_auc: The same with labels of other latents.
        predicted: Fraction of the latents whose AUC exceeds the 95th percentile of the shuffled AUCs.
    """

    latents: int
    auc: float
    shuffled_auc: float
    predicted: float


def write_labels(folder: Path, labels: Labels, quality: LabelQuality, data: Sequence[str]) -> Path:
    """Write labels, their corpora and their quality to the head's folder; return the path."""
    path = folder / LABELS_FILE
    content = {"quality": asdict(quality), "data": list(data), "labels": labels}
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    return path


def read_labels(folder: Path) -> Labels:
    """Read labels; empty if there are none.

    Raises:
        EncoderError: The file is malformed.
    """
    path = folder / LABELS_FILE
    if not path.is_file():
        return ()
    try:
        return tuple(tuple(map(str, label)) for label in json.loads(path.read_text(encoding="utf-8"))["labels"])
    except (ValueError, KeyError, TypeError) as error:
        raise EncoderError(f"{path} is not a label file ({error!r}); write it again with `ksparse label`.") from error
