"""The measures of Gopher's, C4's and FineWeb's rules against datatrove's filters, on the same documents.

Each side in a process of its own, by turns, start and loading not counted; every document on which they
decide otherwise is listed. datatrove and spaCy need another Python: ``python -m venv DIR && DIR/bin/pip
install datatrove spacy nltk numpy regex``. ``--html`` names a folder of HTML pages whose texts are added,
such as packages of documentation unpacked by ``dpkg -x``.
"""

import argparse
import gzip
import json
import math
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.results import record
from pipeline.filter.c4 import FINEWEB_LINES, clean_lines
from pipeline.filter.fineweb import measure_fineweb
from pipeline.filter.gopher import measure_gopher
from pipeline.filter.words import split_words

_NUM_RUNS = 2
_ROOT = Path(__file__).parents[1]
_REAL = _ROOT.parent / "shared" / "realdata"
_PEER = _ROOT / "benchmarks" / "filters_datatrove.py"
_SEED = 6
_NUM_WAYS = 4  # in which a text is spoilt
_MOST_SPOILT = 20_000  # characters

AT_LEAST, AT_MOST = "at least", "at most"

RULES: Mapping[str, tuple[str, float, str]] = {
    # measure: (which way, threshold, datatrove's name), in datatrove's order and with its defaults
    "gopher_duplicate_paragraphs": (AT_MOST, 0.3, "dup_para_frac"),
    "gopher_duplicate_paragraph_characters": (AT_MOST, 0.2, "dup_para_char_frac"),
    "gopher_duplicate_lines": (AT_MOST, 0.3, "dup_line_frac"),
    "gopher_duplicate_line_characters": (AT_MOST, 0.2, "dup_line_char_frac"),
    "gopher_top_2_grams": (AT_MOST, 0.2, "top_2_gram"),
    "gopher_top_3_grams": (AT_MOST, 0.18, "top_3_gram"),
    "gopher_top_4_grams": (AT_MOST, 0.16, "top_4_gram"),
    "gopher_duplicate_5_grams": (AT_MOST, 0.15, "duplicated_5_n_grams"),
    "gopher_duplicate_6_grams": (AT_MOST, 0.14, "duplicated_6_n_grams"),
    "gopher_duplicate_7_grams": (AT_MOST, 0.13, "duplicated_7_n_grams"),
    "gopher_duplicate_8_grams": (AT_MOST, 0.12, "duplicated_8_n_grams"),
    "gopher_duplicate_9_grams": (AT_MOST, 0.11, "duplicated_9_n_grams"),
    "gopher_duplicate_10_grams": (AT_MOST, 0.1, "duplicated_10_n_grams"),
    "gopher_words at least": (AT_LEAST, 50, "gopher_short_doc"),
    "gopher_words at most": (AT_MOST, 100_000, "gopher_long_doc"),
    "gopher_word_length at least": (AT_LEAST, 3, "gopher_below_avg_threshold"),
    "gopher_word_length at most": (AT_MOST, 10, "gopher_above_avg_threshold"),
    "gopher_hashes": (AT_MOST, 0.1, "gopher_too_many_hashes"),
    "gopher_ellipses": (AT_MOST, 0.1, "gopher_too_many_ellipsis"),
    "gopher_bullet_lines": (AT_MOST, 0.9, "gopher_too_many_bullets"),
    "gopher_ellipsis_lines": (AT_MOST, 0.3, "gopher_too_many_end_ellipsis"),
    "gopher_alphabetic_words": (AT_LEAST, 0.8, "gopher_below_alpha_threshold"),
    "gopher_stop_words": (AT_LEAST, 2, "gopher_enough_stop_words"),
    "c4_lorem_ipsum": (AT_MOST, 0, "lorem_ipsum"),
    "c4_curly_brackets": (AT_MOST, 0, "curly_bracket"),
    "c4_sentences": (AT_LEAST, 5, "too_few_sentences"),
    "fineweb_punctuated_lines": (AT_LEAST, 0.12, "line_punct_ratio"),
    "fineweb_short_lines": (AT_MOST, 0.67, "short_line_ratio"),
    "fineweb_duplicate_characters": (AT_MOST, 0.01, "char_dup_ratio"),
    "fineweb_lines_a_word": (AT_MOST, 0.3, "list_ratio"),
}


class Verdict(NamedTuple):
    """The first rule that a document breaks, its value, and the text that C4's rules leave."""

    measure: str | None
    value: float
    text: str


_TESTS = [(rule, rule.partition(" ")[0], way == AT_LEAST, bound) for rule, (way, bound, _) in RULES.items()]


