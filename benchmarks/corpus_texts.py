r"""Texts for benchmarks/corpus_run.py, and their tokens: quick to make, as both are looked up.

A text is a row of **forms**: a made word as it stands in a text (" word", " word,", "\nWord"), or a whole
line that many pages have. GPT-2's words never cross forms, so the tokens of a text are those of its forms,
which are encoded once. A stretch of texts is then one ``take`` from the table of forms, and its tokens are
another.

Which forms a text has is a hash of its document's number and of the place: any process makes any document,
and an edited copy is its original with some of its words drawn anew.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenizer.encode import Tokenizer

Integers = NDArray[np.int64]

SHARES = {"en": 0.87, "de": 0.04, "fr": 0.03, "es": 0.02, "ru": 0.02, "ar": 0.008, "he": 0.007, "ko": 0.005}
"""The languages of documents, and how many of them have each."""

LANGUAGES = tuple(SHARES)

_SYLLABLES = {
    "en": "a be ca de el er fo ga hi in ju ka lo me no or pa qui re sh si st ta th un ve wi xa yo ze",
    "de": "ä auf be ch der ei fü ge heit ich kö lich mü nis ob schr tze un ver wö zu",
    "fr": "à ble ce dé eau fi gn hé iè jou lé mé noi oui pré que ré sé té vê",
    "es": "ación be ca dí en fu ga hí jo lla mé ni ñ or pa qué ra sí tú va",
    "ru": "а бо ве го де ёл жи зна и ку ле мо ны о пре ро ст ть у фи ша я",
    "ar": "ا ب ت ج ح د ر س ع ف ق ك ل م ن و ي ال",
    "he": "א ב ג ד ה ו ז ח ט י כ ל מ נ ס ע פ צ ק ר ש ת",
    "ko": "가 나 다 라 마 바 사 아 자 차 카 타 파 하 고 노 도 로 모 보 소 오",
}
_STOP_WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "a",
    "is",
    "that",
    "for",
    "it",
    "was",
    "on",
    "with",
    "as",
    "be",
    "at",
    "by",
    "this",
    "have",
    "from",
    "or",
    "not",
    "are",
    "but",
]

# How a word is written. What comes behind END is one form a line that many have, and last of all NOTHING.
_WRITTEN = (" {}", " {},", " {}.", " {}", "\n{}", "{}")
_PLAIN, _COMMA, _STOP, _CAPITAL, _LINE, _FIRST = range(len(_WRITTEN))

_NUM_LINES = 200
_PLACES = 1 << 18  # of the table that draws words by Zipf's law
_LONGEST = 1 << 24  # words of a text


def mixed(numbers: NDArray[np.integer], salt: int) -> NDArray[np.uint64]:
    """64 bits that look random, the same for the same number and salt (SplitMix64)."""
    bits = numbers.astype(np.uint64) * np.uint64(2) + np.uint64((1 + salt * 0x9E3779B97F4A7C15) % 2**64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def chance(numbers: NDArray[np.integer], salt: int) -> NDArray[np.float64]:
    """A number from 0 to 1 that looks random, the same for the same number and salt."""
    return mixed(numbers, salt) / 2.0**64


def zipf(num: int, places: int, flat: float = 2.7) -> NDArray[np.int32]:
    """Ranks under ``num``, each in as many of the places as it is frequent: 1 / (rank + flat)."""
    shares = np.cumsum(1 / (np.arange(num) + flat))
    found: NDArray[np.int32] = np.searchsorted(
        shares / shares[-1], (np.arange(places) + 0.5) / places
    ).astype(np.int32)
    return found


@dataclass(frozen=True, slots=True)
class Asked:
    """Which texts are asked for, an entry a document."""

    number: Integers
    source: Integers  # the document whose text it is, its own where it is no copy
    changed: NDArray[np.float64]  # the share of words that a copy has other than its source
    language: Integers  # the place in LANGUAGES
    num_words: Integers  # about


@dataclass(frozen=True, slots=True)
class Drawn:
    """Texts as forms: the forms of all, one text behind another, and where each text begins; the end last."""

    forms: Integers
    bounds: Integers

    def only(self, rows: NDArray[np.bool_]) -> "Drawn":
        """Some of the texts."""
        lengths = np.diff(self.bounds)
        return Drawn(self.forms[np.repeat(rows, lengths)], np.append(0, np.cumsum(lengths[rows])))

    @classmethod
    def together(cls, several: Iterable["Drawn"]) -> "Drawn":
        """All texts of several."""
        every = list(several)
        lengths = np.concatenate([np.diff(one.bounds) for one in every])
        return cls(np.concatenate([one.forms for one in every]), np.append(0, np.cumsum(lengths)))


class Words:
    """The words of all languages, the frequent ones first, and the lines that many pages have."""

    def __init__(self, num_words: int = 100_000) -> None:
        """``num_words`` is English's number of words; the others have a tenth of it."""
        self._random = np.random.default_rng(7)
        self._first: list[int] = []  # each language's first word
        self._zipf: list[NDArray[np.int32]] = []
        self.words: list[str] = []
        for language in LANGUAGES:
            own = self._made(language, num_words if language == "en" else num_words // 10)
            self._first.append(len(self.words))
            self._zipf.append(zipf(len(own), _PLACES) + len(self.words))
            self.words += own
        self._table = np.concatenate(self._zipf)
        self.lines = [self._line() for _ in range(_NUM_LINES)]

    def _made(self, language: str, num: int) -> list[str]:
        syllables = _SYLLABLES[language].split()
        fewest = 2 if language in ("ar", "he") else 1
        found = dict.fromkeys(_STOP_WORDS if language == "en" else ())
        while len(found) < num:
            sizes = fewest + self._random.binomial(4, 0.5, size=num)
            pieces = iter(self._random.choice(syllables, int(sizes.sum())).tolist())
            found |= dict.fromkeys("".join(next(pieces) for _ in range(size)) for size in sizes.tolist())
        words = list(found)[:num]
        noise = 4 * self._random.random(num)
        noise[: len(_STOP_WORDS)] -= 100 if language == "en" else 0
        return [words[i] for i in np.argsort([len(word) for word in words] + noise)]

    def _line(self) -> str:
        ranks = self._zipf[0][self._random.integers(_PLACES, size=int(self._random.integers(3, 12)))]
        return " ".join(self.words[rank] for rank in ranks.tolist()).capitalize() + "."

    @cached_property
    def forms(self) -> list[str]:
        """Every word in every way that it is written, the lines, and at last the form that is no text."""
        capital = [word.capitalize() for word in self.words]
        words = (self.words, self.words, self.words, capital, capital, capital)
        written = [how.format(word) for how, own in zip(_WRITTEN, words, strict=True) for word in own]
        return [*written, *(f"\n{line}" for line in self.lines), ""]

    @cached_property
    def sizes(self) -> Integers:
        """How many words each form is."""
        num = len(self.words) * len(_WRITTEN)
        return np.array([*[1] * num, *(len(line.split()) for line in self.lines), 0], dtype=np.int64)

    def draw(self, asked: Asked) -> Drawn:
        """The forms of texts; behind each text stands the form that is no text, where its tokens end."""
        lengths = asked.num_words + 1
        ends = np.cumsum(lengths)
        starts, lasts = ends - lengths, ends - 2
        places = np.arange(ends[-1]) - np.repeat(starts, lengths)
        bits = mixed(np.repeat(asked.source, lengths) * _LONGEST + places, 1)
        own = mixed(np.repeat(asked.number, lengths) * _LONGEST + places, 2)
        changed = (own >> np.uint64(40)) < np.repeat(asked.changed * 2**24, lengths)
        # The lowest bits give the word, those above how it is written: a changed word is written alike.
        low = np.where(changed, own, bits) & np.uint64(_PLACES - 1)
        words = self._table[np.repeat(asked.language, lengths) * _PLACES + low.astype(np.int64)].astype(
            np.int64
        )

        stop = _eighth_bits(bits, 20) < 13  # a sentence in twenty words
        capital = np.roll(stop, 1)
        line = capital & (_eighth_bits(bits, 28) < 60)
        common = line & (_eighth_bits(bits, 36) < 25)
        line |= np.roll(common, 1)
        written = np.where(stop, _STOP, np.where(_eighth_bits(bits, 44) < 13, _COMMA, _PLAIN))
        written[capital], written[line] = _CAPITAL, _LINE
        forms = written * len(self.words) + words
        which = zipf(_NUM_LINES, 256)[_eighth_bits(bits, 52)[common]]
        forms[common] = len(self.words) * len(_WRITTEN) + which
        forms[lasts] = _STOP * len(self.words) + words[lasts]
        forms[starts] = _FIRST * len(self.words) + words[starts]
        forms[ends - 1] = len(self.forms) - 1
        return Drawn(forms, np.append(0, ends))

    def ends_sentence(self, forms: Integers) -> NDArray[np.bool_]:
        """Whether a form is the last of a sentence."""
        kind = forms // len(self.words)
        found: NDArray[np.bool_] = (kind == _STOP) | (kind >= len(_WRITTEN)) & (forms < len(self.forms) - 1)
        return found

    def some(self, numbers: Integers, num: int, salt: int) -> list[list[str]]:
        """``num`` English words for each number."""
        numbers = np.repeat(numbers * num, num) + np.tile(np.arange(num), len(numbers))
        drawn = self._zipf[0][(mixed(numbers, salt) % np.uint64(_PLACES)).astype(np.int64)]
        words = [self.words[rank] for rank in drawn.tolist()]
        return [words[start : start + num] for start in range(0, len(words), num)]


def _eighth_bits(bits: NDArray[np.uint64], lowest: int) -> Integers:
    """Eight of the bits as a number from 0 to 255."""
    return (bits >> np.uint64(lowest)).astype(np.int64) & 0xFF


class Lookup:
    """The bytes and the tokens of forms."""

    def __init__(self, words: Words, tokenizer: Tokenizer) -> None:
        """The tokens of a vocabulary that fits into 16 bits; the form that is no text is end-of-text."""
        self._texts = pa.array(words.forms, pa.string())
        tokens = [tokenizer.encode_array(form).astype("<u2").tobytes() for form in words.forms[:-1]]
        end = np.array([tokenizer.eot_id], "<u2").tobytes()
        self._tokens = pa.array([*tokens, end], pa.binary())

    def texts(self, drawn: Drawn) -> pa.Array:
        """The texts."""
        offsets, data = _taken(self._texts, drawn.forms)
        bounds = offsets[drawn.bounds].astype(np.int32)
        return pa.StringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), data)

    def tokens(self, forms: Integers) -> tuple[NDArray[np.uint16], Integers]:
        """The tokens of forms, and behind how many of them each form begins; all of them last."""
        offsets, data = _taken(self._tokens, forms)
        return np.frombuffer(data, "<u2", offsets[-1] // 2), offsets.astype(np.int64) // 2


def _taken(table: pa.Array, forms: Integers) -> tuple[NDArray[np.int32], pa.Buffer]:
    """The entries one behind another, and where each begins."""
    taken = table.take(pa.array(forms))
    _, offsets, data = taken.buffers()
    return np.frombuffer(offsets, np.int32, len(forms) + 1), data


def sample(words: Words, num: int, num_words: int = 700) -> Sequence[str]:
    """Texts to learn a vocabulary from: as many of each language as it has words of its own."""
    numbers = np.arange(num, dtype=np.int64)
    language = np.where(numbers % 2 == 0, 0, numbers // 2 % len(LANGUAGES))
    drawn = words.draw(Asked(numbers, numbers, np.zeros(num), language, np.full(num, num_words)))
    pieces = np.array(words.forms, dtype=object)[drawn.forms]
    return ["".join(pieces[a:b]) for a, b in zip(drawn.bounds[:-1], drawn.bounds[1:], strict=True)]
