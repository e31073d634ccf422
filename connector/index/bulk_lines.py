"""Documents and deletions as the lines of a bulk request."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from functools import cache
from json.encoder import encode_basestring
from typing import Any

import numpy as np

from connector.index.derived import with_derived
from connector.limits import MAX_ID_BYTES, check_depth
from connector.query.body import FEATURES_FIELD, PRESENCE_FEATURE, check_features
from connector.query.rescore import CODE_FIELD
from connector.types import Deletion, SparseDocument
from connector.vectors.storage import SMALLEST_WEIGHT, to_cells

_DIGITS = 4
"""Always tell two weights apart that `rank_features` does: it keeps 9 significant bits."""


def to_lines(action: SparseDocument | Deletion, scale: float, derived: Collection[str] = ()) -> bytes:
    """What a bulk request holds of a document (two lines) or of a deletion (one).

    Args:
        action: To write.
        scale: A power of two that weights are multiplied by. They are rounded to the nearest that the server can hold,
            and raised to the smallest one.
        derived: Fields of the index that are made of others (`connector.index.derived`).

    Raises:
        ValueError: A feature cannot be stored, the id is not 1 to 512 bytes, the version is none that the server
            takes, or a value is not JSON or nested too deeply.
        TypeError, RecursionError: A value is not a JSON.
    """
    if not 1 <= len(action.doc_id.encode()) <= MAX_ID_BYTES:
        raise ValueError(f"_id {action.doc_id[:40]!r} must be 1 to {MAX_ID_BYTES} bytes long.")
    head: dict[str, Any] = {"_id": action.doc_id}
    if action.version is not None:
        # The server refuses the whole request for one version that it cannot read.
        if not isinstance(action.version, int) or not 0 <= action.version < 2**63:
            raise ValueError(f"version {action.version!r} must be an integer from 0 to 2^63 - 1.")
        head |= {"version": action.version, "version_type": "external_gte"}
    if action.routing is not None:
        head["routing"] = action.routing
    operation = "delete" if isinstance(action, Deletion) else "index"
    if action.replaces is not None and action.replaces.seq_no >= 0:
        head |= {"if_seq_no": action.replaces.seq_no, "if_primary_term": action.replaces.primary_term}
    elif action.replaces is not None and operation == "index":
        operation = "create"
    if isinstance(action, Deletion):
        return (_to_json({"delete": head}) + "\n").encode()
    rest = with_derived(action.source, derived)
    if action.code is not None:
        rest[CODE_FIELD] = base64.b64encode(action.code).decode("ascii")
    features = to_features(action.features, scale)
    fields = f",{_to_json(rest)[1:]}" if rest else "}"
    payload = f'{_to_json({operation: head})}\n{{"{FEATURES_FIELD}":{features}{fields}\n'.encode()
    check_depth(action.source, payload)
    return payload


def to_features(features: Mapping[str, float], scale: float) -> str:
    """The JSON object of all features of a document, with the presence feature.

    Written by hand: json.dumps spells out 17 digits of each, for half of all time.

    Args:
        features: From name to weight.
        scale: As for `to_lines`.

    Raises:
        ValueError: A feature cannot be stored.
    """
    if PRESENCE_FEATURE in features:
        raise ValueError(f"feature name {PRESENCE_FEATURE!r} is taken; every document gets it.")
    check_features(features)
    weights = np.fromiter(features.values(), np.float64, len(features)) * scale
    cells = to_cells(np.maximum(weights, SMALLEST_WEIGHT).astype(np.float32))
    pairs = [f"{encode_basestring(name)}:{_spelled(cell)}" for name, cell in zip(features, cells.tolist(), strict=True)]
    return f'{{{",".join(pairs)},"{PRESENCE_FEATURE}":{_spelled(_cell(max(scale, SMALLEST_WEIGHT)))}}}'


@cache
def _spelled(cell: int) -> str:
    """The shortest number that the server keeps as these bits: it takes a float's bits >> 15 and drops the rest."""
    middle = float(np.uint32((cell << 15) + (1 << 14)).view(np.float32))
    texts = (f"{middle:.{digits}g}" for digits in range(1, _DIGITS + 1))
    return next(text for text in texts if _cell(float(text)) == cell)


def _cell(weight: float) -> int:
    return int(np.float32(weight).view(np.uint32)) >> 15


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
