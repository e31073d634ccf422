"""What an index becomes when it is created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.query.settings import SearchSettings
from connector.vectors.codes import CodeBits


@dataclass(frozen=True, slots=True)
class NewIndex:
    """What an index becomes when the first documents create it; an index that exists stays as it is.

    Attributes:
        code_bits: Bits per dimension of the code of each dense embedding that the top hits are rescored by: 1, 2, 4 or
            8, and 3 with a dictionary of the index's own. "auto" is 4 where there is a dense model. None stores no
            codes: least disk, and features alone decide the order.
        dictionary: Build the encoder's dictionary from the first documents. None does so where no encoder is named.
        calibrate: Measure the statistics of the corpus (token IDF, mean embedding) on the first documents.
        search: Default settings of its searches.
        fields: Top-level fields beside title, text and metadata, from name to mapping type.
        mappings: Further parts of the mapping: `properties` in full, `dynamic_templates` and the like.
        settings: Index settings, such as `number_of_shards`.
    """

    code_bits: CodeBits = "auto"
    dictionary: bool | None = None
    calibrate: bool = True
    search: SearchSettings | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    mappings: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


DEFAULT_INDEX = NewIndex()
