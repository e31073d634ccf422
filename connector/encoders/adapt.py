"""Calibrate an encoder with the data stored in an index. Torch is not imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from connector.vectors.codes import RotatedCode
from connector.vectors.statistics import CorpusStatistics

if TYPE_CHECKING:
    from connector.encoders.light import LightEncoder
    from connector.encoders.text import TextEncoder

E = TypeVar("E", "TextEncoder", "LightEncoder")


def adapt(encoder: E, statistics: CorpusStatistics | None, code: RotatedCode | None) -> E:
    """Return the encoder with an index's statistics and codes; unchanged if there are none or their sizes differ."""
    if encoder.statistics is None and encoder.is_splade and statistics is not None and not statistics.mean.size:
        encoder = encoder.with_idf()
    own = encoder.statistics
    if own is None:
        return encoder
    if statistics is not None:
        fits = (own.mean.shape, own.token_weights.shape) == (statistics.mean.shape, statistics.token_weights.shape)
        encoder = encoder.with_statistics(statistics) if fits and not own.equals(statistics) else encoder
    if code is encoder.code or (code is not None and (encoder.head is None or code.dim != len(own.mean))):
        return encoder
    return encoder.with_code(code)
