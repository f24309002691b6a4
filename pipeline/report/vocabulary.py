"""How a run's tokenizer fits its corpus, and how others do: what a token holds, which ids are used.

Tokens a word is what the field calls fertility (Rust et al., 2021, https://arxiv.org/abs/2012.15613). A word
is a run of characters that are no space, as in all numbers of a run; languages that are written without
spaces have few, and are to be compared by bytes a token. The special tokens are left out: no text becomes
them.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.runs import Folder, Manifest
from pipeline.stages import BY_NAME
from pipeline.status import require_run, require_stage
from pipeline.tokenizer.documents import sample_fraction, text_bytes
from tokenizer.encode import Tokenizer
from tokenizer.files import TOKENIZER_JSON
from tokenizer.train import sampled
from tokenizer.vocabulary import NUM_BYTES

OWN = "this run"
NUM_LONGEST = 25
NUM_EXAMPLES = 100

_BATCH = 256  # documents
_CURVE_POINTS = 120
_COLUMNS = ["id", "text", "language", "num_words"]

_UNFINISHED = (
    "and a tokenizer is measured on the corpus that it was made for. Run `webtext build FILE --until "
    "tokenizer` first."
)

Counts = npt.NDArray[np.int64]


class Amount(NamedTuple):
    """So much text, of one language or of all, and the tokens that each vocabulary makes of it."""

    language: str  # ISO 639; a description where it is several together
    num_documents: int
    num_bytes: int  # of UTF-8
    num_characters: int
    num_words: int
    num_tokens: tuple[int, ...]  # the run's own vocabulary first

    def bytes_a_token(self, vocabulary: int) -> float | None:
        """Of the vocabulary at this place; None where there is no token."""
        num = self.num_tokens[vocabulary]
        return self.num_bytes / num if num else None

    def tokens_a_word(self, vocabulary: int) -> float | None:
        """Of the vocabulary at this place; None where there is no word."""
        return self.num_tokens[vocabulary] / self.num_words if self.num_words else None


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """How often the sample has each id of a vocabulary.

    Attributes:
        name: as people know the vocabulary.
        tokens: the bytes of each id that text can have: those of single bytes, then the merged ones.
        counts: int64 [ids].
    """

    name: str
    tokens: tuple[bytes, ...]
    counts: Counts

    def never(self) -> npt.NDArray[np.intp]:
        """The ids that the sample does not have, in order."""
        return np.flatnonzero(self.counts == 0)

    def num_never_bytes(self) -> int:
        """How many of the single bytes the sample does not have; 13 of the 256 are in no UTF-8."""
        return int(np.count_nonzero(self.counts[:NUM_BYTES] == 0))

    def examples(self) -> list[int]:
        """The first merged ids that the sample does not have, NUM_EXAMPLES at most."""
        never = self.never()
        return [int(one) for one in never[never >= NUM_BYTES][:NUM_EXAMPLES]]

    def num_ids(self, least: int, most: int | None = None) -> int:
        """How many ids the sample has as often as ``least`` to ``most``."""
        wanted = self.counts >= least
        return int(np.count_nonzero(wanted if most is None else wanted & (self.counts <= most)))

    def longest(self) -> list[int]:
        """The ids with the most bytes, of equal ones the least first, NUM_LONGEST at most."""
        return sorted(range(len(self.tokens)), key=lambda one: (-len(self.tokens[one]), one))[:NUM_LONGEST]

    def coverage(self) -> npt.NDArray[np.float64]:
        """What share of the sample's tokens the one, two, three … most frequent ids have: float64 [ids]."""
        covered: Counts = np.cumsum(np.sort(self.counts)[::-1])
        return covered / max(1, int(covered[-1]))

    def curve(self) -> list[tuple[int, float]]:
        """Points of the coverage, as many ids and their share, evenly spaced on a logarithmic axis."""
        coverage = self.coverage()
        places = np.unique(np.geomspace(1, len(coverage), _CURVE_POINTS).round().astype(int))
        return [(int(num), float(coverage[num - 1])) for num in places]

    def to_json(self) -> dict[str, Any]:
        """As ``webtext tokenizer show --json`` prints it."""
        return {
            "name": self.name,
            "ids": len(self.tokens),
            "tokens": int(self.counts.sum()),
            "never_used": self.never().tolist(),
            "never_used_bytes": self.num_never_bytes(),
            "never_used_examples": [self._shown(one) for one in self.examples()],
            "longest": [self._shown(one) for one in self.longest()],
            "ids_by_use": {name: self.num_ids(*between) for name, between in TIMES.items()},
            "coverage": [{"ids": num, "share": round(share, 6)} for num, share in self.curve()],
        }

    def _shown(self, token_id: int) -> dict[str, Any]:
        token = self.tokens[token_id]
        count = int(self.counts[token_id])
        return {"id": token_id, "token": readable(token), "bytes": len(token), "count": count}


