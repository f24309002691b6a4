"""Engines: extract and dedupe on a local Flink of two task managers beside the local runner, and a start.

    python -m benchmarks.engines start
    python -m benchmarks.engines extract [--documents 200000] [--extractor resiliparse] [--folder DIR]
    python -m benchmarks.engines dedupe [--documents 200000] [--folder DIR]

Both sides have two workers and do the same parts, which is checked by their manifests. ``--folder`` names a
folder where what is made is kept for the next time. Java 17 and Maven must be installed (docs/engines.md).
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.dedupe_documents import ROWS_A_PART, WEB, write_documents
from benchmarks.extract_pages import Sample, make_job, undeclared_pages
from benchmarks.kept_folder import kept_folder
from benchmarks.results import record
from deploy.flink.local import Cluster, running
from pipeline.config import DedupeSettings, Extraction
from pipeline.runs import Folder
from pipeline.stages import BY_NAME, Job, execute

_WORKERS = 2
_PATIENT = "--experiments=first_work_within_s=600"
_PAGES_A_PART = 2_000


def main() -> None:
    """Measures what is asked for, and records it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figure", choices=["start", "extract", "dedupe"])
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--extractor", default=Extraction().extractor)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    num = arguments.documents
    with (
        kept_folder(arguments.folder, "engines") as folder,
        tempfile.TemporaryDirectory(prefix="webtext-flink-") as logs,
        running(Path(logs), _WORKERS) as cluster,
    ):
        if arguments.figure == "start":
            _start(folder, cluster)
        elif arguments.figure == "extract":
            settings = Extraction(reject_early=False, extractor=arguments.extractor)
            _warm(_extract_job(folder / "warm", num // 20, settings), cluster)
            job = _extract_job(folder / "extract", num, settings)
            _beside(job, cluster, num, f" by {settings.extractor}")
        else:
            _warm(_dedupe_job(folder / "warm", num // 20), cluster)
            _beside(_dedupe_job(folder / "dedupe", num), cluster, num)


def _options(cluster: Cluster) -> list[str]:
    return [*cluster.options(_WORKERS), _PATIENT]


def _warm(job: Job, cluster: Cluster) -> None:
    """A small job before: a cluster that stands has loaded and compiled its classes."""
    shutil.rmtree(job.folder.path(), ignore_errors=True)
    execute(job, beam_options=_options(cluster), watch=lambda *_: contextlib.nullcontext())


def _beside(job: Job, cluster: Cluster, num: int, how: str = "") -> None:
    """A stage by each side, and what each makes of the same documents."""
    sides = {
        "local runner": [],
        f"Flink, {_WORKERS} task managers": _options(cluster),
    }
    digests, rows, first = set(), [], 0.0
    for name, options in sides.items():
        shutil.rmtree(job.folder.path(), ignore_errors=True)
        started = time.time()
        manifest = execute(job, beam_options=options, watch=lambda *_: contextlib.nullcontext())
        ended = time.time()
        begun = _begun(Path(job.folder.path()))
        digests.add(manifest.digest())
        rate = num / (ended - begun)
        first = first or rate
        rows.append(
            [
                name,
                f"{ended - started:,.0f}",
                f"{begun - started:,.1f}",
                f"{rate:,.0f}",
                f"{rate / first:.2f}",
            ]
        )
        print(" | ".join(rows[-1]), file=sys.stderr)
    if len(digests) != 1:
        raise SystemExit(f"{job.stage.name}: the engines gave other bytes")
    record(
        f"{job.stage.name} of {num:,} documents{how} on Flink, {os.cpu_count()} cores",
        ["", "wall s", "of these before the first part", "documents/s, start aside", "of the local runner's"],
        rows,
        "The same manifest by both; a small job went before on the cluster. Goal: 0.8.",
    )


def _begun(folder: Path) -> float:
    """When the first part's work began, by the parts' sidecars."""
    begun: list[float] = []
    for path in folder.glob("*.json"):
        fields = json.loads(path.read_text("utf-8"))
        if isinstance(fields, dict) and "seconds" in fields:
            begun.append(path.stat().st_mtime - fields["seconds"])
    return min(begun)


def _dedupe_job(folder: Path, num: int) -> Job:
    filtered = write_documents(folder, WEB, num, min(ROWS_A_PART, -(-num // (4 * _WORKERS))))
    return Job(BY_NAME["dedupe"], Folder(str(folder)), DedupeSettings(), {"filter": filtered})


def _extract_job(folder: Path, num: int, settings: Extraction) -> Job:
    pages = undeclared_pages()
    samples = [
        pages[number % len(pages)]._replace(url=f"https://site{number}.example/") for number in range(num)
    ]
    size = min(_PAGES_A_PART, -(-num // (4 * _WORKERS)))
    parts: Sequence[Sequence[Sample]] = [samples[at : at + size] for at in range(0, num, size)]
    return make_job(folder, parts, settings)


def _start(folder: Path, cluster: Cluster) -> None:
    """From the command to the first part's work, of a stage with little to do."""
    from webtext.demo.dump import write_dump
    from webtext.demo.site import build_site

    write_dump(build_site(600), folder / "RS_2019-06.zst")
    (folder / "webtext.toml").write_text('[run]\ndir = "run"\n[collect]\ndumps = ["RS_2019-06.zst"]\n')
    command = [sys.executable, "-m", "webtext", "build", "webtext.toml", "--until", "collect"]
    rows = []
    for number in range(3):
        shutil.rmtree(folder / "run", ignore_errors=True)
        started = time.time()
        subprocess.run([*command, "--", *_options(cluster)], cwd=folder, check=True, stdout=subprocess.PIPE)
        ended = time.time()
        begun = _begun(folder / "run" / BY_NAME["collect"].folder)
        rows.append([str(number + 1), f"{begun - started:.1f}", f"{ended - started:.1f}"])
    record(
        f"A stage's start on Flink, {os.cpu_count()} cores",
        ["run", "s from the command to the first part's work", "s to the command's end"],
        rows,
        "collect, one small dump. Goal: 20 s.",
    )


if __name__ == "__main__":
    main()