class Run(NamedTuple):
    """What the sides decided, and the seconds of each one's best run."""

    pairs: list[tuple[dict[str, Any], dict[str, Any]]]  # ours, datatrove's
    ours_s: float
    theirs_s: float
    peer: str


def main() -> None:
    """Measures and records; or, as a side, decides on a file of documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", type=Path, help="a Python that has datatrove and spaCy")
    parser.add_argument("--html", type=Path, help="a folder of HTML pages")
    parser.add_argument("--pages", type=int, default=1_500, help="at most, of that folder")
    parser.add_argument("--side", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        _side(*arguments.side)
        return
    with tempfile.TemporaryDirectory(prefix="webtext-filters-") as folder:
        _compare(Path(folder), arguments)


def judge(
    text: str, words: Sequence[str] | None = None, cleaned_words: Sequence[str] | None = None
) -> Verdict:
    """Everything that a document's measuring takes, and what follows from datatrove's thresholds.

    Given words stand in for our own, as do those of the text that C4's rules leave.
    """
    gopher = measure_gopher(text, split_words(text) if words is None else words)
    cleaned, c4 = clean_lines(text, FINEWEB_LINES)
    fineweb = measure_fineweb(cleaned, split_words(cleaned) if cleaned_words is None else cleaned_words)
    measured = gopher._asdict() | c4._asdict() | fineweb._asdict()
    for rule, measure, is_least, threshold in _TESTS:
        value = measured[measure]
        if value < threshold if is_least else value > threshold:
            return Verdict(rule, value, text)
    return Verdict(None, 0.0, cleaned)


def _side(documents: Path, decisions: Path) -> None:
    """Our side, in a process of its own."""
    texts = [json.loads(line)["text"] for line in documents.open(encoding="utf-8")]
    judge("What is loaded once is loaded by its first text. It is not counted.")
    started = time.perf_counter()
    verdicts = [judge(text) for text in texts]
    seconds = time.perf_counter() - started
    with decisions.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(verdict._asdict()) + "\n" for verdict in verdicts)
    print(json.dumps({"seconds": seconds}))


# --- comparing --------------------------------------------------------------------------------------------


def _compare(folder: Path, arguments: argparse.Namespace) -> None:
    groups = _read_real()
    if arguments.html:
        groups["documentation"] = _read_pages(arguments.html, arguments.pages)
    good = [text for texts in groups.values() for text in texts if judge(text).measure is None]
    groups["the good ones of these, spoilt"] = list(_spoil(good))
    rows: list[list[str]] = []
    differences: list[list[str]] = []
    fired: Counter[str] = Counter()
    for name, texts in groups.items():
        run = _run(folder, texts, arguments.peer_python)
        rows.append([name, *_figures(run, texts)])
        differences += [[name, *row] for row in _explain(folder, texts, run, arguments.peer_python)]
        fired.update(theirs["rule"] for _, theirs in run.pairs)
    del fired[None]
    by_rule = ", ".join(f"{rule} {num}" for rule, num in fired.most_common())
    columns = ["documents", "number", "kB each", "ours/s", "datatrove/s", "faster by"]
    columns += ["same decision", "same first rule", "same text where kept", "rejected by datatrove"]
    record(
        "filters: the rules of Gopher, C4 and FineWeb against datatrove's four filters",
        columns,
        rows,
        f"The best of {_NUM_RUNS} runs in turn, one process a side. datatrove stops at the first rule that a "
        f"document breaks; ours measures them all. Goals: 5 times as fast, the same decisions. {run.peer}. "
        f"Documents that datatrove rejected, by rule: {by_rule}.",
    )
    if differences:
        columns = ["documents", "begins", "our rule and value", "datatrove's rule", "ours with spaCy's words"]
        record("filters: every document on which the decisions differ", [*columns, "cause"], differences)


def _figures(run: Run, texts: Sequence[str]) -> list[str]:
    same = sum((ours["measure"] is None) == (theirs["rule"] is None) for ours, theirs in run.pairs)
    same_rule = sum(_named(ours["measure"]) == theirs["rule"] for ours, theirs in run.pairs)
    kept = [(ours, theirs) for ours, theirs in run.pairs if not ours["measure"] and not theirs["rule"]]
    return [
        f"{len(texts):,}",
        f"{sum(map(len, texts)) / len(texts) / 1e3:.1f}",
        f"{len(texts) / run.ours_s:,.0f}",
        f"{len(texts) / run.theirs_s:,.0f}",
        f"{run.theirs_s / run.ours_s:.1f}",
        f"{same / len(texts):.2%}",
        f"{same_rule / len(texts):.2%}",
        f"{sum(ours['text'] == theirs['text'] for ours, theirs in kept):,} of {len(kept):,}",
        f"{sum(theirs['rule'] is not None for _, theirs in run.pairs):,}",
    ]


def _named(measure: str | None) -> str | None:
    return RULES[measure][2] if measure else None


def _run(folder: Path, texts: Sequence[str], peer: Path) -> Run:
    """Both sides over the same documents, by turns."""
    documents = folder / "documents.jsonl"
    with documents.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    ours, theirs = (folder / f"{side}.jsonl" for side in ("ours", "theirs"))
    ours_s = theirs_s = math.inf
    for _ in range(_NUM_RUNS):
        got = _json(sys.executable, "-m", "benchmarks.filters", "--side", documents, ours)
        ours_s = min(ours_s, got["seconds"])
        got = _json(peer, _PEER, documents, theirs)
        theirs_s = min(theirs_s, got["seconds"])
    named = f"datatrove {got['version']}, spaCy {got['spacy']}"
    return Run(list(zip(_lines(ours), _lines(theirs), strict=True)), ours_s, theirs_s, named)


def _explain(folder: Path, texts: Sequence[str], run: Run, peer: Path) -> list[list[str]]:
    """A row for each document on which the sides differ: which rule and value, and why."""
    pairs = enumerate(run.pairs)
    numbers = [at for at, (ours, theirs) in pairs if (ours["measure"] is None) != (theirs["rule"] is None)]
    if not numbers:
        return []
    seen = folder / "seen.jsonl"
    _json(peer, _PEER, folder / "documents.jsonl", seen, "--words", *numbers)
    rows = []
    for number, got in zip(numbers, _lines(seen), strict=True):
        text, (ours, theirs) = texts[number], run.pairs[number]
        _, c4 = clean_lines(text, FINEWEB_LINES)
        with_theirs = judge(text, got["words"], got["cleaned_words"])
        if _named(with_theirs.measure) == theirs["rule"]:
            cause = f"words: {_first_difference(split_words(text), got['words'])}"
        elif c4.c4_sentences != got["sentences"]:
            cause = f"sentences: {c4.c4_sentences} and {got['sentences']}"
        else:
            cause = "unexplained"
        row = [
            repr(text[:40]),
            f"{ours['measure']} {ours['value']:.4g}",
            str(theirs["rule"]),
            f"{with_theirs.measure} {with_theirs.value:.4g}",
            cause,
        ]
        rows.append([cell.replace("|", "/") for cell in row])
    return rows


def _first_difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """Where two lists of words part."""
    at = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    if at is None:
        return f"{len(ours)} and {len(theirs)}"
    return f"{' '.join(ours[at : at + 3])!r:.50} and {' '.join(theirs[at : at + 3])!r:.50}"


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.open(encoding="utf-8")]


def _json(*command: object) -> dict[str, Any]:
    arguments = [str(part) for part in command]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True, cwd=_ROOT)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


# --- documents --------------------------------------------------------------------------------------------


def _read_real() -> dict[str, list[str]]:
    """The real texts: news pages and stories, Wikipedia's articles, WebText's beginnings."""
    gold = json.loads((_REAL / "realweb" / "gold.json").read_text("utf-8"))
    stories = sorted((_REAL / "eval" / "cnn_stories").glob("*.story"))
    articles = []
    for name in ("valid", "test"):
        text = (_REAL / "text" / f"wikitext2_{name}.txt").read_text("utf-8")
        whole = re.split(r"\n(?= = [^=\n]+ = \n)", text)
        articles += [
            "\n".join(map(str.strip, article.strip().splitlines())) for article in whole if article.strip()
        ]
    with gzip.open(_REAL / "text" / "webtext.valid.jsonl.gz", "rt", encoding="utf-8") as lines:
        snippets = [json.loads(line)["text"] for line in lines]
    return {
        "news": [*gold.values(), *(path.read_text("utf-8") for path in stories)],
        "Wikipedia": articles,
        "WebText, beginnings": snippets,
    }


def _read_pages(folder: Path, num_pages: int) -> list[str]:
    """The texts of HTML pages, each text once."""
    paths = sorted(folder.rglob("*.html"))
    random.Random(_SEED).shuffle(paths)
    with ProcessPoolExecutor() as workers:
        texts = workers.map(_extract, paths[:num_pages], chunksize=20)
        return [text for text in dict.fromkeys(texts) if text]


def _extract(path: Path) -> str:
    import trafilatura

    return trafilatura.extract(path.read_bytes()) or ""


def _spoil(texts: Sequence[str]) -> Iterator[str]:
    """Each text spoilt in several ways, to a degree that is seldom clear: near the rules' boundaries."""
    ways = list(_WAYS.values())
    for number in range(len(texts) * _NUM_WAYS):
        rng = random.Random(f"{_SEED} {number}")
        yield ways[number % len(ways)](texts[number % len(texts)][:_MOST_SPOILT], rng)


