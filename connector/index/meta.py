"""What ksparse keeps of an index in its mapping's `_meta`: written and read here and nowhere else."""

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
"""Grows where an older version would misread the index. A further optional key is no new format: it is ignored."""

_FINGERPRINT = [each.name for each in fields(EncoderFingerprint)]
_COMPANION = [each.name for each in fields(Companion)]


@dataclass(frozen=True, slots=True)
class IndexMeta:
    """What `_meta` holds.

    Attributes:
        encoder: Fingerprint of the encoder that wrote the index.
        encoder_name: Where that is found: what `load_encoder` takes; empty if unknown.
        statistics: The corpus statistics of the encoder; None if it has none.
        code: The compact codes that documents have, None if they have none.
        weight_exponent: The power of two that weights are stored multiplied by.
        search: How the index is searched where a search does not say, None if it says nothing.
        dictionary: Where the cluster keeps the dictionary of the encoder, None if it is another kind of encoder.
    """

    encoder: EncoderFingerprint
    encoder_name: str = ""
    statistics: CorpusStatistics | None = None
    code: RotatedCode | None = None
    weight_exponent: int = 0
    search: SearchSettings | None = None
    dictionary: Companion | None = None

    def to_json(self) -> dict[str, Any]:
        """The value of `META_KEY`; what says nothing is left out."""
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
        """Read what `to_json` wrote, by this version or another; unknown keys are ignored.

        Raises:
            IndexMappingError: It is of a newer format, or damaged.
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
                f"What ksparse keeps in the mapping of index {index!r} is damaged ({error!r}); ingest into a new index."
            ) from error


def check_format(index: str, meta: Mapping[str, Any]) -> None:
    """Make sure that this version reads an index; one without a number was written before there were any.

    Raises:
        IndexMappingError: A newer version wrote it.
    """
    found = meta.get("format", FORMAT)
    major = str(found).partition(".")[0]
    if not major.isdecimal():
        raise IndexMappingError(
            f"Index {index!r} has format {found!r}, which is not a number; ingest into a new index."
        )
    if int(major) > FORMAT:
        raise IndexMappingError(
            f"Index {index!r} has format {found}, and this version of ksparse reads up to {FORMAT}: upgrade ksparse."
        )


def space_of(meta: Mapping[str, Any]) -> str:
    """Digest what a query must have in common with an index: encoder, scale of weights, codes."""
    facts = (meta["encoder"]["digest"], meta.get("weight_exponent", 0), meta.get("code"))
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _known(facts: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name in names}
