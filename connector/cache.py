"""Where ksparse keeps on this machine what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder of one kind of files: in KSPARSE_CACHE, or in the user's cache folder."""
    own = os.environ.get("KSPARSE_CACHE")
    if own:
        return Path(own) / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ksparse" / kind
