"""Texts to tokens and the sentences among them, some documents at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.shard.sentences import sentence_ends
from tokenizer.encode import Tokenizer
from tokenizer.sentences import token_spans


@dataclass(frozen=True, slots=True)
class TokenBlock:
    """Documents as tokens, one behind another.

    Attributes:
        tokens: uint32 [tokens], each document's followed by end-of-text.
        lengths: int32 [documents], tokens of each, with end-of-text: a document without text has one.
        num_sentences: int32 [documents].
        sentence_lengths: int32 [sentences], tokens of each; none has end-of-text.
    """

    tokens: npt.NDArray[np.uint32]
    lengths: npt.NDArray[np.int32]
    num_sentences: npt.NDArray[np.int32]
    sentence_lengths: npt.NDArray[np.int32]


def tokenize(texts: Sequence[str], languages: Sequence[str], tokenizer: Tokenizer) -> TokenBlock:
    """Encodes each text whole, once, and maps the ends of its sentences to its tokens.

    Args:
        texts: without lone surrogates, as Arrow's are.
        languages: of each text, as ISO 639 has them.
        tokenizer: the run's.
    """
    ids = [tokenizer.encode_array(text) for text in texts]
    ends = [sentence_ends(text, language) for text, language in zip(texts, languages, strict=True)]
    tokens = np.concatenate([np.empty(0, np.uint32), *ids])
    token_bounds = _bounds([len(one) for one in ids])
    byte_bounds = _bounds([int(one[-1]) if len(one) else 0 for one in ends])
    starts = np.repeat(byte_bounds[:-1], [len(one) for one in ends])
    # All documents are mapped as one text: every document's end is a sentence's and a token's.
    spans = token_spans(
        tokenizer.token_lengths[tokens], np.concatenate([np.empty(0, np.int64), *ends]) + starts
    )
    return TokenBlock(
        tokens=np.insert(tokens, token_bounds[1:], tokenizer.eot_id),
        lengths=(np.diff(token_bounds) + 1).astype(np.int32),
        num_sentences=np.diff(np.searchsorted(spans, token_bounds)).astype(np.int32),
        sentence_lengths=np.diff(spans).astype(np.int32),
    )


def _bounds(sizes: Sequence[int]) -> npt.NDArray[np.int64]:
    """Where each of several things of these sizes begins, one behind another, and where the last ends."""
    bounds = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=bounds[1:])
    return bounds
