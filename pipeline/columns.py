"""Packed columns: what shuffles move instead of rows."""

import pyarrow as pa


def pack(table: pa.Table) -> bytes:
    """A table as one block of bytes (an Arrow IPC stream, zstd)."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def unpack(block: bytes) -> pa.Table:
    """The inverse of pack."""
    with pa.ipc.open_stream(block) as reader:
        return reader.read_all()