TIMES: Mapping[str, tuple[int, int | None]] = {
    "never used": (0, 0),
    "used once": (1, 1),
    "used 2 to 9 times": (2, 9),
    "used 10 to 99 times": (10, 99),
    "used 100 times or more": (100, None),
}


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What was measured of a run's sample: all of it, language by language (most bytes first), id by id."""

    run: str
    num_documents: int  # of the corpus
    num_trained: int  # of them the tokenizer was trained on
    total: Amount
    languages: tuple[Amount, ...]
    uses: tuple[Use, ...]

    def to_json(self) -> dict[str, Any]:
        """As ``webtext tokenizer show --json`` prints it."""
        return {
            "run": self.run,
            "documents_in_corpus": self.num_documents,
            "documents_trained_on": self.num_trained,
            "sample": self._amount(self.total),
            "languages": [{"language": one.language, **self._amount(one)} for one in self.languages],
            "vocabularies": [one.to_json() for one in self.uses],
        }

    def _amount(self, amount: Amount) -> dict[str, Any]:
        return {
            "documents": amount.num_documents,
            "bytes": amount.num_bytes,
            "characters": amount.num_characters,
            "words": amount.num_words,
            "vocabularies": [
                {
                    "name": use.name,
                    "tokens": amount.num_tokens[place],
                    "bytes_a_token": _rounded(amount.bytes_a_token(place)),
                    "tokens_a_word": _rounded(amount.tokens_a_word(place)),
                }
                for place, use in enumerate(self.uses)
            ],
        }


def measure_fit(run: Folder, against: Mapping[str, Tokenizer], sample_bytes: int) -> Fit:
    """Encodes a sample of a run's corpus with its own tokenizer and with others.

    The sample depends on the documents' ids alone, and not on what the tokenizer was trained on: where that
    was a part of the corpus, the sample is of all of it.

    Args:
        run: The run directory, its tokenizer finished.
        against: The other tokenizers by the names to show.
        sample_bytes: About how many bytes of text to measure on; a smaller corpus is measured whole.

    Raises:
        InputError: The corpus or the tokenizer is not finished, there is no document, or files of the run are
            missing or damaged.
        TokenizerError: The run's tokenizer.json is damaged.
    """
    require_run(run)
    corpus, trained = (require_stage(run, stage, _UNFINISHED) for stage in ("dedupe", "tokenizer"))
    if corpus.counts.kept == 0:
        raise InputError(
            f"{run.uri}: the corpus is empty, so there is nothing to measure a tokenizer on: webtext status "
            f"{shlex.quote(run.address)} shows where the records went."
        )
    tokenizers = {OWN: _own_tokenizer(run), **against}
    fraction = sample_fraction(sample_bytes, text_bytes(corpus))
    count = _Count(list(tokenizers.values()))
    try:
        for batch in _sample(run / BY_NAME["dedupe"].folder, corpus, fraction):
            count.add(batch)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{run.uri}: the corpus cannot be read ({error}): `webtext verify` names the file and what to do."
        ) from error
    languages = sorted(count.languages(), key=lambda one: (-one.num_bytes, one.language))
    if not languages:
        raise InputError(
            f"{run.uri}: a sample of about {sample_bytes:,} bytes has none of the {corpus.counts.kept:,} "
            "documents: give a greater --sample-bytes."
        )
    return Fit(
        run=run.uri,
        num_documents=corpus.counts.kept,
        num_trained=trained.counts.kept,
        total=together("all", languages),
        languages=tuple(languages),
        uses=tuple(
            Use(name, _tokens(one), counts)
            for (name, one), counts in zip(tokenizers.items(), count.of_ids, strict=True)
        ),
    )


