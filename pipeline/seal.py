"""JSON that carries its own checksum: a bit that is another later on is noticed by whoever reads it."""

import json
from collections.abc import Collection, Mapping
from typing import Any

import xxhash

# By the alphabet it comes before all other keys of what is sealed, and so it stands in front of the rest.
_CHECKSUM = "checksum"
_HEAD = f'{{\n "{_CHECKSUM}": "'.encode()
_TAIL = b'",'
_DIGITS = 16


def seal(value: Mapping[str, Any]) -> bytes:
    """The value as JSON, with the XXH3 of the rest in it: the same bytes for the same value."""
    rest = (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
    return _HEAD + xxhash.xxh3_64_hexdigest(rest).encode() + _TAIL + rest[1:]


def unseal(data: bytes, keys: Collection[str]) -> dict[str, Any]:
    """The inverse of seal; what was written before there were checksums has none.

    Raises:
        ValueError: The bytes are no JSON object of these keys, or are not as they were written.
    """
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    if value.pop(_CHECKSUM, None) is not None and not _is_whole(data):
        raise ValueError("its bytes have changed since they were written")
    if value.keys() - keys:
        raise ValueError(f"it has {sorted(value.keys() - keys)}, which is nothing that stands there")
    return value


def _is_whole(data: bytes) -> bool:
    digits, rest = data[len(_HEAD) :][:_DIGITS], b"{" + data[len(_HEAD) + _DIGITS + len(_TAIL) :]
    return data.startswith(_HEAD + digits + _TAIL) and xxhash.xxh3_64_hexdigest(rest).encode() == digits
