"""A whole finished run of made documents, as the stages would write it: for the report and the inspector.

    python -m benchmarks.corpus_run /tmp/run --documents 1000000

Its tables, manifests, tokenizer and shards are such that ``webtext verify`` finds nothing wrong, but for
two things that save gigabytes: only the first parts have WARC files, and a document's whole text is only in
the last stage that has it, where the tables before have how it begins. A group of parts that is there
already is not made again. A million documents take seven gigabytes.
"""

import argparse
import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.corpus_rows import DOCUMENTS_A_PART, FILTER, LINKS_A_PART, Corpus, Fate, Part
from benchmarks.corpus_shards import write_shard
from benchmarks.corpus_tables import (
    documents,
    ledger,
    made_places,
    measured,
    no_text,
    warc_file,
)
from benchmarks.corpus_texts import Drawn, Integers, Lookup, Words, sample
from pipeline.config import ShardSettings
from pipeline.dedupe.figures import cluster_figures
from pipeline.filter.contamination import Overlap
from pipeline.filter.decide import decide
from pipeline.filter.plan import CONTAMINATION, MEASURED
from pipeline.records import CORPUS, DOCUMENTS, FILTERED, REJECTED
from pipeline.records import MEASURED as MEASURED_SCHEMA
from pipeline.runs import Counts, Folder, Manifest, PartWriter, finished
from pipeline.shard.split import SPLIT_COLUMNS
from pipeline.stages import BY_NAME, STAGES, Job, Plan, Planned, _commit, part_name
from tokenizer.config import TokenizerSettings
from tokenizer.encode import Tokenizer
from tokenizer.files import MERGES_TXT, TOKENIZER_JSON, VOCAB_JSON, file_contents
from tokenizer.train import train
from webtext.settings import Settings, render

PARTS_AT_ONCE = 20  # of them a process makes a dump and a shard

_BEGINNING = 200  # characters of a text that stands whole in a later table
_SAMPLED = 3_000  # texts that the vocabulary is learnt from
_POSTS_A_LINK = {"self_post": 4, "reddit_media": 3, "media_domain": 2, "over_18": 1, "removed": 1}  # rejected


