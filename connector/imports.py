"""Import a module without some of its optional imports."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any


def import_without(name: str, unused: Iterable[str]) -> Any:  # noqa: ANN401 - a module
    """Import a module as if some others were not installed; they can be imported later.

    Args:
        name: Full name of the module; if it is already imported, it is returned.
        unused: Full names of the optional modules.
    """
    if name in sys.modules:
        return sys.modules[name]
    blocked = [each for each in unused if each not in sys.modules]
    for each in blocked:
        sys.modules[each] = None  # type: ignore[assignment]
    try:
        return import_module(name)
    finally:
        for each in blocked:
            del sys.modules[each]
