"""Servers of the tests: on an event loop of their own, on a thread, for as long as a block runs."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@contextlib.contextmanager
def on_a_thread(service: contextlib.AbstractAsyncContextManager[object]) -> Iterator[None]:
    """Enters a service on a loop and thread of its own, and leaves it at the end of the block."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        async with service:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.close()))
    thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@contextlib.asynccontextmanager
async def listening(answer: Handler, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Answers HTTP requests at an address; gives the port, a free one where none is asked for."""
    runner = web.ServerRunner(web.Server(answer), handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
