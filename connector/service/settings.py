"""What a service takes, and how much of it at once."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Limits of the service, and who may use it.

    Attributes:
        indices: Those that are served, loaded at the start; empty for any, loaded when a request first names it.
        most_indices: That are loaded at once; each holds its encoder in memory.
        api_keys: Any of them lets a request in; empty lets all in.
        max_body_bytes: Of a request; more is refused (413).
        max_texts: In a request; more is refused (413).
        max_batch: Texts in a forward pass.
        max_waiting: Texts of each task that wait for the encoder; more are refused (503).
        max_searches: Requests to `/search` at once; more are refused (503).
        retry_after_s: What a refused client is told to wait.
        recheck_s: How long the service believes that an index is of the space that a request names.
    """

    indices: tuple[str, ...] = ()
    most_indices: int = 8
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
                f"max_texts {self.max_texts} is more than max_waiting {self.max_waiting}: such a request would never "
                "be taken; lower one or raise the other."
            )
        if any(not key for key in self.api_keys):
            raise ValueError("an API key is empty; give one or more characters.")
