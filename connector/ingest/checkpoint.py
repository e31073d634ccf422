"""Where a run stood, on disk: a run that was killed goes on from there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from connector.errors import CheckpointError
from connector.files import write_whole

_log = getLogger("ksparse.ingest")


@dataclass(frozen=True, slots=True)
class Watermark:
    """The first records of the input, of which the fate is known: `read` is the sum of the next five.

    Attributes:
        read: Records, counted from the beginning of the input.
        indexed: Of these the index holds.
        deleted: Of these it was to give up, and did.
        not_found: Of these it was to give up, and did not hold.
        superseded: Of these the index holds in a newer version.
        dead_lettered: Of these it does not hold.
        dead_letter_bytes: Length of the file that keeps the latter.
        dead_letter_file: Tells that file from another one of its name, 0 if that is not known.
    """

    read: int = 0
    indexed: int = 0
    deleted: int = 0
    superseded: int = 0
    dead_lettered: int = 0
    dead_letter_bytes: int = 0
    not_found: int = 0
    dead_letter_file: int = 0


class Checkpoint:
    """A small JSON file that is whole at any moment.

    Args:
        path: Of the file.
        run: What must be the same for a run to go on, by name: input, encoder, index. No secrets.
    """

    def __init__(self, path: Path, run: Mapping[str, str]) -> None:
        self.path = path
        self._run = dict(run)

    def load(self) -> Watermark:
        """Read where the last run stood.

        Raises:
            CheckpointError: There is none, it cannot be read, or it is of another run.
        """
        try:
            kept: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
            watermark = Watermark(**kept["watermark"])
            run = kept["run"]
        except FileNotFoundError:
            raise CheckpointError(
                f"There is no checkpoint {self.path}: either the last run came to its end, or none was begun. "
                "Leave --resume out."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"Checkpoint {self.path} cannot be read ({error!r}). Leave --resume out: no document is duplicated."
            ) from error
        for name, value in self._run.items():
            if run.get(name) != value:
                raise CheckpointError(
                    f"Checkpoint {self.path} is of another {name} ({run.get(name)}, now {value}). Leave --resume out: "
                    "no document is duplicated."
                )
        _log.info("Going on after %d records, by checkpoint %s.", watermark.read, self.path)
        return watermark

    def save(self, watermark: Watermark) -> None:
        """Write where the run stands, down to the disk."""
        content = json.dumps({"run": self._run, "watermark": asdict(watermark)}, indent=1) + "\n"
        write_whole(self.path, content)
        _log.debug("Checkpoint %s: %d records.", self.path, watermark.read)

    def remove(self) -> None:
        """The run came to its end."""
        self.path.unlink(missing_ok=True)
