"""Pauses that hosts have asked for, kept in a file: a crawl that is killed does not forget them."""

from dataclasses import dataclass
from pathlib import Path

import msgspec


class Pause(msgspec.Struct, frozen=True):
    """A host that asked to be left alone.

    Attributes:
        origin: ``https://host:port``.
        asked_s: For how long, in seconds.
        until: Until when, in seconds of the epoch.
    """

    origin: str
    asked_s: float
    until: float

    def left_s(self, now: float) -> float:
        """What is left of it; no more than was asked for, wherever the clock has been set."""
        return max(0.0, min(self.asked_s, self.until - now))


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Pause)


@dataclass(frozen=True, slots=True)
class Pauses:
    """The file, a line a pause."""

    path: Path

    def add(self, origin: str, asked_s: float, now: float) -> None:
        """Notes a pause that begins now."""
        with self.path.open("ab") as file:
            file.write(_encoder.encode(Pause(origin, asked_s, now + asked_s)) + b"\n")

    def read(self) -> dict[str, Pause]:
        """The last pause of each host; lines that are torn are left out."""
        found: dict[str, Pause] = {}
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return found
        for line in lines:
            try:
                pause = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            found[pause.origin] = pause
        return found
