"""The links that are still to be asked, on disk, a domain's together: memory does not grow with their number.

Of a domain memory holds where its lines begin, how many there are, and how long they will take; of the
domains that are being asked, a few lines more.
"""

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.fetch.tries import Link

_CHUNK = 4096  # bytes read of a domain at once


class Start(NamedTuple):
    """Where a domain's links begin in the file, and how many there are."""

    offset: int
    num_links: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Link)


class Backlog:
    """The file, and the domains in the order of how long their links take, the longest first.

    Begun with what takes longest, a crawl ends soonest: the longest domain alone bounds it from below.

    Args:
        path: The file; it is written anew.
        delay_s: The seconds between requests to a domain, by its name.
    """

    def __init__(self, path: Path, delay_s: Callable[[str], float]) -> None:
        self._path = path
        self._delay_s = delay_s
        self._file = path.open("w+b")
        self._offsets = array("q")
        self._nums = array("q")
        self._seconds = array("d")
        self._order: Sequence[int] = ()
        self.num_links = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def add(
        self, part: int, links: pa.Table, due: Mapping[str, int] | None, settled: Mapping[str, int]
    ) -> int:
        """Adds a part's links.

        Args:
            part: Its number.
            links: Their id, url and domain.
            due: The ids that are asked at all, with the number of their next try; None: all, from 1.
            settled: By id, the number of the next try of a link that has been tried already; 0 where it
                needs none.

        Returns:
            How many have been added.
        """
        num_before = self.num_links
        # A host's links follow each other, so that its rules are needed only for a while.
        table = links.select(["domain", "id", "url"]).sort_by([("domain", "ascending"), ("url", "ascending")])
        for domain, rows in _by_domain(table):
            lines = []
            for link_id, url in rows:
                attempt = settled.get(link_id, 1 if due is None else due.get(link_id, 0))
                if attempt:
                    lines.append(_encoder.encode(Link(part, link_id, url, domain, attempt)))
            if lines:
                self._add_domain(domain, lines)
        return self.num_links - num_before

    def _add_domain(self, domain: str, lines: Sequence[bytes]) -> None:
        self._offsets.append(self._file.tell())
        self._nums.append(len(lines))
        self._seconds.append(len(lines) * self._delay_s(domain))
        self._file.write(b"\n".join(lines) + b"\n")
        self.num_links += len(lines)

    def order(self) -> None:
        """Ends the adding: the longest domain becomes the first."""
        self._file.flush()
        seconds, nums = np.array(self._seconds), np.array(self._nums)
        self._order = np.lexsort((-nums, -seconds))  # type: ignore[assignment]

    def starts(self) -> Iterator[Start]:
        """The domains in their order."""
        for index in self._order:
            yield Start(self._offsets[index], self._nums[index])

    @property
    def longest_s(self) -> float:
        """The seconds that the longest domain takes by its delay alone."""
        return max(self._seconds, default=0.0)

    def open(self, start: Start) -> "Queue":
        """A domain's links, to be taken one after the other."""
        return Queue(self._file.fileno(), start)


class Queue:
    """A domain's links in the file; a few of them in memory.

    Attributes:
        domain: Its name.
        num_left: The links that have not been taken.
    """

    def __init__(self, descriptor: int, start: Start) -> None:
        self._descriptor = descriptor
        self._offset = start.offset
        self._lines: list[bytes] = []  # the next one last
        self._rest = b""
        self.num_left = start.num_links
        self._fill()
        self.domain = _decoder.decode(self._lines[-1]).domain

    def take(self) -> Link:
        """The next link; there must be one."""
        if not self._lines:
            self._fill()
        self.num_left -= 1
        return _decoder.decode(self._lines.pop())

    def _fill(self) -> None:
        while not self._lines:
            chunk = os.pread(self._descriptor, _CHUNK, self._offset)
            self._offset += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._lines = lines[::-1]


def _by_domain(table: pa.Table) -> Iterator[tuple[str, Iterable[tuple[str, str]]]]:
    """The ids and URLs of each domain of a table in the order of its domains."""
    domains = table["domain"].combine_chunks()
    if not len(domains):
        return
    runs = domains.dictionary_encode()
    indices = runs.indices.to_numpy()
    heads = np.flatnonzero(np.diff(indices, prepend=-1, append=-1))
    ids, urls = table["id"].combine_chunks(), table["url"].combine_chunks()
    for first, last in zip(heads[:-1].tolist(), heads[1:].tolist(), strict=True):
        length = last - first
        rows = zip(ids.slice(first, length).to_pylist(), urls.slice(first, length).to_pylist(), strict=True)
        yield domains[first].as_py(), rows
