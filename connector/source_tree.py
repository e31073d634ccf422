"""Locate the repository that the library runs from, if it is not installed from a wheel."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path


def source_tree() -> Path | None:
    """Return the root of the clone, or None if the library was installed from a wheel."""
    root = _package().parent
    return root if (root / "setup.cfg").is_file() and (root / "mappings").is_dir() else None


def mappings_folder() -> Traversable:
    """Return the folder of index bodies: `connector/mappings` in a wheel, `mappings` at the root of a clone."""
    tree = source_tree()
    return resources.files("connector") / "mappings" if tree is None else tree / "mappings"


def compose_file() -> Path:
    """Return `docker-compose.yml`: at the root of a clone, in `connector/cluster` of a wheel."""
    return (source_tree() or _package() / "cluster") / "docker-compose.yml"


def _package() -> Path:
    return Path(str(resources.files("connector"))).resolve()