def _own_tokenizer(run: Folder) -> Tokenizer:
    folder = run / BY_NAME["tokenizer"].folder
    try:
        data = folder.read(TOKENIZER_JSON)
    except OSError as error:
        raise InputError(
            f"{folder.uri}/{TOKENIZER_JSON} cannot be read ({error}): `webtext verify` tells what to do."
        ) from error
    return Tokenizer.from_bytes(data, f"{folder.uri}/{TOKENIZER_JSON}")


def _tokens(tokenizer: Tokenizer) -> tuple[bytes, ...]:
    return tuple(tokenizer.token_bytes(one) for one in range(tokenizer.eot_id))


def _sample(folder: Folder, corpus: Manifest, fraction: float) -> Iterator[pa.RecordBatch]:
    """About this share of a corpus's documents, in batches.

    Not the very hash that chose what to train on: those texts flatter the vocabulary that was made for them.
    """
    for part in corpus.counted():
        for batch in folder.read_batches(part.file(".parquet").name, _COLUMNS, _BATCH):
            chosen = [sampled(f"show {name}", fraction) for name in batch["id"].to_pylist()]
            yield batch.filter(pa.array(chosen, pa.bool_()))


class _Count:
    """Sums over batches of documents: memory is that of a batch, however many there are."""

    def __init__(self, tokenizers: list[Tokenizer]) -> None:
        self._tokenizers = tokenizers
        self.of_ids = [np.zeros(one.eot_id, np.int64) for one in tokenizers]
        self._of_language: dict[str, Counts] = {}  # documents, bytes, characters, words, tokens of each

    def add(self, batch: pa.RecordBatch) -> None:
        texts = batch["text"].to_pylist()
        if not texts:
            return
        tokens = []
        for place, tokenizer in enumerate(self._tokenizers):
            ids = [tokenizer.encode_array(text) for text in texts]
            counts = self.of_ids[place]
            counts += np.bincount(np.concatenate(ids), minlength=len(counts))
            tokens.append([len(one) for one in ids])
        languages, words = batch["language"].to_pylist(), batch["num_words"].to_pylist()
        for language, text, *numbers in zip(languages, texts, words, *tokens, strict=True):
            row = np.array([1, len(text.encode()), len(text), *numbers], np.int64)
            self._of_language[language] = self._of_language.get(language, 0) + row

    def languages(self) -> Iterator[Amount]:
        for language, row in self._of_language.items():
            documents, num_bytes, characters, words, *tokens = row.tolist()
            yield Amount(language, documents, num_bytes, characters, words, tuple(tokens))


def together(name: str, amounts: Sequence[Amount]) -> Amount:
    """The sum of one or more amounts, under a name of its own."""
    return Amount(
        name,
        sum(one.num_documents for one in amounts),
        sum(one.num_bytes for one in amounts),
        sum(one.num_characters for one in amounts),
        sum(one.num_words for one in amounts),
        tuple(map(sum, zip(*(one.num_tokens for one in amounts), strict=True))),
    )


def readable(token: bytes) -> str:
    r"""A token as people can read it, on one line: ``readable(b" caf\xc3\xa9\n\xe2") == "␣café\\n\\xe2"``.

    A space is ``␣``. A byte that is no UTF-8 by itself is ``\xe2``; a character that shows nothing is ``\n``
    or ``\u200b``; a backslash is two.
    """
    text = token.replace(b"\\", rb"\\").decode(errors="backslashreplace")
    return "".join(char if char.isprintable() and char != " " else _escape(char) for char in text)


def _escape(char: str) -> str:
    if char == " ":
        return "␣"
    if char.isascii():
        return char.encode("unicode_escape").decode()
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
