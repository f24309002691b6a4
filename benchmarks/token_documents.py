"""Made documents for benchmarks/tokens.py: sentences of real text, with new words among them.

The sentences are those of the real text beside the checkout (shared/realdata: Wikipedia, WebText, news,
Shakespeare), drawn at random; in many of them one word is a made one, drawn by Zipf's law from millions that
a chain of letters, learnt from the real words, spells. So, as in real text, words never seen keep coming, by
about Heaps' law, and a vocabulary of 50,257 is filled with what is frequent rather than with all there is. A
document is a function of its number.
"""

import gzip
import json
import os
import random
import re
import sys
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.records import CORPUS
from pipeline.runs import MANIFEST, Counts, Folder, Manifest, Part, PartWriter, read_manifest
from pipeline.stages import part_name

REAL = Path(__file__).resolve().parents[2] / "shared" / "realdata"
DOCUMENT_BYTES = 4_500  # about

_SEED = 11
_NUM_MADE = 3_000_000  # made words
_MADE_IN = 0.7  # of sentences: about three words in a hundred
_ROWS_AT_ONCE = 1_000


def real_texts() -> list[str]:
    """The real texts: a few megabytes."""
    if not REAL.is_dir():
        raise SystemExit(f"the real text that documents are made of is not there: {REAL}")
    text = REAL / "text"
    snippets = gzip.decompress((text / "webtext.valid.jsonl.gz").read_bytes()).decode().splitlines()
    gold = json.loads((REAL / "realweb" / "gold.json").read_text("utf-8"))
    return [
        *(json.loads(line)["text"] for line in snippets),
        *(_plain(text / name) for name in ("wikitext2_valid.txt", "wikitext2_test.txt")),
        gzip.decompress((text / "tinyshakespeare.txt.gz").read_bytes()).decode(),
        *gold.values(),
    ]


def _plain(wikitext: Path) -> str:
    """WikiText without its marks for what it has left out."""
    return wikitext.read_text("utf-8").replace("<unk> ", "").replace(" @-@ ", "-").replace(" @,@ ", ",")


def _as_extracted(text: str) -> str:
    """White space as extraction leaves it: single spaces, and a line end between paragraphs."""
    return re.sub(r"\s+", lambda run: "\n" if "\n" in run[0] else " ", text)


@cache
def _sentences() -> tuple[list[tuple[str, str, str]], list[str]]:
    """Each sentence as what stands before one of its words, the word, and what comes after; all words."""
    generator = random.Random(_SEED)
    cut: list[tuple[str, str, str]] = []
    words: list[str] = []
    for text in map(_as_extracted, real_texts()):
        for sentence in re.findall(r"[^.!?\n]+[.!?\n]+[\"')\]]*\s*", text):
            found = list(re.finditer(r"\b[^\W\d_]{4,}\b", sentence))
            words += [one[0] for one in found]
            place = generator.choice(found).span() if found else (len(sentence), len(sentence))
            cut.append((sentence[: place[0]], sentence[place[0] : place[1]], sentence[place[1] :]))
    return cut, words


@cache
def _made_words() -> list[str]:
    """Words by a chain of three letters, in no order."""
    _, words = _sentences()
    followers: dict[str, Counter[str]] = defaultdict(Counter)
    for word in set(words):
        spelled = f"^^{word}$"
        for i in range(2, len(spelled)):
            followers[spelled[i - 2 : i]][spelled[i]] += 1
    drawn = {pair: ("".join(counts), list(accumulate(counts.values()))) for pair, counts in followers.items()}
    generator = random.Random(_SEED)
    made: dict[str, None] = {}
    while len(made) < _NUM_MADE:
        word = "^^"
        while not word.endswith("$") and len(word) < 18:
            letters, sums = drawn[word[-2:]]
            word += letters[bisect(sums, generator.random() * sums[-1])]
        if len(word) > 5:
            made[word[2:].rstrip("$")] = None
    return list(made)


