"""The limit of concurrent searches."""

from __future__ import annotations

import asyncio
import threading

import pytest

from connector.service.batcher import OverloadedError
from connector.service.searches import Searches
from tests.patience import PATIENCE_S


async def nothing() -> None:
    pass


def test_a_search_whose_client_has_left_counts_until_it_is_answered() -> None:
    async def run() -> str:
        searches, gate = Searches(1), threading.Event()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(searches.run(nothing, lambda: gate.wait(PATIENCE_S)), 0.05)
        with pytest.raises(OverloadedError, match="1 searches are running, which is the limit"):
            await searches.run(nothing, lambda: True)
        gate.set()
        while True:
            try:
                found = await searches.run(nothing, lambda: "found")
            except OverloadedError:
                await asyncio.sleep(0.01)
            else:
                searches.close()
                return found

    assert asyncio.run(asyncio.wait_for(run(), PATIENCE_S)) == "found"


def test_a_query_that_cannot_be_encoded_leaves_the_room_to_others() -> None:
    async def refused() -> None:
        raise ValueError("the query is empty")

    async def run() -> str:
        searches = Searches(1)
        for _ in range(2):
            with pytest.raises(ValueError, match="the query is empty"):
                await searches.run(refused, lambda: "found")
        found = await searches.run(nothing, lambda: "found")
        searches.close()
        return found

    assert asyncio.run(run()) == "found"
