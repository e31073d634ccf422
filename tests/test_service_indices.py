"""Opening indices on demand, without a server."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, NamedTuple, cast

import pytest

from connector.errors import IndexMappingError
from connector.service.batcher import OverloadedError
from connector.service.indices import Indices
from connector.service.metrics import Metrics
from connector.service.served import ServedIndex
from connector.service.settings import ServiceSettings
from tests.patience import PATIENCE_S


class Served(NamedTuple):
    """An index that exists until its name is among the deleted ones."""

    name: str
    deleted: set[str]

    async def exists(self) -> bool:
        await asyncio.sleep(0)
        return self.name not in self.deleted


class Slow(Indices):
    """Opening waits at a gate; names are remembered."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(cast(Any, None), ServiceSettings(**settings), Metrics())
        self.opened: list[str] = []
        self.deleted: set[str] = set()
        self.gate = threading.Event()

    def _opened(self, name: str) -> ServedIndex:
        self.opened.append(name)
        assert self.gate.wait(PATIENCE_S)
        if name == "missing":
            raise IndexMappingError("There is no index 'missing'.")
        return cast(ServedIndex, Served(name, self.deleted))


def test_a_client_that_leaves_while_an_index_loads_does_not_make_it_load_again() -> None:
    async def run() -> tuple[list[str], Any]:
        indices = Slow()
        for _ in range(3):  # as ML Commons, which waits for a few seconds
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(indices.get("docs"), 0.05)
        indices.gate.set()
        served = await indices.get("docs")
        indices.close()
        return indices.opened, served

    opened, served = asyncio.run(run())
    assert (opened, served.name) == (["docs"], "docs")


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


def test_a_deleted_index_makes_room_for_another_one() -> None:
    async def run() -> tuple[list[str], list[str]]:
        indices = Slow(max_indices=2)
        indices.gate.set()
        for name in ("docs", "wiki"):
            await indices.get(name)
        with pytest.raises(OverloadedError, match="2 indices are open, which is the limit; .* for 'news'"):
            await indices.get("news")
        indices.deleted.add("wiki")
        # Both ask before the room is made, and it is opened once.
        first, second = await asyncio.gather(indices.get("news"), indices.get("news"))
        assert first is second
        with pytest.raises(OverloadedError):
            await indices.get("blog")
        indices.close()
        return indices.names, indices.opened

    assert asyncio.run(run()) == (["docs", "news"], ["docs", "wiki", "news"])
