"""Tokens: the shard stage beside datatrove's, encoding and training beside `tokenizers`, memory by part.

    python -m benchmarks.tokens shard --datatrove-python PYTHON
    python -m benchmarks.tokens encode
    python -m benchmarks.tokens train
    python -m benchmarks.tokens memory

The documents are made of real text (benchmarks/token_documents.py, which needs shared/realdata beside the
checkout). ``--folder`` names a folder where they are kept for the next time. ``--megabytes`` is how much text
there is: 1,000 for ``train``, 400 for the others. The vocabulary is GPT-2's own, imported; ``train`` makes
one. datatrove's Python, in an environment of its own:

    pip install datatrove[processing]==0.10.1 lxml_html_clean faust-cchardet pyarrow orjson spacy
"""

import argparse
import contextlib
import hashlib
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.kept_folder import kept_folder
from benchmarks.process_tree import Measured, measure
from benchmarks.results import record
from benchmarks.token_documents import REAL, texts, write_corpus
from pipeline.config import ShardSettings
from pipeline.runs import Folder, Manifest, read_manifest
from pipeline.stages import BY_NAME, Job, execute, plan_of
from tokenizer.encode import Tokenizer
from tokenizer.files import TOKENIZER_JSON, import_gpt2

_PART_BYTES = 50_000_000
_TOKENS_PER_SHARD = 25_000_000  # so that two workers have as much to do
_ENCODED_BYTES = 40_000_000
_NUM_RUNS = 3
_VOCAB_SIZE = 50_257
_HERE = Path(__file__).parent


