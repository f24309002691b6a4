"""A document's tokens as training sees them: read from its shard, each with its id and its bytes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import InputError
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.catalogue.tables import damage
from pipeline.report.vocabulary import readable
from pipeline.runs import Folder
from pipeline.stages import BY_NAME
from tokenizer.errors import TokenizerError
from tokenizer.files import TOKENIZER_JSON, parse_tokenizer_json
from tokenizer.tokenfile import token_dtype


class Token(NamedTuple):
    """A token: its id, what it looks like in its text, and how it is written by itself.

    A line's end is shown with a sign, and bytes that are no whole character, as characters that show nothing,
    by their numbers.
    """

    id: int
    text: str
    name: str
    num_bytes: int
    is_text: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """Some of a document's tokens.

    Attributes:
        start: How many of the document's are before them.
        total: How many it has.
        tokens: Those.
    """

    start: int
    total: int
    tokens: tuple[Token, ...]

    @property
    def end(self) -> int:
        """How many of the document's tokens are before the next ones."""
        return self.start + len(self.tokens)


def read_tokens(catalogue: Catalogue, place: Mapping[str, Any], start: int, num: int) -> Tokens:
    """Some tokens of a document that is in a shard.

    Args:
        catalogue: The run's.
        place: The document's row of `shard_documents`.
        start: From which of its tokens on; from the last ones where it has no such.
        num: How many at the most.

    Raises:
        InputError: The shard is missing or cut short, or the vocabulary is missing, damaged, or another.
    """
    vocabulary = _vocabulary(catalogue.run, catalogue.contents.manifests["shard"].facts["tokenizer"])
    total = place["num_tokens"]
    if start >= total:
        start = max(0, total - 1) // num * num
    dtype = token_dtype(len(vocabulary))
    name = f"{place['split']}-{place['shard']:05d}.bin"
    num = min(num, total - start)
    try:
        with (catalogue.run / BY_NAME["shard"].folder).open(name) as stream:
            data = stream.read_at(num * dtype.itemsize, (place["first_token"] + start) * dtype.itemsize)
    except OSError as error:
        raise InputError(
            f"shards/{name} cannot be read ({error}): `webtext verify` tells what to do."
        ) from error
    ids = np.frombuffer(data, dtype) if len(data) == num * dtype.itemsize else np.zeros(0, dtype)
    if len(ids) < num or int(ids.max(initial=0)) >= len(vocabulary):
        raise InputError(damage(f"shards/{name}", ValueError("it does not have these tokens")))
    return Tokens(start, total, tuple(_token(one, vocabulary[one]) for one in ids.tolist()))


def _token(token_id: int, data: bytes) -> Token:
    name = readable(data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return Token(token_id, name, name, len(data), False)
    shown = "".join(_shown(char) for char in text)
    return Token(token_id, shown, name, len(data), all(char.isprintable() or char == "\n" for char in text))


def _shown(char: str) -> str:
    if char == "\n":
        return "⏎\n"
    return char if char.isprintable() else readable(char.encode())


@lru_cache(maxsize=2)
def _vocabulary(run: Folder, digest: str) -> tuple[bytes, ...]:
    """The bytes of each id of a run's tokenizer, which must be the one with this digest."""
    folder = run / BY_NAME["tokenizer"].folder
    try:
        data = folder.read(TOKENIZER_JSON)
        vocabulary = parse_tokenizer_json(data, f"{folder.uri}/{TOKENIZER_JSON}")
    except (OSError, TokenizerError) as error:
        raise InputError(f"tokens cannot be shown: {error}; `webtext verify` tells what to do.") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise InputError(
            "tokens cannot be shown: the tokenizer is not the one of these shards; run `webtext build`."
        )
    return (*vocabulary.tokens, *(name.encode() for name in vocabulary.specials))
