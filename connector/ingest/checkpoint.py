"""The checkpoint of an ingestion, from which a killed run resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import count
from logging import getLogger
from pathlib import Path
from typing import Any

from connector.corpus.source import CHECKPOINT_END
from connector.errors import CheckpointError
from connector.files import write_whole

_log = getLogger("ksparse.ingest")


@dataclass(frozen=True, slots=True)
class Watermark:
    """The number of leading input records whose outcome is known: `read` is the sum of the next five.

    Attributes:
        read: Records since the beginning of the input.
        indexed: Indexed documents.
        deleted: Deleted documents.
        not_found: Deletions of documents that did not exist.
        superseded: Documents of which the index has a newer version.
        dead_lettered: Failed records.
        dead_letter_bytes: Length of the dead-letter file.
        dead_letter_file: Identity of that file, to detect a replaced one; 0 if unknown.
        run: Identity of the run in its dead letters; empty in the checkpoints of older versions.
    """

    read: int = 0
    indexed: int = 0
    deleted: int = 0
    superseded: int = 0
    dead_lettered: int = 0
    dead_letter_bytes: int = 0
    not_found: int = 0
    dead_letter_file: int = 0
    run: str = ""


class Checkpoint:
    """A small JSON file that is replaced atomically.

    Args:
        path: Path of the file.
        run: What identifies the run, by name: input, encoder, index. No secrets.
    """

    def __init__(self, path: str | Path, run: Mapping[str, str]) -> None:
        self.path = Path(path)
        self._run = dict(run)

    def load(self) -> Watermark:
        """Read the watermark of the last run.

        Raises:
            CheckpointError: The file is missing, unreadable, or belongs to another run.
        """
        try:
            kept: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
            watermark = Watermark(**kept["watermark"])
            run = kept["run"]
        except FileNotFoundError:
            raise CheckpointError(
                f"There is no checkpoint {self.path}: the last run has finished, or none was started. "
                "Leave --resume out."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"Checkpoint {self.path} cannot be read ({error!r}). Leave --resume out: no document is duplicated."
            ) from error
        for name, value in self._run.items():
            if run.get(name) != value:
                result = "no document is duplicated"
                if name == "index":  # created again, or the new write index of an alias
                    result = "this index gets all documents; an index that the alias named before keeps its own"
                raise CheckpointError(
                    f"Checkpoint {self.path} has another {name} ({run.get(name)}, now {value}). Leave --resume out: "
                    f"{result}."
                )
        _log.info("Resuming after %d records, from checkpoint %s.", watermark.read, self.path)
        return watermark

    def save(self, watermark: Watermark) -> None:
        """Write the watermark and flush it to disk."""
        content = json.dumps({"run": self._run, "watermark": asdict(watermark)}, indent=1) + "\n"
        write_whole(self.path, content)
        _log.debug("Checkpoint %s: %d records.", self.path, watermark.read)

    def set_aside(self) -> Path | None:
        """Move the checkpoint of another input to a free name beside it, so that its run can still be resumed.

        Returns:
            The new path; None if there is no checkpoint, or it is unreadable or that of this input.
        """
        try:
            other = json.loads(self.path.read_text(encoding="utf-8"))["run"]["input"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if other == self._run["input"]:
            return None
        # Keep the end of the name, by which a corpus folder leaves checkpoints out.
        end = CHECKPOINT_END if self.path.name.endswith(CHECKPOINT_END) else self.path.suffix
        paths = (self.path.with_name(f"{self.path.name.removesuffix(end)}.{number}{end}") for number in count(1))
        free = next(path for path in paths if not path.exists())
        self.path.rename(free)
        return free

    def remove(self) -> None:
        """Delete the file after the run has finished."""
        self.path.unlink(missing_ok=True)
