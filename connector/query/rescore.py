"""Compact codes scored inside of the server, by a script that any OpenSearch runs. Pure functions."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connector.vectors.codes import Bits, RotatedCode

CODE_FIELD = "dense_code"

_FIRST, _LAST = 0x80, 0x7FF
"""Characters that UTF-8 writes in two bytes: the query goes to the script as a string of them, since the numbers of a
list are boxed objects to a script."""
_ZERO = (_FIRST + _LAST) // 2


def code_mapping() -> dict[str, Any]:
    """The field that codes live in: doc values, no index, nothing stored twice."""
    return {"type": "binary", "doc_values": True}


def code_of(hit: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    """The code of a hit whose `docvalue_fields` were asked for: (num_bytes,), or None if it has none."""
    values = hit.get("fields", {}).get(CODE_FIELD)
    if not values:
        return None
    text: str = values[0]
    # Without padding, and of the alphabet for URLs in some versions.
    packed = base64.urlsafe_b64decode(text.translate(str.maketrans("+/", "-_")) + "=" * (-len(text) % 4))
    return np.frombuffer(packed, dtype=np.uint8)


def build_rescore(code: RotatedCode, query: NDArray[np.float32], window: int) -> dict[str, Any]:
    """Build the value of `rescore` in a search body.

    Args:
        code: Of the index.
        query: float32 (dim,), the dense embedding.
        window: Hits of the first phase that are scored again, per shard.

    Returns:
        The first `window` hits then score 1 plus the estimated inner product, the others stay behind them.

    Raises:
        ValueError: `window` is below 1, or the query has other dimensions.
    """
    if window < 1:
        raise ValueError(f"the window must be at least 1, got {window}.")
    return rescore_by(build_script(code, query), window)


def build_scan(code: RotatedCode, query: NDArray[np.float32]) -> dict[str, Any]:
    """Build a query clause that scores every document by its code: slow, and as near to the dense order as codes are.

    Args:
        code: Of the index.
        query: float32 (dim,), the dense embedding.

    Raises:
        ValueError: The query has other dimensions.
    """
    return score_by(build_script(code, query))


def build_script(code: RotatedCode, query: NDArray[np.float32]) -> dict[str, Any]:
    """Build the script that scores a document by its code: 1 plus the estimated inner product.

    Raises:
        ValueError: The query has other dimensions.
    """
    if query.shape != (code.dim,):
        raise ValueError(f"the query's embedding must have shape ({code.dim},), got {query.shape}.")
    turned = query @ code.rotation
    step = float(np.abs(turned).max()) / (_LAST - _ZERO) or 1.0
    text = "".join(map(chr, (np.rint(turned / step).astype(np.int64) + _ZERO).tolist()))
    params = {"q": text, "scale": step * code.factor_unit / 2, "shift": 1.0 + float(code.mean @ query)}
    return {"lang": "painless", "source": script_source(code.dim, code.bits), "params": params}


def score_by(script: Mapping[str, Any]) -> dict[str, Any]:
    """Build a query clause that scores every document by a script."""
    return {"script_score": {"query": {"match_all": {}}, "script": dict(script)}}


def rescore_by(script: Mapping[str, Any], window: int) -> dict[str, Any]:
    """Build the value of `rescore` that replaces the score of the first `window` hits by that of a script."""
    return {
        "window_size": window,
        "query": {
            "rescore_query": score_by(script),
            "query_weight": 0,
            "rescore_query_weight": 1,
        },
    }


@lru_cache(maxsize=32)
def script_source(dim: int, bits: Bits) -> str:
    """The script for codes of some width: always the same text, so that the server compiles it once."""
    per_byte, length = 8 // bits, dim * bits // 8
    mask, odd = 2**bits - 1, 2**bits - 1
    terms = " + ".join(
        f"(q.charAt(j + {place}) - {_ZERO}) * ((x >> {bits * (per_byte - 1 - place)} & {mask}) * 2 - {odd})"
        for place in range(per_byte)
    )
    return (
        f"if (doc['{CODE_FIELD}'].size() == 0) {{ return 0; }} "
        f"def code = doc['{CODE_FIELD}'].value; byte[] a = code.bytes; int o = code.offset; String q = params.q; "
        f"int s = 0; int j = 0; for (int i = 0; i < {length}; ++i) "
        f"{{ int x = a[o + i]; s += {terms}; j += {per_byte}; }} "
        f"int f = (a[o + {length}] & 255) << 8 | (a[o + {length + 1}] & 255); "
        "return Math.max(0.0, (double) params.scale * s * f + (double) params.shift);"
    )
