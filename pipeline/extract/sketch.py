"""Whether two texts have much in common, told from a few bytes of each.

A sketch holds the least hashes of a text's runs of three words: two sketches together are a fair sample of
both texts' runs (Broder, On the resemblance and containment of documents, 1997). Finding duplicates is
another stage's work; here it is only told whether a page is what it says it is.
"""

import heapq
import struct

import xxhash

_NUM_WORDS = 3
_SIZE = 64  # hashes
_LEAST_SHARE = 0.2  # of the shorter text's runs: what templates have in common is less
_HEADER = struct.Struct("<I")


def sketch(text: str) -> bytes:
    """A text's sketch: how many different runs of words it has, and the least of their hashes."""
    words = text.lower().split()
    last = max(len(words) - _NUM_WORDS, 0)
    runs = {" ".join(words[start : start + _NUM_WORDS]) for start in range(last + 1)}
    hashes = heapq.nsmallest(_SIZE, (xxhash.xxh3_64_intdigest(run.encode()) for run in runs))
    return _HEADER.pack(len(runs)) + struct.pack(f"<{len(hashes)}Q", *hashes)


def are_alike(left: bytes, right: bytes) -> bool:
    """Whether at least a fifth of the shorter text seems to be in the longer one too."""
    (num_left, of_left), (num_right, of_right) = _unpack(left), _unpack(right)
    both = heapq.nsmallest(_SIZE, of_left | of_right)
    resemblance = sum(one in of_left and one in of_right for one in both) / len(both)
    in_common = resemblance * (num_left + num_right) / (1 + resemblance)
    return in_common >= _LEAST_SHARE * min(num_left, num_right)


def _unpack(packed: bytes) -> tuple[int, set[int]]:
    (num_runs,) = _HEADER.unpack_from(packed)
    hashes = struct.unpack(f"<{(len(packed) - _HEADER.size) // 8}Q", packed[_HEADER.size :])
    return num_runs, set(hashes)
