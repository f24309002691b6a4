"""Text from one page after another, whatever the page does to the process that extracts it."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import pipeline
from pipeline.config import Extraction
from pipeline.errors import RunError
from pipeline.extract.wire import OUT_OF_MEMORY, Extracted, Reply, Request, receive_reply, send
from pipeline.records import Reason, Rejection

MAX_BYTES = 20_000_000  # of a body; fetched ones are shorter, those from other WARC files need not be
_PAGES_PER_CHILD = 2_000  # then a new one, as the library's caches and the heap only grow
_START_S = 120.0
# The deadline is CPU time, so that a busy machine rejects no more pages than an idle one. Should a child
# hang without using any, it is ended by the clock.
_CLOCK_PER_CPU_S = 10.0
_CLOCK_AT_LEAST_S = 30.0
_SIGNALS = {one.value: one.name for one in signal.Signals}  # but those in real time

# However many threads a runner has, no more children work at once than there are cores.
_CORES = threading.BoundedSemaphore(os.cpu_count() or 1)


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    connection: socket.socket
    errors: IO[bytes]
    num_pages: int = 0


# Children that wait for the next part's pages: starting one takes a second of a core.
_IDLE: list[tuple[Extraction, _Child]] = []


class Extractor:
    """Extracts in a child process; a context manager, which holds one of the machine's cores."""

    def __init__(self, settings: Extraction) -> None:
        self._settings = settings
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        _CORES.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._child is not None:
                _IDLE.append((self._settings, self._child))
                self._child = None
            self._end()
        finally:
            _CORES.release()

    def extract(self, request: Request, body: bytes) -> Extracted | Rejection:
        """A page's text and what it says of itself, or why it has no text."""
        if len(body) > MAX_BYTES:
            return Rejection(Reason.TOO_LARGE, f"{len(body)} bytes")
        num_tags = body.count(b"<")
        if num_tags > self._settings.max_elements:
            return Rejection(Reason.TOO_LARGE, f"{num_tags} tags")
        if self._child is not None and self._child.num_pages >= _PAGES_PER_CHILD:
            self._end()
        self._child = self._child or self._waiting() or self._start()
        answer = self._ask(self._child, request, body)
        if isinstance(answer, Rejection) and answer.reason is Reason.TOO_LARGE:
            # The pages before may have used up its memory, or somebody else may have killed it.
            return self._ask(self._start(), request, body)
        return answer

    def _ask(self, child: _Child, request: Request, body: bytes) -> Extracted | Rejection:
        child.num_pages += 1
        encodable = request.content_type.encode(errors="replace").decode()
        try:
            send(child.connection, request._replace(content_type=encodable), body)
            extracted, rejection = receive_reply(child.connection)
        except TimeoutError:
            self._end()
            return Rejection(Reason.TOO_SLOW, f"over {self._settings.deadline_s:g} s")
        except (EOFError, ConnectionError):
            return self._why_dead(child)
        return extracted or rejection or Rejection(Reason.NO_TEXT)

    def _waiting(self) -> _Child | None:
        """A child that another part has left, of the same settings and still there; others are ended."""
        while (idle := _take_idle()) is not None:
            settings, child = idle
            is_usable = child.num_pages < _PAGES_PER_CHILD and child.process.poll() is None
            if settings == self._settings and is_usable:
                return child
            _end(child)
        return None

    def _start(self) -> _Child:
        ours, its = socket.socketpair()
        ours.settimeout(_START_S)
        errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the child
        paths = [str(Path(pipeline.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        arguments = [str(its.fileno()), self._settings.model_dump_json()]
        with its:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.extract.child", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=[its.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONHASHSEED": "0"},
                start_new_session=True,  # a signal to the run's group is no verdict on a page
            )
        self._child = child = _Child(process, ours, errors)
        try:
            is_ready = receive_reply(ours) == Reply()
        except (EOFError, OSError) as error:
            raise self._broken(child) from error
        if not is_ready:
            raise self._broken(child)
        ours.settimeout(max(_CLOCK_AT_LEAST_S, _CLOCK_PER_CPU_S * self._settings.deadline_s))
        return child

    def _why_dead(self, child: _Child) -> Rejection:
        """The verdict on a page during which the child died."""
        status = child.process.wait()
        if status >= 0 and status != OUT_OF_MEMORY:
            raise self._broken(child)
        self._end()
        if status == OUT_OF_MEMORY:
            return Rejection(Reason.TOO_LARGE, f"over {self._settings.max_memory_mb} MB of memory")
        if -status == signal.SIGPROF:
            return Rejection(Reason.TOO_SLOW, f"over {self._settings.deadline_s:g} s")
        return Rejection(Reason.TOO_LARGE, f"ended by {_SIGNALS.get(-status, -status)}")

    def _broken(self, child: _Child) -> RunError:
        """The child failed by itself, which no page can bring about."""
        child.process.kill()
        child.process.wait()
        child.errors.seek(0)
        said = child.errors.read().decode(errors="replace").strip().splitlines()
        self._end()
        return RunError(
            f"the extracting process ended with status {child.process.returncode}: "
            f"{said[-1] if said else 'it said nothing'}. Run the same command again, which goes on from what "
            "is there; if it ends so once more, see whether trafilatura is installed whole."
        )

    def _end(self) -> None:
        if self._child is not None:
            _end(self._child)
            self._child = None


def _take_idle() -> tuple[Extraction, _Child] | None:
    try:
        return _IDLE.pop()
    except IndexError:  # asked first, it might have one that another thread takes
        return None


def _end(child: _Child) -> None:
    child.process.kill()
    child.process.wait()
    child.connection.close()
    child.errors.close()


@atexit.register
def end_waiting() -> None:
    """Ends the children that wait for pages."""
    while (idle := _take_idle()) is not None:
        _end(idle[1])
