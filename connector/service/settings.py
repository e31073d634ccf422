"""Settings of the service."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Limits and access of the service.

    Attributes:
        indices: Indices to load at start; empty serves any index, loaded on first use.
        encoder: Encoder of all indices, by name or folder; None uses each index's own.
        max_indices: Maximum number of indices loaded on first use; each keeps its encoder in memory. Those that
            `indices` names are always loaded.
        api_keys: Accepted keys; empty accepts all requests.
        max_body_bytes: Maximum bytes per request (else 413).
        max_texts: Maximum texts per request (else 413).
        max_batch: Maximum texts per forward pass.
        max_waiting: Maximum queued texts per task (else 503).
        max_searches: Maximum concurrent requests to `/search` (else 503).
        retry_after_s: Value of Retry-After for refused requests.
        recheck_s: Seconds after which the schema of an index is read again.
    """

    indices: tuple[str, ...] = ()
    encoder: str | None = None
    max_indices: int = 8
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    max_body_bytes: int = 4 * 2**20
    max_texts: int = 256
    max_batch: int = 32
    max_waiting: int = 512
    max_searches: int = 64
    retry_after_s: int = 1
    recheck_s: float = 5.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{each.name} must be at least 1, got {value}.")
        if self.max_texts > self.max_waiting:
            raise ValueError(
                f"max_texts {self.max_texts} exceeds max_waiting {self.max_waiting}: such a request could never be "
                "accepted; lower one or raise the other."
            )
        if any(not key for key in self.api_keys):
            raise ValueError("an API key is empty.")
