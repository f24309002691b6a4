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
from typing import Any

import trafilatura

from pipeline.extract.charset import decode
from pipeline.extract.wire import NOTHING, OUT_OF_MEMORY, READY, REPLY, REQUEST, TEXT, receive

_SLACK_BYTES = 16 * 2**20
_TITLES = "//title[not(ancestor::svg)]"


def extract(body: bytes, content_type: str) -> tuple[str, str] | str:
    """A page's main text and its title (empty where it has none), or in a word why there is no text."""
    tree = trafilatura.load_html(decode(body, content_type))
    if tree is None:
        return "not HTML"
    title = _title(tree)
    text = (trafilatura.extract(tree, include_comments=False) or "").strip()
    return (text, title) if text else ""


def _title(tree: Any) -> str:
    for element in tree.xpath(_TITLES):
        words = " ".join("".join(element.itertext()).split())
        return "".join(char for char in words if char.isprintable())
    return ""


def _reply(body: bytes, content_type: str) -> bytes:
    try:
        found = extract(body, content_type)
    except MemoryError:
        raise
    except Exception as error:  # whatever foreign bytes do to the library is an answer
        found = type(error).__name__
    mark, *fields = (NOTHING, found, "") if isinstance(found, str) else (TEXT, *found)
    encoded = [field.encode(errors="replace") for field in fields]
    return REPLY.pack(mark, *map(len, encoded)) + b"".join(encoded)


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


def serve(connection: socket.socket, deadline_s: float, max_memory_mb: int) -> None:
    """Answers page after page; EOFError or ConnectionError when the parent has closed the socket."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    limit = _limit_memory(max_memory_mb)
    connection.sendall(REPLY.pack(READY, 0, 0))
    while True:
        sizes = REQUEST.unpack(receive(connection, REQUEST.size))
        content_type, body = (receive(connection, size) for size in sizes)
        signal.setitimer(signal.ITIMER_PROF, deadline_s)
        reply = _reply(body, content_type.decode())
        signal.setitimer(signal.ITIMER_PROF, 0)
        if _came_near(limit, len(body)):
            raise MemoryError
        connection.sendall(reply)


def main() -> None:
    """``python -m pipeline.extract.child SOCKET DEADLINE_S MAX_MEMORY_MB``."""
    logging.disable()
    descriptor, deadline_s, max_memory_mb = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as connection:
        try:
            serve(connection, float(deadline_s), int(max_memory_mb))
        except (EOFError, ConnectionError):
            return
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # at once: there is none left for anything else


if __name__ == "__main__":
    main()
