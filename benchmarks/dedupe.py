"""dedupe: signatures, the whole stage beside datatrove and text-dedup, how it grows, and who it removes.

    python -m benchmarks.dedupe signatures
    python -m benchmarks.dedupe peers --datatrove-python PYTHON --text-dedup-python PYTHON
    python -m benchmarks.dedupe scale
    python -m benchmarks.dedupe boilerplate
    python -m benchmarks.dedupe quality

The documents are made (benchmarks/dedupe_documents.py). ``--folder`` names a folder where they are kept for
the next time; it takes 2.5 GB a million documents, and as much again while they are deduplicated.
``--documents`` is how many ``peers`` has, and the most that ``scale`` and ``boilerplate`` have. The others'
Pythons, in environments of their own:

    pip install datatrove[processing]==0.10.1 lxml_html_clean faust-cchardet pyarrow orjson spacy
    pip install --no-deps text-dedup==0.4.0
    pip install datasets scipy xxhash regex rich tqdm ftfy bitarray psutil click click-option-group

``--text-dedup-python`` may be given again, for another version of it. datatrove takes half an hour over
200,000 documents.
"""

import argparse
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.dedupe_documents import (
    NGRAM,
    PAGES,
    ROWS_A_PART,
    WEB,
    Corpus,
    Mix,
    filtered,
    read_truth,
    write_documents,
    write_first,
    write_slim,
)
from benchmarks.dedupe_quality import LEVELS, dedupe, judge, quality
from benchmarks.kept_folder import kept_folder
from benchmarks.process_tree import Measured, measure
from benchmarks.results import record
from pipeline.config import DedupeSettings

_NUM_RUNS = 3
_SIGNED = 4_000  # documents whose signatures are timed
_WEBTEXT = 8_000_000  # documents
_FORMAT = {"bands": 14, "rows": 8, "num_perm": 112}  # as datatrove has it
_UNGUARDED = {"max_removed": 1.0, "max_cluster": 1_000_000_000}
_HERE = Path(__file__).parent


def main() -> None:
    """Measures one thing and records it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figure", choices=sorted([*_FIGURES, "stage"]))
    parser.add_argument("--documents", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--datatrove-python", type=Path)
    parser.add_argument("--text-dedup-python", type=Path, action="append", default=[])
    parser.add_argument("--settings", default="{}", help=argparse.SUPPRESS)  # of the stage in a process
    arguments = parser.parse_args()
    if arguments.figure == "stage":
        settings = DedupeSettings.model_validate_json(arguments.settings)
        print(json.dumps(dedupe(arguments.folder, settings).counts.to_json()))
        return
    with kept_folder(arguments.folder, "dedupe") as folder:
        _FIGURES[arguments.figure](folder, arguments)


# --- signatures ---------------------------------------------------------------------------------------------


def _signatures(_: Path, arguments: argparse.Namespace) -> None:
    """Ours and datasketch's own, in this process, by turns."""
    corpus, num = Corpus(WEB), arguments.documents or _SIGNED
    texts = [corpus.text(number) for number in range(num)]
    documents = filtered([corpus.id(number) for number in range(num)], texts, 0)
    sides: dict[str, Callable[[], None]] = {
        "the stage's": lambda: _sign_ours(documents),
        "datasketch, update_batch over joined 5-grams": lambda: _sign_datasketch(texts),
    }
    best = dict.fromkeys(sides, math.inf)
    for name, sign in [*sides.items()] * _NUM_RUNS:
        started = time.process_time()
        sign()
        best[name] = min(best[name], time.process_time() - started)
    ours = best["the stage's"]
    kb = sum(map(len, texts)) / num / 1e3
    record(
        f"dedupe, signatures of {num:,} documents of {kb:.1f} kB, one core",
        ["", "documents/s", "ours is faster by"],
        [[name, f"{num / s:,.0f}", f"{s / ours:.1f}"] for name, s in best.items()],
        f"128 permutations, word 5-grams; the best of {_NUM_RUNS} runs in turn, CPU time. The stage's makes "
        "the whole table: the normalised text's hash and the domain are in it too. Goal: 3,000.",
    )


def _sign_ours(documents: pa.Table) -> None:
    from pipeline.dedupe.signatures import sign_table

    sign_table(documents, DedupeSettings())


def _sign_datasketch(texts: Sequence[str]) -> None:
    from datasketch import MinHash

    for text in texts:
        words = text.lower().split()
        grams = [" ".join(words[at : at + NGRAM]).encode() for at in range(len(words) - NGRAM + 1)]
        MinHash(num_perm=128).update_batch(grams)


