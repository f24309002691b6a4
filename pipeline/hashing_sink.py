"""A file that knows its length and checksum once it is written."""

import hashlib
import io
from typing import Any


class HashingSink(io.RawIOBase):
    """A binary file opened for writing that knows its length and SHA-256."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Writes all of ``data`` (any buffer); returns its bytes."""
        view = memoryview(data).cast("B")
        self._stream.write(view)
        self._hash.update(view)
        self.num_bytes += len(view)
        return len(view)

    def tell(self) -> int:
        """The bytes written so far."""
        return self.num_bytes

    def sha256(self) -> str:
        """Of the bytes written so far, in hex."""
        return self._hash.hexdigest()
