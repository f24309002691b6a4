"""One request at a time to a registrable domain, with a pause between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A domain's queue: its requests wait for each other, and for the pause after the one before."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._ended: float | None = None

    @asynccontextmanager
    async def take(self, delay_s: float) -> AsyncIterator[None]:
        """Waits for the turn and for ``delay_s`` after the last request's end; the block is the request."""
        clock = asyncio.get_running_loop()
        async with self._lock:
            if self._ended is not None:
                await asyncio.sleep(max(0.0, self._ended + delay_s - clock.time()))
            try:
                yield
            finally:
                self._ended = clock.time()
