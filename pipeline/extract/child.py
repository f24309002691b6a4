"""The process that extracts: it may run away on a page, so it is one that can be ended.

It is started by :mod:`pipeline.extract.extractor` and asked page after page over a socket. The kernel ends
it when a page has used up its CPU time, even inside C code, and though the parent is gone; it ends itself
when the parent has closed the socket.
"""

import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from pipeline.config import Extraction
from pipeline.extract.charset import decode
from pipeline.extract.early import reject_early
from pipeline.extract.extractors import EXTRACTORS
from pipeline.extract.metadata import read_metadata
from pipeline.extract.page import Page
from pipeline.extract.wire import OUT_OF_MEMORY, Extracted, Reply, Request, receive_request, send
from pipeline.records import Reason, Rejection

_SLACK_BYTES = 16 * 2**20


def extract(request: Request, body: bytes, settings: Extraction) -> Extracted | Rejection:
    """A page's main text and what it says of itself, or why there is no text."""
    page = Page(decode(body, request.content_type))
    if settings.reject_early:
        rejection = reject_early(page, settings.hopeless)
        if rejection is not None:
            return rejection
    text = EXTRACTORS[settings.extractor](page).strip()
    if not text:
        return Rejection(Reason.NO_TEXT)
    return Extracted(text, read_metadata(page, request.url, request.fetched))


def _answer(request: Request, body: bytes, settings: Extraction) -> Reply:
    try:
        found = extract(request, body, settings)
    except MemoryError:
        raise
    except Exception as error:  # whatever foreign bytes do to the library is an answer
        found = Rejection(Reason.NO_TEXT, type(error).__name__)
    return Reply(rejection=found) if isinstance(found, Rejection) else Reply(extracted=_encodable(found))


def _encodable(found: Extracted) -> Extracted:
    """The same with U+FFFD for halves of surrogate pairs, which no UTF-8 has."""
    text, metadata = found
    if text.isascii():
        return found
    return Extracted(text.encode(errors="replace").decode(), metadata)


def _limit_memory(max_memory_mb: int) -> int:
    """Limits the address space to so much more than there is now; returns the limit in bytes."""
    num_pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = num_pages * resource.getpagesize() + max_memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return limit


def _came_near(limit: int, num_bytes: int) -> bool:
    """Whether an allocation for a page of so many bytes may have failed.

    The library takes such a failure for a broken page and goes on. Text has up to four bytes a character.
    """
    status = Path("/proc/self/status").read_text()
    peak_kb = int(status.partition("VmPeak:")[2].split()[0])
    return peak_kb * 1024 + 4 * num_bytes + _SLACK_BYTES > limit


def serve(connection: socket.socket, settings: Extraction) -> None:
    """Answers page after page; EOFError or ConnectionError when the parent has closed the socket."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    limit = _limit_memory(settings.max_memory_mb)
    send(connection, Reply())
    while True:
        request, body = receive_request(connection)
        signal.setitimer(signal.ITIMER_PROF, settings.deadline_s)
        reply = _answer(request, body, settings)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if _came_near(limit, len(body)):
            raise MemoryError
        send(connection, reply)


def main() -> None:
    """``python -m pipeline.extract.child SOCKET SETTINGS`` (JSON)."""
    logging.disable()
    descriptor, settings = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as connection:
        try:
            serve(connection, Extraction.model_validate_json(settings))
        except (EOFError, ConnectionError):
            return
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # at once: there is none left for anything else


if __name__ == "__main__":
    main()