def _each_line(text: str, rng: random.Random, share: float, change: Callable[[str], str]) -> str:
    return "\n".join(change(line) if rng.random() < share else line for line in text.splitlines())


def _each_word(text: str, rng: random.Random, share: float, change: Callable[[str], str]) -> str:
    return re.sub(r"\S+", lambda word: change(word[0]) if rng.random() < share else word[0], text)


def _repeat_words(text: str, rng: random.Random) -> str:
    """A phrase of two to fifteen words, strewn into the text."""
    words = text.split()
    at, length = rng.randrange(len(words)), rng.randint(2, 15)
    phrase = " ".join(words[at : at + length])
    return _each_word(text, rng, rng.uniform(0, 0.4) / length, lambda word: f"{word} {phrase}")


def _in_short_lines(text: str, rng: random.Random) -> str:
    words, length = text.split(), rng.uniform(2.5, 6)
    return "".join(word + ("\n" if rng.random() < 1 / length else " ") for word in words)


_NOTE = "This site uses cookies, see our privacy policy."
_WAYS: Mapping[str, Callable[[str, random.Random], str]] = {
    "lines repeated": lambda text, rng: _each_line(
        text, rng, rng.uniform(0, 0.5), lambda line: f"{line}\n{line}"
    ),
    "one line repeated": lambda text, rng: _each_line(
        text, rng, rng.uniform(0, 0.6), lambda line: f"{line}\n{text.splitlines()[0][:200]}"
    ),
    "paragraphs repeated": lambda text, rng: _each_line(
        text.replace("\n", "\n\n"), rng, rng.uniform(0, 0.5), lambda line: f"{line}\n\n{line}"
    ),
    "phrase repeated": _repeat_words,
    "few words": lambda text, rng: " ".join(text.split()[: rng.randint(35, 60)]),
    "few sentences": lambda text, rng: " ".join(re.split(r"(?<=[.!?])\s", text)[: rng.randint(3, 6)]),
    "short words": lambda text, rng: _each_word(text, rng, rng.uniform(0.4, 1), lambda word: word[:2]),
    "long words": lambda text, rng: _each_word(text, rng, rng.uniform(0.3, 0.8), lambda word: word * 3),
    "hashes": lambda text, rng: _each_word(text, rng, rng.uniform(0, 0.3), lambda word: f"#{word}"),
    "ellipses": lambda text, rng: _each_word(text, rng, rng.uniform(0, 0.3), lambda word: f"{word}..."),
    "bullets": lambda text, rng: _each_line(text, rng, rng.uniform(0.8, 1), lambda line: f" • {line}"),
    "open ends": lambda text, rng: _each_line(text, rng, rng.uniform(0.1, 0.5), lambda line: f"{line} …"),
    "numbers": lambda text, rng: _each_word(text, rng, rng.uniform(0, 0.4), lambda word: f"{len(word)}"),
    "no stop words": lambda text, rng: re.sub(
        rf"\b(?:the|be|to|of{'|and|that' if rng.random() < 0.5 else ''}|have|with)\b", "_", text
    ),
    "braces": lambda text, rng: _each_line(text, rng, rng.uniform(0, 0.2), lambda line: f"{line} {{x}}"),
    "lorem ipsum": lambda text, rng: _each_line(
        text, rng, rng.uniform(0, 0.2), lambda line: f"Lorem Ipsum {line}"
    ),
    "scripts": lambda text, rng: _each_line(text, rng, rng.uniform(0, 1), lambda line: f"{line} JavaScript"),
    "notes": lambda text, rng: _each_line(text, rng, rng.uniform(0, 1), lambda line: f"{line} {_NOTE}"),
    "no punctuation": lambda text, rng: _each_line(
        text, rng, rng.uniform(0.7, 1), lambda line: line.rstrip(".!?\"'")
    ),
    "short lines": _in_short_lines,
    "citations": lambda text, rng: _each_word(text, rng, rng.uniform(0, 0.3), lambda word: f"{word}[12]"),
}


if __name__ == "__main__":
    main()