# --- beside others ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Side:
    """A way to deduplicate: its command, and how to read which ids stay."""

    command: Sequence[str]
    output: Path
    kept: Callable[[Path], set[str]]


def _peers(folder: Path, arguments: argparse.Namespace) -> None:
    """The same documents by each side, a process tree of its own."""
    num = arguments.documents or 200_000
    run = folder / f"web-{num}"
    write_documents(run, WEB, num, min(ROWS_A_PART, -(-num // 2)))  # so that each task of a peer has some
    write_slim(run)
    truth, corpus = read_truth(run), Corpus(WEB)
    sides = _sides(run, arguments)
    ours, rows = math.nan, []
    try:
        for name, side in sides.items():
            measured = _measure(name, side)
            judged = judge(corpus, truth, side.kept(side.output))
            ours = measured.wall_s if math.isnan(ours) else ours
            rows.append(
                [
                    name,
                    f"{measured.wall_s:,.1f}",
                    f"{measured.cpu_s:,.1f}",
                    f"{measured.at_once_bytes / 1e6:,.0f}",
                    f"{measured.wall_s / ours:.1f}",
                    f"{judged.removed:,}",
                    f"{judged.precision:.2%}",
                    *(f"{judged.recall[level]:.2%}" for level in LEVELS),
                    f"{judged.copies:.2%}",
                ]
            )
            print(" | ".join(rows[-1]), file=sys.stderr)
    finally:  # an hour's figures outlive a peer that fails
        columns = ["", "wall s", "CPU s", "MB at once", "of the first's time", "removed", "precision"]
        recalls = [f"recall ≥ {level}" for level in LEVELS]
        record(
            f"dedupe beside others, {num:,} made documents, {os.cpu_count()} cores",
            [*columns, *recalls, "copies found"],
            rows,
            "From tables of documents to tables of what is left, start included; the others' tables have "
            "ids and texts alone. Precision: of the removed, those to which one that stays is 0.7 similar by "
            "word 5-grams. Recall: of the planted edited copies as similar to their original as that or "
            "more, those of which one of the two was removed. Goals: 20 times datatrove's, 3 times "
            "text-dedup's speed, precision and recall no worse.",
        )


def _sides(run: Path, arguments: argparse.Namespace) -> dict[str, _Side]:
    sides = {
        "14 × 8": _stage(run, _FORMAT),
        "14 × 8, exact": _stage(run, {**_FORMAT, "verify": "exact"}),
        "defaults": _stage(run, {}),
        "defaults, exact": _stage(run, {"verify": "exact"}),
    }
    for number, python in enumerate(arguments.text_dedup_python):
        name = f"text-dedup {_version(python, 'text-dedup')}"
        sides[name] = _peer(python, "dedupe_text_dedup.py", run, f"text-dedup-{number}", _kept_arrow)
    if python := arguments.datatrove_python:
        name = f"datatrove {_version(python, 'datatrove')}"
        sides[name] = _peer(python, "dedupe_datatrove.py", run, "datatrove", _kept_lines)
    return sides


def _stage(run: Path, settings: dict[str, Any]) -> _Side:
    command = [sys.executable, "-m", "benchmarks.dedupe", "stage", "--folder", str(run)]
    return _Side([*command, "--settings", json.dumps(settings)], run / "corpus", _kept_parts)


def _peer(python: Path, script: str, run: Path, name: str, kept: Callable[[Path], set[str]]) -> _Side:
    return _Side([str(python), str(_HERE / script), str(run / "slim"), str(run / name)], run / name, kept)


def _version(python: Path, package: str) -> str:
    program = f"import importlib.metadata as m; print(m.version({package!r}))"
    return measure([str(python), "-c", program]).output.strip()


def _measure(name: str, side: _Side) -> Measured:
    print(f"{name} …", file=sys.stderr)
    shutil.rmtree(side.output, ignore_errors=True)
    side.output.mkdir(parents=True)
    os.sync()  # what was written before is not this side's to wait for
    measured = measure(side.command)
    print(f"{name}: {measured.wall_s:,.1f} s, {measured.at_once_bytes / 1e6:,.0f} MB", file=sys.stderr)
    return measured


def _kept_parts(output: Path) -> set[str]:
    files = [file for file in output.glob("part-*.parquet") if "rejected" not in file.name]
    return {id_ for file in files for id_ in pq.read_table(file, columns=["id"])["id"].to_pylist()}


def _kept_lines(output: Path) -> set[str]:
    files = (output / "kept").glob("*.jsonl")
    return {json.loads(line)["id"] for file in files for line in file.open(encoding="utf-8")}


def _kept_arrow(output: Path) -> set[str]:
    kept: set[str] = set()
    for file in (output / "kept").glob("*.arrow"):
        with pa.memory_map(str(file)) as stream, pa.ipc.open_stream(stream) as reader:
            for batch in reader:
                kept.update(batch["id"].to_pylist())
    return kept


# --- growth -------------------------------------------------------------------------------------------------


def _scale(folder: Path, arguments: argparse.Namespace) -> None:
    """The stage by its defaults at a twentieth, a fifth and the whole."""
    most = arguments.documents or 1_000_000
    sizes = [most // 20, most // 5, most]
    measured = _grow(folder, "web", WEB, sizes, {})
    seconds = np.array([one.wall_s for one in measured])
    peaks = np.array([[one.at_once_bytes, one.peak_bytes] for one in measured])
    (slope, bound), (floor, _) = np.polyfit(sizes, peaks, 1)
    exponent, _ = np.polyfit(np.log(sizes[1:]), np.log(seconds[1:]), 1)
    record(
        f"dedupe, how it grows to {most:,} made documents, {os.cpu_count()} cores",
        [*_TOOK, "the line's MB"],
        [
            [*_took(size, one), f"{(floor + slope * size) / 1e6:,.0f}"]
            for size, one in zip(sizes, measured, strict=True)
        ],
        f"Defaults; the whole process tree, shared pages counted once. From {sizes[1]:,} documents on time "
        f"grows by the power {exponent:.2f}. Memory by the line of least squares: a floor of "
        f"{floor / 1e6:,.0f} MB and {slope:.0f} bytes a document (goal: under 400); so at {_WEBTEXT:,} "
        f"documents {(floor + slope * _WEBTEXT) / 1e9:.1f} GB (goal: under 5). By the sum of each process's "
        f"own peak, whenever it was: {bound:.0f} bytes a document.",
    )


def _boilerplate(folder: Path, arguments: argparse.Namespace) -> None:
    """One giant bucket, and a tenth of it."""
    most = arguments.documents or 100_000
    sizes = [most // 10, most]
    measured = _grow(folder, "pages", PAGES, sizes, _UNGUARDED)
    few, many = measured
    record(
        f"dedupe, {most:,} nearly equal boiler-plate pages, {os.cpu_count()} cores",
        [*_TOOK, "kept"],
        [
            [*_took(size, one), f"{json.loads(one.output)['kept']:,}"]
            for size, one in zip(sizes, measured, strict=True)
        ],
        f"Pages of one template of {PAGES.template_words} words, one to three of them changed in each; the "
        f"guard's limits raised. Ten times the pages take {many.wall_s / few.wall_s:.1f} times as long and "
        f"{(many.at_once_bytes - few.at_once_bytes) / (sizes[1] - sizes[0]):.0f} bytes more a page.",
    )


def _grow(
    folder: Path, name: str, mix: Mix, sizes: Sequence[int], settings: dict[str, Any]
) -> list[Measured]:
    whole = folder / f"{name}-{sizes[-1]}"
    write_documents(whole, mix, sizes[-1], min(ROWS_A_PART, sizes[0]))
    measured = []
    for size in sizes:
        run = folder / f"{name}-first-{size}"
        write_first(run, whole, size)
        side = _stage(run, settings)
        measured.append(_measure(f"{size:,} documents", side))
        shutil.rmtree(side.output)
    return measured


_TOOK = ["documents", "wall s", "CPU s", "ms a document", "MB at once", "sum of peaks MB"]


def _took(num: int, measured: Measured) -> list[str]:
    return [
        f"{num:,}",
        f"{measured.wall_s:,.1f}",
        f"{measured.cpu_s:,.1f}",
        f"{1e3 * measured.wall_s / num:.2f}",
        f"{measured.at_once_bytes / 1e6:,.0f}",
        f"{measured.peak_bytes / 1e6:,.0f}",
    ]


_FIGURES: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "signatures": _signatures,
    "peers": _peers,
    "scale": _scale,
    "boilerplate": _boilerplate,
    "quality": lambda folder, _: quality(folder),
}


if __name__ == "__main__":
    main()
