"""Documents of a file of tokens: where each lies, what it says, and which one has a given token."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.shard.token_forms import Found
from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.tokenfile import Index

_TOKENS_SHOWN: Final = 16
_TOKENS_AROUND: Final = 12  # on each side of a token that is asked for
_CHARACTERS_SHOWN: Final = 300
_TOKENS_READ: Final = (
    4 * _CHARACTERS_SHOWN
)  # a character has four bytes at the most, a token one at the least

Positions = npt.NDArray[np.int64]


class Spans(NamedTuple):
    """Where documents lie in a file, in tokens: int64 [documents] each."""

    starts: Positions
    ends: Positions


@dataclass(frozen=True, slots=True)
class Document:
    """A document of the file.

    Attributes:
        number: From 0, in the file.
        first_token: From 0, in the file.
        num_tokens: With end-of-text where that is in the document.
        num_sentences: None where no index cuts documents.
        tokens: The first ids.
        text: What it begins with, a string a sentence; None where it cannot be decoded.
        goes_on: Whether there is more text than that.
    """

    number: int
    first_token: int
    num_tokens: int
    num_sentences: int | None
    tokens: tuple[int, ...]
    text: tuple[str, ...] | None
    goes_on: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was asked for, and what stands around it in its document.

    Attributes:
        number: From 0, in the file.
        id: Its id.
        document: The one that has it; None where documents are not known, or where it lies between two.
        place: From 0, in the document; None as ``document``.
        sentence: From 0, in the document; None for end-of-text, and where sentences are not known.
        before: The ids before it.
        after: The ids behind it.
        text: What ``before``, it, and ``after`` decode to; None where they cannot be decoded.
    """

    number: int
    id: int
    document: int | None
    place: int | None
    sentence: int | None
    before: tuple[int, ...]
    after: tuple[int, ...]
    text: tuple[str, str, str] | None


def spans_of_index(index: Index, num_tokens: int) -> Spans:
    """Where an index's documents lie; one without sequences is empty, and lies where the next one begins."""
    starts, ends = _sequences(index)
    firsts, behind = index.documents[:-1], index.documents[1:]
    begin = np.append(starts, num_tokens)[firsts]
    return Spans(begin, np.where(behind > firsts, np.append(ends, 0)[behind - 1], begin))


def spans_by_end_of_text(places: Positions, num_tokens: int) -> Spans:
    """Where documents lie that nothing but end-of-text parts: each ends with it, or each begins with it.

    They begin with it where the file does and does not end with it, as llm.c's do.

    Args:
        places: int64, where end-of-text is, ascending.
        num_tokens: Tokens in the file.
    """
    if len(places) and places[0] == 0 and places[-1] != num_tokens - 1:
        return Spans(places, np.append(places[1:], num_tokens))
    ends = places + 1
    if num_tokens > (ends[-1] if len(ends) else 0):
        ends = np.append(ends, num_tokens)
    return Spans(np.concatenate((np.zeros(1, np.int64), ends[:-1]))[: len(ends)], ends)


def document_with(spans: Spans, token: int) -> int | None:
    """The document that has a token; None where it lies between two."""
    document = int(np.searchsorted(spans.starts, token, side="right")) - 1
    return document if document >= 0 and token < spans.ends[document] else None


def read_document(found: Found, spans: Spans, number: int, tokenizer: Tokenizer | None) -> Document:
    """A document, with the beginning of its text."""
    start, end = int(spans.starts[number]), int(spans.ends[number])
    tokens = found.tokens[start:end]
    num_sentences, text = None, None
    cuts = np.zeros(0, np.int64)
    if found.sentences is not None:
        own = _sentences(found.sentences, number)
        num_sentences, cuts = len(own.starts), own.starts[1:] - start
    if tokenizer is not None:
        text = _text(tokens, cuts, tokenizer)
    return Document(
        number=number,
        first_token=start,
        num_tokens=end - start,
        num_sentences=num_sentences,
        tokens=_ids(tokens[:_TOKENS_SHOWN]),
        text=None if text is None else text[0],
        goes_on=text is not None and text[1],
    )


def read_token(found: Found, spans: Spans | None, token: int, tokenizer: Tokenizer | None) -> Token:
    """A token of the file, with those around it."""
    document = None if spans is None else document_with(spans, token)
    start, end = 0, len(found.tokens)
    sentence = None
    if spans is not None and document is not None:
        start, end = int(spans.starts[document]), int(spans.ends[document])
        if found.sentences is not None:
            sentence = document_with(_sentences(found.sentences, document), token)
    before = found.tokens[max(start, token - _TOKENS_AROUND) : token]
    after = found.tokens[token + 1 : min(end, token + 1 + _TOKENS_AROUND)]
    text = [_decode(piece, tokenizer) for piece in (before, found.tokens[token : token + 1], after)]
    return Token(
        number=token,
        id=int(found.tokens[token]),
        document=document,
        place=None if document is None else token - start,
        sentence=sentence,
        before=_ids(before),
        after=_ids(after),
        text=None if None in text else (text[0] or "", text[1] or "", text[2] or ""),
    )


def first_tokens(found: Found) -> tuple[int, ...]:
    """The file's first ids."""
    return _ids(found.tokens[:_TOKENS_SHOWN])


def _sequences(index: Index) -> Spans:
    starts = index.pointers // index.dtype.itemsize
    return Spans(starts, starts + index.lengths)


def _sentences(index: Index, document: int) -> Spans:
    first, behind = (int(one) for one in index.documents[document : document + 2])
    starts = index.pointers[first:behind] // index.dtype.itemsize
    return Spans(starts, starts + index.lengths[first:behind])


def _ids(tokens: npt.NDArray[Any]) -> tuple[int, ...]:
    return tuple(tokens.tolist())


def _text(
    tokens: npt.NDArray[Any], cuts: Positions, tokenizer: Tokenizer
) -> tuple[tuple[str, ...], bool] | None:
    """The beginning of a document's text, cut where its sentences are, and whether there is more."""
    start = int(len(tokens) > 0 and tokens[0] == tokenizer.eot_id)
    end = len(tokens) - int(len(tokens) > start and tokens[-1] == tokenizer.eot_id)
    last = min(end, start + _TOKENS_READ)
    bounds = [start, *cuts[(cuts > start) & (cuts < last)].tolist(), last]
    pieces: list[str] = []
    room = _CHARACTERS_SHOWN
    for at, behind in pairwise(bounds):
        piece = _decode(tokens[at:behind], tokenizer)
        if piece is None:
            return None
        pieces.append(piece[:room])
        room -= len(piece)
        if room < 0 or (room == 0 and behind < end):
            return tuple(pieces), True
    return tuple(piece for piece in pieces if piece), last < end


def _decode(tokens: npt.NDArray[Any], tokenizer: Tokenizer | None) -> str | None:
    if tokenizer is None:
        return None
    try:
        return tokenizer.decode(tokens)
    except TokenizerError:  # an id that the vocabulary does not have: the figures tell of it
        return None
