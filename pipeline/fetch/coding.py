"""A body's content coding undone as it comes, with a limit on what comes and on what it becomes.

A bomb of a gigabyte costs no more than the limit: nothing is unpacked beyond it.
"""

from isal import isal_zlib

CODINGS = frozenset(["gzip", "x-gzip", "deflate", "identity", ""])

_DAMAGE: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # as its stub has it
_PIECE = 1 << 16  # bytes unpacked at once
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP, _ZLIB, _RAW = 31, 15, -15  # windows and wrappers, as zlib names them


class CodingError(ValueError):
    """The body is not coded as its header says."""


class Decoder:
    """Takes a body piece by piece; RFC 9110 (8.4.1) names the codings.

    Attributes:
        body: What has been decoded, at most ``limit`` bytes of it.
        truncated: Whether the limit, on the body as it came or as decoded, has cut it.

    Raises:
        CodingError: By ``feed``: the bytes are not of the coding.
    """

    def __init__(self, coding: str, limit: int) -> None:
        self.body = bytearray()
        self.truncated = False
        self._limit = limit
        self._num_taken = 0
        self._head = b""  # behind a member of gzip, too little to tell whether another follows
        self._is_over = False
        self._coding = {"x-gzip": "gzip", "identity": ""}.get(coding, coding)
        self._unpacker = isal_zlib.decompressobj(_GZIP) if self._coding == "gzip" else None

    @property
    def ended(self) -> bool:
        """Whether the coding's own end has come (where it has one, and there was a body at all)."""
        return not self._coding or not self._num_taken or (self._unpacker is not None and self._unpacker.eof)

    def feed(self, data: bytes) -> None:
        """The next piece of the body; what is beyond the limit is left out."""
        room = self._limit - self._num_taken
        self.truncated = self.truncated or len(data) > room
        data = data[:room]
        if self._coding == "deflate" and self._unpacker is None and data:
            # RFC 9110 means zlib's format; some servers send the bare stream.
            self._unpacker = isal_zlib.decompressobj(_ZLIB if data[0] & 0x0F == 8 else _RAW)
        self._num_taken += len(data)
        if self._unpacker is None:
            self.body += data
            return
        self._unpack(data)

    def _unpack(self, data: bytes) -> None:
        assert self._unpacker is not None  # noqa: S101 (feed has made it)
        try:
            while data:
                if self._unpacker.eof:
                    data = self._next_member(data)
                    if not data:
                        return
                    self._unpacker = isal_zlib.decompressobj(_GZIP)
                room = self._limit - len(self.body)
                piece = self._unpacker.decompress(data, min(room, _PIECE) + 1)
                data = self._unpacker.unused_data if self._unpacker.eof else self._unpacker.unconsumed_tail
                self.body += piece[:room]
                if len(piece) > room:
                    self.truncated = True
                    return
        except _DAMAGE as error:
            raise CodingError(str(error)) from error

    def _next_member(self, data: bytes) -> bytes:
        """The beginning of a further member (RFC 1952, 2.2); empty where there is none, or not yet."""
        data, self._head = self._head + data, b""
        self._is_over = self._is_over or self._coding != "gzip"
        if self._is_over:
            return b""
        if data.startswith(_GZIP_MAGIC):
            return data
        if _GZIP_MAGIC.startswith(data):
            self._head = data
        else:
            self._is_over = True  # what follows the end is of no use to browsers either
        return b""