def text_of(number: int, num_bytes: int = DOCUMENT_BYTES) -> str:
    """The text of a document: paragraphs of five sentences or so."""
    sentences, _ = _sentences()
    made = _made_words()
    generator = np.random.default_rng([_SEED, number])
    target = num_bytes * float(generator.lognormal(-0.125, 0.5))
    pieces: list[str] = []
    length = 0
    while length < target:
        drawn = generator.integers(len(sentences), size=32).tolist()
        coins = generator.random(32).tolist()
        ranks = (generator.zipf(1.15, size=32) % len(made)).tolist()
        ends = (generator.random(32) < 0.2).tolist()
        for one, coin, rank, end in zip(drawn, coins, ranks, ends, strict=True):
            before, word, after = sentences[one]
            new = made[rank] if word and coin < _MADE_IN else word
            pieces.append(f"{before}{new}{after.rstrip()}\n" if end else f"{before}{new}{after}")
            length += len(pieces[-1])
            if length >= target:
                break
    return "".join(pieces)


def id_of(number: int) -> str:
    """A document's id: as good as a hash of its number."""
    return f"{random.Random(_SEED + number).getrandbits(128):032x}"


def texts(num_bytes: int) -> Iterator[str]:
    """Documents, from the first on, of about so many bytes together."""
    length = number = 0
    while length < num_bytes:
        text = text_of(number)
        number += 1
        length += len(text.encode())
        yield text


def write_corpus(run: Path, part_bytes: Sequence[int]) -> Manifest:
    """A finished corpus of parts of about so many bytes of text; one that is there already stays."""
    folder = Folder(str(run)) / "corpus"
    present = read_manifest(folder)
    if present is not None:
        return present
    _sentences(), _made_words()  # made once, and inherited
    sizes = [max(1, size // DOCUMENT_BYTES) for size in part_bytes]
    firsts = [sum(sizes[:index]) for index in range(len(sizes))]
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        parts = list(workers.map(_write_part, [run] * len(sizes), range(len(sizes)), firsts, sizes))
    print(f"{sum(sizes):,} documents made", file=sys.stderr)
    counts = Counts.total(part.counts for part in parts if part.counts is not None)
    facts = {name: sum(part.facts[name] for part in parts) for name in ("documents", "text_bytes")}
    manifest = Manifest("dedupe", "0", "made", {}, {}, counts, tuple(parts), facts)
    folder.write(MANIFEST, manifest.encode())
    return manifest


def _write_part(run: Path, index: int, first: int, num: int) -> Part:
    import pyarrow.parquet as pq

    writer = PartWriter(Folder(str(run)) / "corpus", part_name(index), "made")
    text_bytes = 0
    with writer.open("parquet") as sink, pq.ParquetWriter(sink, CORPUS, compression="zstd") as file:
        for start in range(first, first + num, _ROWS_AT_ONCE):
            numbers = range(start, min(first + num, start + _ROWS_AT_ONCE))
            made = [text_of(number) for number in numbers]
            text_bytes += sum(len(text.encode()) for text in made)
            file.write_table(_table([id_of(number) for number in numbers], made))
    writer.rows(num)
    return writer.commit(Counts(num, num), seconds=0, facts={"documents": num, "text_bytes": text_bytes})


def _table(ids: Sequence[str], made: Sequence[str]) -> pa.Table:
    """Documents as dedupe writes them; what is not given is nothing."""
    given: dict[str, Sequence[str]] = {
        **dict.fromkeys(("id", "cluster"), ids),
        **{name: [f"https://{one[:4]}.example.com/{one}" for one in ids] for name in ("url", "final_url")},
        "text": made,
        "language": ["en"] * len(ids),
        "cluster_domain": ["example.com"] * len(ids),
    }
    columns = [
        pa.array(given[field.name], field.type) if field.name in given else _nothing(field, len(ids))
        for field in CORPUS
    ]
    return pa.table(columns, schema=CORPUS)


def _nothing(field: pa.Field, num: int) -> pa.Array:
    if field.nullable:
        return pa.nulls(num, field.type)
    value: object = "" if pa.types.is_string(field.type) else [] if pa.types.is_list(field.type) else 0
    return pa.repeat(pa.scalar(value, field.type), num)
