"""Properties of a new index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.query.settings import SearchSettings
from connector.vectors.codes import CodeBits


@dataclass(frozen=True, slots=True)
class NewIndex:
    """Properties of an index that is to be created; an existing index is not changed.

    Attributes:
        code_bits: Bits per dimension of the codes that rescore the top hits: 1, 2, 4 or 8, or 3 with the index's own
            dictionary. "auto" is 4 if the encoder has a dense model. None stores no codes: least disk, ranking by
            features only.
        dictionary: Build a dictionary from the first documents. None does so if no encoder is named.
        calibrate: Measure the statistics of the corpus (token IDF, mean embedding) on the first documents.
        search: Default search settings.
        fields: Mapping types of additional top-level fields, by name.
        mappings: Additional parts of the mapping: complete `properties`, `dynamic_templates` etc.
        settings: Index settings, e.g. `number_of_shards`.
    """

    code_bits: CodeBits = "auto"
    dictionary: bool | None = None
    calibrate: bool = True
    search: SearchSettings | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    mappings: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def types(self) -> dict[str, str]:
        """Types of the declared top-level fields, those of `mappings` among them."""
        properties = self.mappings.get("properties", {})
        # The server refuses a definition that is no object.
        kinds = {name: each.get("type", "object") for name, each in properties.items() if isinstance(each, Mapping)}
        return dict.fromkeys(properties, "") | kinds | dict(self.fields)


DEFAULT_INDEX = NewIndex()