def main() -> None:
    """Measures one thing and records it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figure", choices=sorted([*_FIGURES, *_SIDES]))
    parser.add_argument("--megabytes", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--datatrove-python", type=Path)
    arguments = parser.parse_args()
    if arguments.figure in _SIDES:
        print(json.dumps(_SIDES[arguments.figure](arguments.folder)))
        return
    with kept_folder(arguments.folder, "tokens") as folder:
        _FIGURES[arguments.figure](folder, arguments)


def _run(side: str, folder: Path) -> Measured:
    """A side of a comparison in a process of its own."""
    os.sync()  # what was written before is not this side's to wait for
    measured = measure([sys.executable, "-m", "benchmarks.tokens", side, "--folder", str(folder)])
    print(f"{side}: {measured.wall_s:,.1f} s, {measured.output.strip()}", file=sys.stderr)
    return measured


# --- the whole stage ----------------------------------------------------------------------------------------


def _shard(folder: Path, arguments: argparse.Namespace) -> None:
    """The stage as `webtext build` runs it, and datatrove's DocumentTokenizer, on the same documents."""
    megabytes = arguments.megabytes or 400
    run = folder / f"corpus-{megabytes}"
    corpus = write_corpus(run, [_PART_BYTES] * (megabytes * 1_000_000 // _PART_BYTES))
    _import_tokenizer(run)
    shutil.rmtree(run / "shards", ignore_errors=True)
    ours = _run("stage", run)
    measured = {"webtext, with sentences and lineage": (ours, json.loads(ours.output)["tokens"])}
    bare = json.loads(_run("part", run).output)
    if python := arguments.datatrove_python:
        theirs = _datatrove(python, run, corpus)
        found = json.loads(theirs.output.splitlines()[-1])
        measured[f"datatrove {found['version']}, DocumentTokenizer"] = (theirs, found["tokens"])
    mb = corpus.facts["text_bytes"] / 1e6
    rows = [
        [
            name,
            f"{num_tokens:,}",
            f"{side.wall_s:,.1f}",
            f"{side.cpu_s:,.1f}",
            f"{mb / side.cpu_s:.1f}",
            f"{side.cpu_s / ours.cpu_s:.1f}",
            f"{side.wall_s / ours.wall_s:.1f}",
            f"{side.at_once_bytes / 1e6:,.0f}",
        ]
        for name, (side, num_tokens) in measured.items()
    ]
    record(
        f"shard: {mb:,.0f} MB of text in {corpus.counts.kept:,} documents to tokens, {os.cpu_count()} cores",
        ["", "tokens", "wall s", "CPU s", "MB/s a core", "of ours, CPU", "of ours, wall", "MB at once"],
        rows,
        "From tables of documents to token files, start included; GPT-2's vocabulary. MB/s a core: text by "
        "the CPU seconds of all processes. The same shards by one process, start aside: "
        f"{mb / bare['cpu_s']:.1f} MB/s. Goals: 10 MB/s a core, a quarter of datatrove's time.",
    )


def _datatrove(python: Path, run: Path, corpus: Manifest) -> Measured:
    slim, out = run / "slim", run / "datatrove"
    slim.mkdir(exist_ok=True)
    for part in corpus.counted():
        name = part.file(".parquet").name
        pq.write_table(pq.read_table(run / "corpus" / name, columns=["id", "text"]), slim / name)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    os.sync()
    tokenizer = str(run / "tokenizer" / TOKENIZER_JSON)
    return measure([str(python), str(_HERE / "tokens_datatrove.py"), str(slim), tokenizer, str(out)])


def _stage(run: Path) -> dict[str, Any]:
    """Brings the shard stage to its manifest."""
    manifest = execute(_job(run), beam_options=(), watch=lambda *_: contextlib.nullcontext())
    return {"tokens": sum(manifest.facts["tokens"].values())}


def _job(run: Path) -> Job:
    corpus = read_manifest(Folder(str(run)) / "corpus")
    assert corpus is not None
    loaded = Tokenizer.load(run / "tokenizer")
    facts = {"vocab_size": loaded.vocab_size, "tokenizer": loaded.digest}
    tokenizer = Manifest("tokenizer", "0", "imported", {}, {}, corpus.counts, (), facts)
    inputs = {"dedupe": corpus, "tokenizer": tokenizer}
    settings = ShardSettings(tokens_per_shard=_TOKENS_PER_SHARD)
    return Job(BY_NAME["shard"], Folder(str(run)), settings, inputs)


def _import_tokenizer(run: Path) -> None:
    import_gpt2(REAL / "text" / "encoder.json", REAL / "text" / "vocab.bpe", run / "tokenizer")


# --- memory -------------------------------------------------------------------------------------------------


def _memory(folder: Path, arguments: argparse.Namespace) -> None:
    """One process does a corpus of one part, which is larger each time."""
    most = arguments.megabytes or 1_600
    rows = []
    for megabytes in (most // 16, most // 4, most):
        run = folder / f"part-{megabytes}"
        corpus = write_corpus(run, [megabytes * 1_000_000])
        _import_tokenizer(run)
        shutil.rmtree(run / "shards", ignore_errors=True)
        found = json.loads(_run("part", run).output)
        size = corpus.facts["text_bytes"] / 1e6
        rows.append(
            [f"{size:,.0f}", f"{found['shards']}", f"{found['tokens']:,}", f"{found['peak'] / 1e6:,.0f}"]
        )
    record(
        "shard: memory by the size of a part, one process",
        ["MB of text in the part", "shards", "tokens", "peak MB"],
        rows,
        "All shards of the part one after the other, at 25 M tokens each.",
    )


def _part(run: Path) -> dict[str, Any]:
    """Does all parts of the stage in this process."""
    from pipeline.shard.write import write_shard

    job = _job(run)
    parts = plan_of(job).parts
    started = time.process_time()
    for part in parts:
        write_shard(job, part)
    cpu_s = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sidecars = [json.loads((run / "shards" / f"{part.name}.json").read_bytes()) for part in parts]
    num_tokens = sum(sum(one["facts"]["tokens"].values()) for one in sidecars)
    return {"peak": peak, "shards": len(parts), "tokens": num_tokens, "cpu_s": cpu_s}


# --- encoding -----------------------------------------------------------------------------------------------


def _encode(folder: Path, _: argparse.Namespace) -> None:
    """Ours and `tokenizers`, in this process, by turns, on one core."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer as Theirs

    _import_tokenizer(folder)
    ours = Tokenizer.load(folder / "tokenizer")
    theirs = Theirs.from_file(str(folder / "tokenizer" / TOKENIZER_JSON))
    theirs.encode_special_tokens = True
    documents = list(texts(_ENCODED_BYTES))
    num_bytes = sum(len(text.encode()) for text in documents)
    sides: dict[str, Callable[[], object]] = {
        "webtext": lambda: [ours.encode_array(text) for text in documents],
        "tokenizers, encode": lambda: [theirs.encode(text).ids for text in documents],
        "tokenizers, encode_batch_fast": lambda: [one.ids for one in theirs.encode_batch_fast(documents)],
    }
    assert all(theirs.encode(text).ids == ours.encode(text) for text in documents[:200])
    best = dict.fromkeys(sides, float("inf"))
    for name, encode in [*sides.items()] * _NUM_RUNS:
        started = time.process_time()
        encode()
        best[name] = min(best[name], time.process_time() - started)
    record(
        f"encoding {num_bytes / 1e6:,.0f} MB in {len(documents):,} documents, one core",
        ["", "MB/s", "ours is faster by"],
        [[name, f"{num_bytes / s / 1e6:.1f}", f"{s / best['webtext']:.1f}"] for name, s in best.items()],
        f"GPT-2's vocabulary; the best of {_NUM_RUNS} runs in turn, CPU time. Goal: 4 times `tokenizers`.",
    )


# --- training -----------------------------------------------------------------------------------------------


def _train(folder: Path, arguments: argparse.Namespace) -> None:
    """The same text by ours and by the trainer called bare, a process each."""
    megabytes = arguments.megabytes or 1_000
    run = folder / f"text-{megabytes}"
    write_corpus(run, [_PART_BYTES] * (megabytes * 1_000_000 // _PART_BYTES))
    sides = {"webtext": _run("train-ours", run), "tokenizers, called bare": _run("train-bare", run)}
    found = {name: json.loads(side.output) for name, side in sides.items()}
    ours = sides["webtext"]
    record(
        f"training {_VOCAB_SIZE:,} ids on {megabytes:,} MB of text, {os.cpu_count()} cores",
        ["", "wall s", "CPU s", "of ours, wall", "peak MB", "reading the text alone, s", "merges"],
        [
            [
                name,
                f"{side.wall_s:,.1f}",
                f"{side.cpu_s:,.1f}",
                f"{side.wall_s / ours.wall_s:.2f}",
                f"{side.peak_bytes / 1e6:,.0f}",
                f"{found[name]['reading_s']:.1f}",
                f"{found[name]['merges']:,} ({found[name]['digest']})",
            ]
            for name, side in sides.items()
        ],
        "Both read the same Parquet files, a text at a time. Goal: no slower than bare.",
    )


def _documents(run: Path) -> Iterator[str]:
    for file in sorted((run / "corpus").glob("part-*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(256, columns=["text"]):
            yield from batch["text"].to_pylist()


def _reading_s(run: Path) -> float:
    started = time.monotonic()
    for _ in _documents(run):
        pass
    return time.monotonic() - started


def _told(run: Path, merges: list[list[str]]) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(merges).encode()).hexdigest()[:8]
    return {"merges": len(merges), "digest": digest, "reading_s": _reading_s(run)}


def _train_ours(run: Path) -> dict[str, Any]:
    from tokenizer.alphabet import spell
    from tokenizer.train import train

    vocabulary = train(_documents(run), _VOCAB_SIZE)
    return _told(run, [[spell(left), spell(right)] for left, right in vocabulary.merges])


def _train_bare(run: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCAB_SIZE - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(_documents(run), trainer)
    return _told(run, json.loads(learner.to_str())["model"]["merges"])


_FIGURES: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "shard": _shard,
    "memory": _memory,
    "encode": _encode,
    "train": _train,
}
_SIDES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "stage": _stage,
    "part": _part,
    "train-ours": _train_ours,
    "train-bare": _train_bare,
}

if __name__ == "__main__":
    main()
