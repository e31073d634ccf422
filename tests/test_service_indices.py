"""Opening indices on demand, without a server."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest

from connector.errors import IndexMappingError
from connector.service.batcher import OverloadedError
from connector.service.indices import Indices
from connector.service.metrics import Metrics
from connector.service.served import ServedIndex
from connector.service.settings import ServiceSettings
from tests.patience import PATIENCE_S


class Slow(Indices):
    """Opening waits at a gate; names are remembered."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(cast(Any, None), ServiceSettings(**settings), Metrics())
        self.opened: list[str] = []
        self.gate = threading.Event()

    def _opened(self, name: str) -> ServedIndex:
        self.opened.append(name)
        assert self.gate.wait(PATIENCE_S)
        if name == "missing":
            raise IndexMappingError("There is no index 'missing'.")
        return cast(ServedIndex, f"served {name}")


def test_a_client_that_leaves_while_an_index_loads_does_not_make_it_load_again() -> None:
    async def run() -> tuple[list[str], object]:
        indices = Slow()
        for _ in range(3):  # as ML Commons, which waits for a few seconds
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(indices.get("docs"), 0.05)
        indices.gate.set()
        served = await indices.get("docs")
        indices.close()
        return indices.opened, served

    assert asyncio.run(run()) == (["docs"], "served docs")


def test_an_index_that_cannot_be_opened_is_tried_again_and_takes_no_room() -> None:
    async def run() -> list[str]:
        indices = Slow(max_indices=1)
        indices.gate.set()
        for _ in range(2):
            with pytest.raises(IndexMappingError, match="There is no index 'missing'"):
                await indices.get("missing")
        await indices.get("docs")
        with pytest.raises(OverloadedError, match="1 indices are open, which is the limit"):
            await indices.get("wiki")
        indices.close()
        return indices.opened

    assert asyncio.run(run()) == ["missing", "missing", "docs"]


def test_all_indices_that_are_named_are_served() -> None:
    async def run() -> list[str]:
        names = tuple(f"docs-{number}" for number in range(9))
        indices = Slow(indices=names)
        indices.gate.set()
        await indices.open_named()
        indices.close()
        return indices.names

    assert len(asyncio.run(run())) == 9
