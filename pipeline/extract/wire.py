"""What the extracting process and its parent say to each other over their socket."""

import socket
import struct
from datetime import date
from typing import NamedTuple

import msgspec

from pipeline.extract.metadata import Metadata
from pipeline.records import Rejection

_SIZES = struct.Struct(">II")  # bytes of a message, and of the body that follows it

OUT_OF_MEMORY = 3  # a child's exit status


class Request(NamedTuple):
    """A page to be extracted, but for its body."""

    url: str
    content_type: str
    fetched: date


class Extracted(NamedTuple):
    """What a page says, and what it says of itself."""

    text: str
    metadata: Metadata


class Reply(NamedTuple):
    """The answer to a request: one of the two; neither is the first word of a child, that it is ready."""

    extracted: Extracted | None = None
    rejection: Rejection | None = None


_REQUESTS = msgspec.msgpack.Decoder(Request)
_REPLIES = msgspec.msgpack.Decoder(Reply)


def send(connection: socket.socket, message: Request | Reply, body: bytes = b"") -> None:
    """Sends a message and what comes with it."""
    encoded = msgspec.msgpack.encode(message)
    connection.sendall(_SIZES.pack(len(encoded), len(body)) + encoded + body)


def receive_request(connection: socket.socket) -> tuple[Request, bytes]:
    """A request and its body; EOFError where the other side has gone."""
    message, body = _receive(connection)
    return _REQUESTS.decode(message), body


def receive_reply(connection: socket.socket) -> Reply:
    """A reply; EOFError where the other side has gone."""
    return _REPLIES.decode(_receive(connection)[0])


def _receive(connection: socket.socket) -> tuple[bytes, bytes]:
    sizes = _SIZES.unpack(_read(connection, _SIZES.size))
    message, body = (_read(connection, size) for size in sizes)
    return message, body


def _read(connection: socket.socket, num_bytes: int) -> bytes:
    data = bytearray(num_bytes)
    view = memoryview(data)
    while view:
        num_received = connection.recv_into(view)
        if num_received == 0:
            raise EOFError
        view = view[num_received:]
    return bytes(data)
