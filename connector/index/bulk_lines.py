"""Serialize documents and deletions as lines of a bulk request."""

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
"""Significant decimal digits that distinguish all weights of `rank_features`, which keeps 9 significant bits."""


def to_lines(action: SparseDocument | Deletion, scale: float, derived: Collection[str] = ()) -> bytes:
    """Serialize a document (two lines) or a deletion (one line) for a bulk request.

    Args:
        action: The document or deletion.
        scale: Power of two by which weights are multiplied. Weights are rounded to the nearest storable value, and very
            small ones are raised to the smallest storable value.
        derived: Derived fields of the index (`connector.index.derived`).

    Raises:
        ValueError: A feature cannot be stored, the id is not 1 to 512 bytes, the version is invalid, or a value is
            not JSON or is nested too deeply.
        TypeError, RecursionError: A value is not JSON.
    """
    if not 1 <= len(action.doc_id.encode()) <= MAX_ID_BYTES:
        raise ValueError(f"_id {action.doc_id[:40]!r} must be 1 to {MAX_ID_BYTES} bytes long.")
    head: dict[str, Any] = {"_id": action.doc_id}
    if action.version is not None:
        # The server rejects the whole request for one invalid version.
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
    """Serialize the features of a document, including the presence feature, as a JSON object.

    Written by hand, since json.dumps writes 17 digits per weight, which took half of the total time.

    Args:
        features: Weight of each feature name.
        scale: As in `to_lines`.

    Raises:
        ValueError: A feature cannot be stored.
    """
    if PRESENCE_FEATURE in features:
        raise ValueError(f"feature name {PRESENCE_FEATURE!r} is reserved; ksparse adds it to every document.")
    check_features(features)
    weights = np.fromiter(features.values(), np.float64, len(features)) * scale
    cells = to_cells(np.maximum(weights, SMALLEST_WEIGHT).astype(np.float32))
    pairs = [f"{encode_basestring(name)}:{_spelled(cell)}" for name, cell in zip(features, cells.tolist(), strict=True)]
    return f'{{{",".join(pairs)},"{PRESENCE_FEATURE}":{_spelled(_cell(max(scale, SMALLEST_WEIGHT)))}}}'


@cache
def _spelled(cell: int) -> str:
    """The shortest decimal that the server stores as these bits: it keeps a float's bits >> 15."""
    middle = float(np.uint32((cell << 15) + (1 << 14)).view(np.float32))
    texts = (f"{middle:.{digits}g}" for digits in range(1, _DIGITS + 1))
    return next(text for text in texts if _cell(float(text)) == cell)


def _cell(weight: float) -> int:
    return int(np.float32(weight).view(np.uint32)) >> 15


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
