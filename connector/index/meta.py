"""The `_meta` of the mapping, where ksparse records the encoder and settings of an index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from connector.errors import IndexMappingError
from connector.index.companion import Companion
from connector.query.settings import SearchSettings
from connector.types import EncoderFingerprint
from connector.vectors.codes import RotatedCode
from connector.vectors.statistics import CorpusStatistics

META_KEY = "ksparse"
FORMAT = 1
"""Incremented when older versions would misread the index; new optional keys do not change it."""

_FINGERPRINT = [each.name for each in fields(EncoderFingerprint)]
_COMPANION = [each.name for each in fields(Companion)]


@dataclass(frozen=True, slots=True)
class IndexMeta:
    """The content of `_meta`.

    Attributes:
        encoder: Fingerprint of the encoder that wrote the index.
        encoder_name: Name for `load_encoder`; empty if unknown.
        statistics: Corpus statistics of the encoder; None if it has none.
        code: Quantizer of the stored codes; None without codes.
        weight_exponent: Exponent of the power of two by which stored weights are multiplied.
        search: Default search settings; None if not set.
        dictionary: Location of the encoder's dictionary in the cluster; None for other encoders.
    """

    encoder: EncoderFingerprint
    encoder_name: str = ""
    statistics: CorpusStatistics | None = None
    code: RotatedCode | None = None
    weight_exponent: int = 0
    search: SearchSettings | None = None
    dictionary: Companion | None = None

    def to_json(self) -> dict[str, Any]:
        """The value of `META_KEY`; unset parts are omitted."""
        meta: dict[str, Any] = {"format": FORMAT, "encoder": asdict(self.encoder) | {"digest": self.encoder.digest}}
        if self.encoder_name:
            meta["encoder_name"] = self.encoder_name
        if self.statistics is not None:
            meta["statistics"] = self.statistics.to_json()
        if self.code is not None:
            meta["code"] = self.code.to_json()
        if self.weight_exponent:
            meta["weight_exponent"] = self.weight_exponent
        if self.search is not None:
            meta["search"] = self.search.to_json()
        if self.dictionary is not None:
            meta["dictionary"] = self.dictionary.to_json()
        return meta

    @classmethod
    def from_json(cls, index: str, meta: Mapping[str, Any]) -> IndexMeta:
        """Read what `to_json` of any version wrote; unknown keys are ignored.

        Raises:
            IndexMappingError: The format is newer, or the content is damaged.
        """
        check_format(index, meta)
        try:
            return cls(
                encoder=EncoderFingerprint(**_known(meta["encoder"], _FINGERPRINT)),
                encoder_name=str(meta.get("encoder_name", "")),
                statistics=CorpusStatistics.from_json(meta["statistics"]) if "statistics" in meta else None,
                code=RotatedCode.from_json(meta["code"]) if "code" in meta else None,
                weight_exponent=int(meta.get("weight_exponent", 0)),
                search=SearchSettings.from_json(meta["search"]) if "search" in meta else None,
                dictionary=Companion(**_known(meta["dictionary"], _COMPANION)) if "dictionary" in meta else None,
            )
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise IndexMappingError(
                f"The `_meta` of ksparse in index {index!r} is damaged ({error!r}); ingest into a new index."
            ) from error


def check_format(index: str, meta: Mapping[str, Any]) -> None:
    """Check that this version can read an index; the oldest indices have no format number.

    Raises:
        IndexMappingError: A newer version wrote the index.
    """
    found = meta.get("format", FORMAT)
    major = str(found).partition(".")[0]
    if not major.isdecimal():
        raise IndexMappingError(
            f"Index {index!r} has format {found!r}, which is not a number; ingest into a new index."
        )
    if int(major) > FORMAT:
        raise IndexMappingError(
            f"Index {index!r} has format {found}, but this version of ksparse reads up to {FORMAT}: upgrade ksparse."
        )


def space_of(meta: Mapping[str, Any]) -> str:
    """Digest of what a query must share with an index: encoder, weight scale and codes."""
    facts = (meta["encoder"]["digest"], meta.get("weight_exponent", 0), meta.get("code"))
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _known(facts: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name in names}
