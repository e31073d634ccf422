"""Labels of latents: the terms of the documents that activate them most, compared with all others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from connector.errors import EncoderError

LABELS_FILE = "labels.json"

Labels = tuple[tuple[str, ...], ...]
"""The terms of each latent, most characteristic first; none for a latent without a label."""


@dataclass(frozen=True, slots=True)
class LabelQuality:
    """How well the terms of a latent predict, on held-out documents, whether it fires.

    Attributes:
        latents: How many have a label and fire in enough of these documents to be judged.
        auc: Mean over these of the probability that a document which fires has more of the label's terms than one
            which does not.
        shuffled_auc: The same with the labels of other latents.
        predicted: Share of these whose AUC is above the 95th percentile of the shuffled ones.
    """

    latents: int
    auc: float
    shuffled_auc: float
    predicted: float


def write_labels(folder: Path, labels: Labels, quality: LabelQuality, data: Sequence[str]) -> Path:
    """Write labels beside a head, with their corpora and prediction quality; return the file."""
    path = folder / LABELS_FILE
    content = {"quality": asdict(quality), "data": list(data), "labels": labels}
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    return path


def read_labels(folder: Path) -> Labels:
    """Read what `write_labels` wrote; empty where there is nothing.

    Raises:
        EncoderError: The file is not what it should be.
    """
    path = folder / LABELS_FILE
    if not path.is_file():
        return ()
    try:
        return tuple(tuple(map(str, label)) for label in json.loads(path.read_text(encoding="utf-8"))["labels"])
    except (ValueError, KeyError, TypeError) as error:
        raise EncoderError(f"{path} holds no labels ({error!r}); write it again with `ksparse label`.") from error
