"""WMT14: the news of newstest2014 from English to French and back (Bojar et al. 2014).

GPT-2 reads pairs `english sentence = french sentence` and a final `english sentence =`, and goes on
greedily; the first sentence is the translation (Radford et al. 2019, section 3.7). A variant asks in words
instead, as web pages do: `They say in French:`. BLEU of the whole set by sacrebleu: its tokens (13a), its
smoothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from re import compile as pattern
from typing import TYPE_CHECKING

from model.evaluate.reading import read_lines
from model.evaluate.requests import Generation, Reply
from model.evaluate.task import EvaluationFileError, Item, Measures, Task
from model.evaluate.tasks.answers import first_sentences, written

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

LANGUAGES = {"en": "English", "fr": "French"}

_SEGMENT = pattern(r"<seg\b[^>]*>(.*?)</seg>")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}

_CORRECT = tuple(f"correct_{n}" for n in range(1, 5))
_TOTAL = tuple(f"total_{n}" for n in range(1, 5))


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentence in two languages.

    Attributes:
        source: In the one that is translated.
        target: In the other one, as people translated it.
    """

    source: str
    target: str


def read_pairs(path: Path, source: str, target: str) -> list[Pair]:
    """The sentences of two files that lie side by side, of which `path` is either.

    They are plain (newstest2014.en and newstest2014.fr, a sentence a line) or SGML as WMT publishes it
    (newstest2014-fren-src.en.sgm and newstest2014-fren-ref.fr.sgm).

    Args:
        path: One of the two.
        source: The language that is translated, `en` or `fr`.
        target: The other one.

    Raises:
        EvaluationFileError: There is no such pair, or the two do not go together line by line.
    """
    language, other = _languages(path)
    files = {language: path, other: _beside(path, language, other)}
    sources, targets = _sentences(files[source]), _sentences(files[target])
    if len(sources) != len(targets):
        raise EvaluationFileError(
            f"{files[source]} has {len(sources):,} sentences, {files[target]} has {len(targets):,}: one is "
            "cut, or they do not go together: get both again"
        )
    return [Pair(*pair) for pair in zip(sources, targets, strict=True)]


def _languages(path: Path) -> tuple[str, str]:
    """The language that a file's name says it is in, and the other one."""
    found = [part for part in path.name.split(".") if part in LANGUAGES]
    if not found:
        raise EvaluationFileError(
            f"{path}: its name does not say its language: give newstest2014.en or "
            "newstest2014-fren-src.en.sgm, with its other half beside it"
        )
    return found[-1], "fr" if found[-1] == "en" else "en"


def _beside(path: Path, language: str, other: str) -> Path:
    """The other half of a pair: the other language and, in WMT's names, the other role."""
    stem, _, ending = path.name.rpartition(f".{language}")
    role = next((role for role in ("-src", "-ref") if stem.endswith(role)), "")
    roles = {"-src": "-ref", "-ref": "-src", "": ""}
    return path.with_name(f"{stem.removesuffix(role)}{roles[role]}.{other}{ending}")


def _sentences(path: Path) -> list[str]:
    lines = list(read_lines(path))
    if ".sgm" in path.suffixes:
        return _segments(path, lines)
    for number, line in lines:
        if not line.strip():
            raise EvaluationFileError(
                f"{path}, line {number}: blank, where a sentence should be: give the official file, or take "
                "the line out of both languages' files"
            )
    return [line.strip() for _, line in lines]


def _segments(path: Path, lines: Sequence[tuple[int, str]]) -> list[str]:
    sentences = []
    for number, line in lines:
        if "<seg" not in line:
            continue
        found = _SEGMENT.search(line)
        sentence = _without_entities(found[1]).strip() if found else ""
        if not sentence:
            raise EvaluationFileError(
                f"{path}, line {number}: a segment that is empty or does not end (</seg>): get the official "
                "file again"
            )
        sentences.append(sentence)
    if not sentences:
        raise EvaluationFileError(f"{path}: no <seg> in it: give the official SGML file")
    return sentences


def _without_entities(text: str) -> str:
    """SGML's escapes undone. WMT's files are not escaped throughout: other signs stay as they are."""
    for entity, sign in _ENTITIES.items():
        text = text.replace(entity, sign)
    return text


def ask(prompt: Callable[[str], str], item: Item, examples: str) -> list[Generation]:
    """The rest of the line behind the prompt."""
    return [Generation(prompt=examples + prompt(item.fields.source), max_tokens=256, stop=("\n",))]


def judge(item: Item, replies: Sequence[Reply]) -> dict[str, float]:
    """What BLEU counts in the first sentence that was written: matching n-grams, all n-grams, lengths."""
    translation = "".join(first_sentences(written(replies), 1))
    score = _bleu().corpus_score([translation], [[item.fields.target]])
    return {
        **dict(zip(_CORRECT, map(float, score.counts), strict=True)),
        **dict(zip(_TOTAL, map(float, score.totals), strict=True)),
        "length": float(score.sys_len),
        "reference_length": float(score.ref_len),
    }


def summarize(found: Sequence[Measures]) -> dict[str, float]:
    """BLEU of all sentences together, 0 to 100: their counts are added up, as sacrebleu does itself."""
    if not found:
        return {}
    total = {name: int(sum(one[name] for one in found)) for name in found[0]}
    score = _bleu().compute_bleu(
        correct=[total[name] for name in _CORRECT],
        total=[total[name] for name in _TOTAL],
        sys_len=total["length"],
        ref_len=total["reference_length"],
        smooth_method=_bleu().smooth_method,
    )
    return {"bleu": float(score.score)}


@cache
def _bleu() -> "BLEU":
    from sacrebleu.metrics.bleu import BLEU

    return BLEU()


def _with_equals_sign(sentence: str) -> str:
    return f"{sentence} ="


def _they_say(source: str, target: str) -> Callable[[str], str]:
    def prompt(sentence: str) -> str:
        return f"They say in {LANGUAGES[source]}: {sentence}\nThey say in {LANGUAGES[target]}:"

    return prompt


def _task(source: str, target: str, variant: str, prompt: Callable[[str], str], bleu: float | None) -> Task:
    def read(path: Path) -> list[Item]:
        pairs = read_pairs(path, source, target)
        return [
            Item(str(number), f"{prompt(pair.source)} {pair.target}", pair)
            for number, pair in enumerate(pairs, 1)
        ]

    return Task(
        name=f"wmt14-{source}-{target}{variant and '-they-say'}",
        title=f"WMT14 {LANGUAGES[source]} to {LANGUAGES[target]}{variant}",
        measures=("bleu",),
        read=read,
        ask=partial(ask, prompt),
        judge=judge,
        texts=lambda item: [item.fields.source, item.fields.target],
        summarize=summarize,
        is_better_high=frozenset({"bleu"}),
        published={} if bleu is None else {"GPT-2 1542M": {"bleu": bleu}},
    )


TASKS = (
    _task("en", "fr", "", _with_equals_sign, 5.0),
    _task("fr", "en", "", _with_equals_sign, 11.5),
    _task("en", "fr", " (they say)", _they_say("en", "fr"), None),
    _task("fr", "en", " (they say)", _they_say("fr", "en"), None),
)
