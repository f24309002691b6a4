"""A vocabulary: the merges, and all that follows from them.

The merges are the one source of truth. Tokens, ids and files are derived from them, never kept
beside them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tokenizer.alphabet import CHARACTERS
from tokenizer.errors import TokenizerError

NUM_BYTES: Final = 256
MIN_VOCAB_SIZE: Final = NUM_BYTES + 1
MAX_VOCAB_SIZE: Final = 1_000_000
"""The most that may be asked for: the trainer takes memory for as many before it reads a text."""

END_OF_TEXT: Final = "<|endoftext|>"
PAD: Final = "[PAD]"
UNK: Final = "[UNK]"
CLS: Final = "[CLS]"
SEP: Final = "[SEP]"
MASK: Final = "[MASK]"
ALBERT_SPECIALS: Final = (PAD, UNK, CLS, SEP, MASK)

Merge = tuple[bytes, bytes]


@dataclass(frozen=True)
class Vocabulary:
    """Byte-level BPE in GPT-2's order of ids.

    The 256 bytes (in `alphabet` order), one id a merge, `<|endoftext|>`; behind these, not
    counted in `vocab_size`, ALBERT's five special tokens.

    Attributes:
        merges: pairs of tokens, first learnt first.

    Raises:
        TokenizerError: A merge joins a token that is not known by then, or makes one that is
            known already, or one that encoding could never reach (see `_check_merges`).
    """

    merges: tuple[Merge, ...]

    def __post_init__(self) -> None:
        _check_merges(self.merges)

    @property
    def vocab_size(self) -> int:
        """Number of ids, `<|endoftext|>` included and ALBERT's special tokens not."""
        return NUM_BYTES + len(self.merges) + 1

    @property
    def tokens(self) -> list[bytes]:
        """The bytes and the merged tokens; position is id."""
        return [*_byte_tokens(), *(left + right for left, right in self.merges)]

    @property
    def specials(self) -> dict[str, int]:
        """Ids of `<|endoftext|>` and ALBERT's special tokens, in order."""
        return {name: self.vocab_size - 1 + i for i, name in enumerate((END_OF_TEXT, *ALBERT_SPECIALS))}


def _byte_tokens() -> list[bytes]:
    return [bytes([byte]) for byte in CHARACTERS]


def _check_merges(merges: Iterable[Merge]) -> None:
    """Raise TokenizerError, naming the merge by its place from 1, unless every merge is sound.

    tiktoken looks tokens up by their bytes, `tokenizers` by their pair of parts. They agree
    exactly when each token, encoded with only the merges before its own, comes out as its pair.
    Training always gives such merges; a file edited by hand may not.
    """
    ranks = {token: rank for rank, token in enumerate(_byte_tokens())}
    pairs: dict[bytes, Merge] = {}
    for number, (left, right) in enumerate(merges, start=1):
        for part in (left, right):
            if part not in ranks:
                raise TokenizerError(
                    f"merge {number} joins {left!r} and {right!r}, but {part!r} is neither a byte "
                    "nor made by a merge before it; take the file as its trainer wrote it"
                )
        token = left + right
        if token in ranks:
            raise TokenizerError(
                f"merge {number} of {left!r} and {right!r} makes {token!r}, which exists already; "
                "take the file as its trainer wrote it"
            )
        if not _comes_out_as(left, right, ranks, pairs):
            raise TokenizerError(
                f"merge {number} of {left!r} and {right!r} can never happen: the merges before it "
                f"lead {token!r} to {_merge_until_two(token, ranks)}; take the file as its trainer wrote it"
            )
        ranks[token] = len(ranks)
        pairs[token] = (left, right)


def _comes_out_as(left: bytes, right: bytes, ranks: dict[bytes, int], pairs: dict[bytes, Merge]) -> bool:
    """Whether the bytes of two tokens, merged by rank, come out as just these two.

    Each does by itself. So what matters is whether ever the parts on either side of the seam are merged:
    before those parts have grown, rank by rank, to be the two tokens. Of equal ranks the leftmost is first.
    """
    before = _edge(left, pairs, side=1)
    after = _edge(right, pairs, side=0)
    while len(before) > 1 or len(after) > 1:
        none = len(ranks)
        grows_before = ranks[before[-2]] if len(before) > 1 else none
        grows_after = ranks[after[-2]] if len(after) > 1 else none
        across = ranks.get(before[-1] + after[-1], none)
        if across < grows_before and across <= grows_after:
            return False
        (before if grows_before <= grows_after else after).pop()
    return True


def _edge(token: bytes, pairs: dict[bytes, Merge], side: int) -> list[bytes]:
    """The parts at a token's left (0) or right (1) edge as it is merged: from the token back to a byte."""
    parts = [token]
    while parts[-1] in pairs:
        parts.append(pairs[parts[-1]][side])
    return parts


def _merge_until_two(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """Merge a token's bytes, lowest rank first, until two parts are left or no merge fits.

    With `th` of rank 256 and `he` of rank 257, `the` becomes `[th, e]`.
    """
    parts = [token[i : i + 1] for i in range(len(token))]
    none = len(ranks)
    while len(parts) > 2:
        candidates = [ranks.get(left + right, none) for left, right in pairwise(parts)]
        best = min(candidates)
        if best == none:
            break
        at = candidates.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts
