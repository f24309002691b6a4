"""What the extracting process and its parent say to each other over their socket."""

import socket
import struct

REQUEST = struct.Struct(">II")  # bytes of the content type, of the body; both follow
REPLY = struct.Struct(">cII")  # a mark, bytes of the text (or why there is none), of the title; both follow

READY = b"R"  # the first word of a child
TEXT = b"T"
NOTHING = b"N"

OUT_OF_MEMORY = 3  # a child's exit status


def receive(connection: socket.socket, num_bytes: int) -> bytes:
    """So many bytes, no fewer; EOFError where the other side has gone."""
    data = bytearray(num_bytes)
    view = memoryview(data)
    while view:
        num_received = connection.recv_into(view)
        if num_received == 0:
            raise EOFError
        view = view[num_received:]
    return bytes(data)
