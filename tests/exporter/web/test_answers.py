"""What both kinds of `/api/v1` have in common: the clock of the streams, and a stream itself."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter.web.answers import Clock, Stream, left

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Longer than any test.
NEVER = 1e9


@pytest.mark.parametrize(
    ("now", "rest"), [(0.0, 2.0), (0.5, 1.5), (3.9, 0.1), (3.99, 2.01), (4.0, 2.0)], ids=["on", "", "", "early", "next"]
)
def test_no_moment_strikes_twice(now: float, rest: float) -> None:
    """A timer that was early is not set again for the moment that it was for."""
    assert left(now, 2.0) == pytest.approx(rest)


def test_all_who_wait_are_woken_by_one_timer() -> None:
    """However many there are."""

    async def wait() -> tuple[list[bool], int]:
        clock = Clock(0.2, 0.1, time.monotonic)
        loop, set_ = asyncio.get_running_loop(), []
        later = loop.call_later
        loop.call_later = lambda *given: set_.append(given) or later(*given)  # type: ignore[method-assign]
        return await asyncio.gather(*(clock.ticks() for _ in range(20))), len(set_)

    assert asyncio.run(wait()) == ([True] * 20, 1)


def test_one_who_goes_takes_nothing_from_the_others() -> None:
    """A page that is closed while it waits."""

    async def wait() -> bool:
        clock = Clock(0.2)
        goes, stays = (asyncio.ensure_future(clock.ticks()) for _ in range(2))
        await asyncio.sleep(0)
        goes.cancel()
        return await stays

    assert asyncio.run(wait())


def test_the_end_wakes_everybody_once_and_for_all() -> None:
    """From any thread; who comes later does not wait at all."""

    async def wait() -> tuple[bool, bool]:
        clock = Clock(NEVER)
        waiting = asyncio.ensure_future(clock.ticks())
        await asyncio.sleep(0)
        threading.Thread(target=clock.end).start()
        return await waiting, await clock.ticks()

    assert asyncio.run(wait()) == (False, False)


class _Client:
    """Takes what a stream sends, and goes once it has taken so many bodies; never where that is 0."""

    def __init__(self, bodies: int) -> None:
        self.taken: list[bytes] = []
        self._bodies = bodies
        self._gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.taken.append(message.get("body", b""))
        if self._bodies and len(self.taken) > self._bodies:
            self._gone.set()


def _streamed(client: _Client, messages: AsyncIterator[bytes]) -> Any:
    told: list[str] = []
    stream = Stream(messages, lambda: told.append("opened"), lambda: told.append("closed"))
    return told, stream({"type": "http"}, client.receive, client.send)


def test_a_stream_ends_when_its_client_goes() -> None:
    """Though it would go on; whatever made its messages is told."""

    async def run() -> tuple[list[str], list[bytes], bool]:
        ended = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            try:
                yield b"one"
                await asyncio.Event().wait()
            finally:
                ended.set()

        client = _Client(1)
        told, answered = _streamed(client, endless())
        await answered
        await asyncio.wait_for(ended.wait(), 10)
        return told, client.taken, ended.is_set()

    assert asyncio.run(run()) == (["opened", "closed"], [b"", b"one"], True)


def test_a_stream_that_ends_says_so_and_one_that_fails_raises() -> None:
    """The server closes the connection of the latter."""

    async def run(*, fails: bool) -> tuple[list[str], list[bytes]]:
        async def short() -> AsyncIterator[bytes]:
            yield b"one"
            if fails:
                raise RuntimeError("no more")

        client = _Client(0)
        told, answered = _streamed(client, short())
        await answered
        return told, client.taken

    assert asyncio.run(run(fails=False)) == (["opened", "closed"], [b"", b"one", b""])
    with pytest.raises(RuntimeError, match="no more"):
        asyncio.run(run(fails=True))