def write_run(
    path: Path, num_documents: int, *, num_words: int = 100_000, vocab_size: int = 16_384, num_warcs: int = 10
) -> Folder:
    """Writes a run whose corpus has so many documents.

    Args:
        path: Where.
        num_documents: A multiple of a part's.
        num_words: English's vocabulary.
        vocab_size: The tokenizer's.
        num_warcs: How many parts, the first ones, have WARC files.
    """
    if num_documents % DOCUMENTS_A_PART or num_documents <= 0:
        raise SystemExit(f"parts have {DOCUMENTS_A_PART:,} documents: {num_documents:,} is no multiple of it")
    run = Folder(str(path))
    settings = Settings(
        filter=FILTER,
        tokenizer=TokenizerSettings(vocab_size=vocab_size),
        shard=ShardSettings(tokens_per_shard=25_000_000),
    )
    run.write("webtext.toml", render(settings).encode())
    _write_tokenizer(run, num_documents, num_words, vocab_size)
    asked = (run, num_documents, num_words, num_warcs)
    maker = _maker(*asked)
    maker.write_common()
    groups = range(-(-maker.corpus.num_parts // PARTS_AT_ONCE))
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        for done, _ in enumerate(workers.map(_make_group, repeat(asked), groups), 1):
            print(f"{done:,} of {len(groups):,} groups of parts made", file=sys.stderr)
    _write_manifests(run, maker.corpus, settings)
    return run


@cache
def _maker(run: Folder, num_documents: int, num_words: int, num_warcs: int) -> "_Maker":
    """Made once in a process, as it takes seconds."""
    words = Words(num_words)
    tokenizer = Tokenizer.load(Path(run.path("tokenizer")))
    return _Maker(run, Corpus(num_documents, words), Lookup(words, tokenizer), num_warcs)


def _make_group(asked: tuple[Folder, int, int, int], index: int) -> None:
    _maker(*asked).group(index)


class _Maker:
    """Writes the parts of every stage."""

    def __init__(self, run: Folder, corpus: Corpus, lookup: Lookup, num_warcs: int) -> None:
        self.corpus = corpus
        self._run = run
        self._lookup = lookup
        self._num_warcs = num_warcs
        self._fingerprint = _fingerprint(corpus.num_documents)

    def _writer(self, stage: str, name: str) -> PartWriter:
        return PartWriter(self._run / BY_NAME[stage].folder, name, self._fingerprint)

    def write_common(self) -> None:
        """Writes what is not of one part: the clusters, and what evaluation sets share with all."""
        writer = self._writer("dedupe", "clusters")
        writer.table("parquet", self.corpus.clusters)
        writer.commit(None, seconds=5.0, facts=cluster_figures(self.corpus.clusters).facts())
        overlaps = [
            Overlap("lambada", 13, 5_153, 0, 300_000, 1_200, 40, 60, 41),
            Overlap("squad", 13, 10_570, 12, 210_000, 5_700, 90, 800, 720),
        ]
        facts = {"evaluation_sets": [{**asdict(one), "share": one.share} for one in overlaps]}
        self._writer("filter", CONTAMINATION).commit(None, seconds=9.0, facts=facts)

    def group(self, index: int) -> None:
        """Writes a group of parts, unless it is there: what comes last of it is its shard."""
        name = part_name(index)
        if finished(self._run / "shards", {name: self._fingerprint}):
            return
        first = index * PARTS_AT_ONCE
        numbers = range(first, min(first + PARTS_AT_ONCE, self.corpus.num_parts))
        self._collect(name, self.corpus.numbers[numbers[0] * LINKS_A_PART : (numbers[-1] + 1) * LINKS_A_PART])
        tables, drawn = zip(*(self._part(number) for number in numbers), strict=True)
        whole = Drawn.together(drawn)
        write_shard(
            self._writer("shard", name),
            index,
            pa.concat_tables(tables),
            whole,
            self.corpus.words,
            self._lookup,
        )

    def _collect(self, name: str, numbers: Integers) -> None:
        posts = self.corpus.posts(numbers)
        writer = self._writer("collect", name)
        writer.table("parquet", posts)
        rejected = {reason: times * len(numbers) for reason, times in _POSTS_A_LINK.items()}
        facts = {"months": _months(posts, 4), "months_3": _months(posts.filter(pc.field("score") >= 3), 4)}
        counts = Counts(posts.num_rows + sum(rejected.values()), posts.num_rows, rejected)
        writer.commit(counts, seconds=len(numbers) / 2_000, facts=facts)

    def _part(self, index: int) -> tuple[pa.Table, Drawn]:
        """Writes a part of each stage that has as many parts as link; what shard needs of its documents."""
        corpus = self.corpus
        part = corpus.part(index)
        self._link(part)
        drawn = corpus.words.draw(corpus.asked(part.numbers[part.fates >= Fate.FILTERED]))
        texts = self._lookup.texts(drawn)
        entries = self._fetch(part, texts)
        has_text = part.fates[part.fates > Fate.FAILED] >= Fate.FILTERED
        table = documents(corpus, part, drawn, texts, entries.filter(pa.array(has_text)))
        fates = part.fates[part.fates >= Fate.FILTERED]
        self._extract(part, table, fates)
        self._filter(part, table, fates)
        self._dedupe(part, table, fates)
        is_kept = fates == Fate.KEPT
        return table.filter(pa.array(is_kept)).select(["id", *SPLIT_COLUMNS]), drawn.only(is_kept)

    def _link(self, part: Part) -> None:
        writer = self._writer("link", part_name(part.index))
        writer.table("parquet", part.links)
        own = len(pc.list_flatten(part.links["submissions"]))
        sizes, posts = self.corpus.submissions(part.low)
        scores = posts.field("score").to_numpy().astype(np.int64)
        low_sum = np.add.reduceat(scores, np.cumsum(sizes) - sizes)
        low_max = self.corpus.karma(part.low)
        facts = {
            name: {
                str(least): int((low >= least).sum() + (high.to_numpy() >= least).sum())
                for least in (1, 2, 3, 5, 10)
            }
            for name, low, high in (
                ("links_by_max", low_max, part.links["karma_max"]),
                ("links_by_sum", low_sum, part.links["karma_sum"]),
            )
        }
        rejected = {"low_karma": len(posts), "same_link": own - part.links.num_rows}
        counts = Counts(own + len(posts), part.links.num_rows, rejected)
        writer.commit(counts, seconds=0.3, facts=facts)

    def _fetch(self, part: Part, texts: pa.Array) -> pa.Table:
        """Writes the ledger, and of the first parts the pages; the entries of links with a page."""
        writer = self._writer("fetch", part_name(part.index))
        fates = part.fates[part.fates > Fate.FAILED]
        if part.index < self._num_warcs:
            data, places = warc_file(self.corpus, part, texts)
            with writer.open("warc.gz") as sink:
                sink.write(data)
            writer.rows(len(fates))
        else:
            sizes = np.full(len(fates), 3_000, dtype=np.int64)
            sizes[fates >= Fate.FILTERED] += pc.binary_length(texts).to_numpy() * 4
            places = made_places(sizes)
        table = ledger(self.corpus, part, places)
        writer.table("ledger.parquet", table)
        last = table.slice(0, len(part.numbers))
        rejected = Counter(last["outcome"].to_pylist())
        kept = rejected.pop("fetched")
        facts = {"pages": kept, "bytes": int(places.sizes.sum())}
        writer.commit(Counts(len(part.numbers), kept, rejected), seconds=600.0, facts=facts)
        return last.filter(pc.field("outcome") == "fetched")

    def _extract(self, part: Part, table: pa.Table, fates: Any) -> None:
        self._writer("extract", part_name(part.index, "extracted")).commit(None, seconds=len(fates) / 60)
        rejected = no_text(part)
        writer = self._writer("extract", part_name(part.index))
        writer.table("parquet", _shortened(table, fates > Fate.FILTERED).select(DOCUMENTS.names))
        writer.table("rejected.parquet", rejected)
        writer.commit(_counts(table, rejected), seconds=0.2, facts=_size(table))

    def _filter(self, part: Part, table: pa.Table, fates: Any) -> None:
        measures = measured(table).cast(MEASURED_SCHEMA)
        writer = self._writer("filter", part_name(part.index, MEASURED))
        writer.table("parquet", measures)
        writer.commit(None, seconds=len(fates) / 400)
        verdicts = decide(measures, FILTER)
        if [one is None for one in verdicts] != (fates > Fate.FILTERED).tolist():
            raise AssertionError("documents are not rejected by what is measured of them")
        rejected = table.filter(pa.array([one is not None for one in verdicts])).select(["id", "url"])
        for name, place in (("reason", 0), ("value", 1)):
            rejected = rejected.append_column(name, pa.array([str(one[place]) for one in verdicts if one]))
        kept = _shortened(table, fates == Fate.KEPT).filter(pa.array(fates > Fate.FILTERED))
        writer = self._writer("filter", part_name(part.index))
        writer.table("parquet", kept.select(FILTERED.names))
        writer.table("rejected.parquet", rejected.cast(REJECTED))
        sizes = table.filter(pa.array(fates > Fate.FILTERED))
        writer.commit(_counts(kept, rejected), seconds=0.2, facts=_size(sizes))

    def _dedupe(self, part: Part, table: pa.Table, fates: Any) -> None:
        kept = table.filter(pa.array(fates == Fate.KEPT))
        rejected = table.filter(pa.array(fates == Fate.DUPLICATE)).select(REJECTED.names)
        writer = self._writer("dedupe", part_name(part.index))
        writer.table("parquet", kept.select(CORPUS.names))
        writer.table("rejected.parquet", rejected)
        writer.commit(_counts(kept, rejected), seconds=0.5, facts={"documents": kept.num_rows, **_size(kept)})


def _fingerprint(num_documents: int) -> str:
    return hashlib.sha256(f"made {num_documents}".encode()).hexdigest()


def _months(posts: pa.Table, times: int) -> dict[str, int]:
    """How many posts each month has: so many times those that were kept."""
    counted = pc.value_counts(pc.strftime(posts["created"], "%Y-%m")).to_pylist()
    return {one["values"]: times * one["counts"] for one in sorted(counted, key=lambda one: one["values"])}


def _shortened(table: pa.Table, rows: Any) -> pa.Table:
    """Of the texts in these rows only how they begin."""
    texts = pc.if_else(pa.array(rows), pc.utf8_slice_codeunits(table["text"], 0, _BEGINNING), table["text"])
    return table.set_column(table.column_names.index("text"), CORPUS.field("text"), texts)


def _size(table: pa.Table) -> dict[str, int]:
    return {
        "words": pc.sum(table["num_words"]).as_py(),
        "text_bytes": pc.sum(pc.binary_length(table["text"])).as_py(),
    }


def _counts(kept: pa.Table, rejected: pa.Table) -> Counts:
    reasons = Counter(rejected["reason"].to_pylist())
    return Counts(kept.num_rows + rejected.num_rows, kept.num_rows, dict(reasons))


def _write_tokenizer(run: Folder, num_documents: int, num_words: int, vocab_size: int) -> None:
    """Learns a vocabulary from other texts of the same words."""
    fingerprint = _fingerprint(num_documents)
    if finished(run / "tokenizer", {"vocabulary": fingerprint}):
        return
    vocabulary = train(sample(Words(num_words), _SAMPLED), vocab_size)
    contents = file_contents(vocabulary)
    tokenizer = Tokenizer.from_bytes(contents[TOKENIZER_JSON], TOKENIZER_JSON)
    num_merges = len(vocabulary.merges)
    rows = {TOKENIZER_JSON: tokenizer.vocab_size, VOCAB_JSON: vocabulary.vocab_size, MERGES_TXT: num_merges}
    writer = PartWriter(run / "tokenizer", "vocabulary", fingerprint)
    for name, data in contents.items():
        with writer.open_named(name) as sink:
            sink.write(data)
        writer.rows(rows.get(name, 1))
    kept = min(_SAMPLED, num_documents)
    rejected = {"not_sampled": num_documents - kept} if num_documents > kept else {}
    facts = {"vocab_size": tokenizer.vocab_size, "tokenizer": tokenizer.digest, "merges": num_merges}
    writer.commit(Counts(num_documents, kept, rejected), seconds=3.0, facts=facts)


def _write_manifests(run: Folder, corpus: Corpus, settings: Settings) -> None:
    parts = [part_name(index) for index in range(corpus.num_parts)]
    groups = [part_name(index) for index in range(-(-corpus.num_parts // PARTS_AT_ONCE))]
    every = range(corpus.num_parts)
    names: Mapping[str, Sequence[str]] = {
        "collect": groups,
        "link": parts,
        "fetch": parts,
        "extract": [*(part_name(index, "extracted") for index in every), *parts],
        "filter": [*(part_name(index, MEASURED) for index in every), CONTAMINATION, *parts],
        "dedupe": ["clusters", *parts],
        "tokenizer": ["vocabulary"],
        "shard": groups,
    }
    made: dict[str, Manifest] = {}
    for stage in STAGES:
        job = Job(stage, run, settings.section(stage.name), {name: made[name] for name in stage.after})
        planned = tuple(Planned(name, _fingerprint(corpus.num_documents)) for name in names[stage.name])
        digests = {name: manifest.digest() for name, manifest in job.inputs.items()}
        facts = {}
        if stage.name == "shard":
            tokenizer = made["tokenizer"].facts
            facts = {
                "tokenizer": tokenizer["tokenizer"],
                "vocab_size": tokenizer["vocab_size"],
                "dtype": "uint16",
            }
        made[stage.name] = _commit(
            job, Plan(planned, facts=facts), digests, job.fingerprint(*digests.values())
        )


def main() -> None:
    """Writes a run, and says how long it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--documents", type=int, default=1_000_000)
    arguments = parser.parse_args()
    started = time.monotonic()
    write_run(arguments.run, arguments.documents)
    print(f"{arguments.documents:,} documents in {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
