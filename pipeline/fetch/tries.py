"""Tries, as the crawl hands them to the process that writes them down."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from pipeline.fetch.containers import Record
from pipeline.fetch.exchange import Outcome
from pipeline.fetch.ledger import Entry


class Link(NamedTuple):
    """A link that is due: its part's number in this crawl, and the number of the try."""

    part: int
    id: str
    url: str
    domain: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a try, and whether it was the link's last."""

    link: Link
    attempt: int
    outcome: Outcome
    final: bool

    @property
    def num_bytes(self) -> int:
        """Of bodies, in memory."""
        return sum(len(exchange.response.body) for exchange in self.outcome.way)


@dataclass(frozen=True, slots=True)
class Rescue:
    """What an archive had of a dead link: its records (redirects, then the page), or only a row."""

    part: int
    records: Sequence[Record]
    via: Sequence[str]  # where each came from
    entry: Entry

    @property
    def num_bytes(self) -> int:
        """Of bodies, in memory."""
        return sum(len(record.response.body) for record in self.records)


Try = Settled | Rescue

_SETTLED, _RESCUE = b"S", b"R"
_encoder = msgspec.msgpack.Encoder()
_settled = msgspec.msgpack.Decoder(Settled)
_rescues = msgspec.msgpack.Decoder(Rescue)


def encode(one: Try) -> bytes:
    """A try as bytes: a letter for its kind, then MessagePack."""
    return (_SETTLED if isinstance(one, Settled) else _RESCUE) + _encoder.encode(one)


def decode(data: memoryview) -> Try:
    """The inverse of encode."""
    return _settled.decode(data[1:]) if data[:1] == _SETTLED else _rescues.decode(data[1:])
