"""Links are dealt to parts by their registrable domain, so that one part has all there is of a domain."""

import numpy as np
from numpy.typing import NDArray


def parts_of(domain_hashes: NDArray[np.uint64], num_parts: int) -> NDArray[np.int64]:
    """The part of each domain: the hashes' range [0, 2**64) cut into equal, contiguous pieces.

    >>> parts_of(np.array([0, 1 << 62, (1 << 64) - 1], np.uint64), 4).tolist()
    [0, 1, 3]
    """
    high = domain_hashes >> np.uint64(32)
    return ((high * np.uint64(num_parts)) >> np.uint64(32)).astype(np.int64)
