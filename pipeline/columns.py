"""Packed columns: what shuffles move instead of rows."""

from typing import Any

import numpy as np
import numpy.typing as npt
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


def fixed_width(column: pa.ChunkedArray, dtype: npt.DTypeLike, per_row: int) -> npt.NDArray[Any]:
    """A fixed-size binary column as numbers: [rows, per_row]."""
    width = np.dtype(dtype).itemsize * per_row
    chunks = [
        np.frombuffer(chunk.buffers()[1], np.uint8)[
            chunk.offset * width : (chunk.offset + len(chunk)) * width
        ]
        for chunk in column.chunks
        if len(chunk)
    ]
    raw = np.concatenate(chunks) if chunks else np.empty(0, np.uint8)
    return raw.view(dtype).reshape(-1, per_row)
