"""What grows with the number of parts and not with what is in them: WebText's 225 M submissions are 22,500.

    python -m benchmarks.scale_parts looking --parts 2500 25000    # manifests, resume, status, Beam's graph
    python -m benchmarks.scale_parts groups                        # where parts meet batches or groups
    python -m benchmarks.scale_parts members                       # what extract holds of pages that are one

``looking`` makes a run of whose parts only names, counts and a few rows are there; the files of a kind are
one file by many names.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.fetch_aiohttp import peak_bytes
from benchmarks.kept_folder import kept_folder
from benchmarks.link import make_submissions
from benchmarks.process_tree import measure
from benchmarks.results import record
from benchmarks.scale_stages import LINKS_A_PART
from pipeline.config import DedupeSettings
from pipeline.dedupe.evidence import evidence_schema
from pipeline.dedupe.groups import read_group, write_groups
from pipeline.extract.same_page import MEMBERS, find_same_pages
from pipeline.extract.sketch import sketch
from pipeline.link.deal import deal
from pipeline.records import LEDGER, LINKS
from pipeline.runs import MANIFEST, Counts, File, Folder, Manifest, Part, PartWriter, finished, read_manifest
from pipeline.stages import BY_NAME, Job, Planned, part_name, plan_of
from webtext.settings import Settings, render

_DOCUMENTS_A_PART = 490  # that come to dedupe: 11 M in 22,500 parts
_OPENED = 500  # tables of evidence whose reading is timed
_NUM_RUNS = 3


def main() -> None:
    """Measures one thing and records it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figure", choices=[*_FIGURES, *_SIDES])
    parser.add_argument("--parts", type=int, nargs="+", default=[2_500, 25_000])
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.figure in _SIDES:
        print(json.dumps(_SIDES[arguments.figure](arguments.folder, arguments.parts[0])))
        return
    with kept_folder(arguments.folder, "scale-parts") as folder:
        _FIGURES[arguments.figure](folder, arguments.parts)


def _side(side: str, folder: Path, num: int) -> dict[str, float]:
    """A measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale_parts", side]
    measured = measure([*command, "--folder", str(folder), "--parts", str(num)])
    print(f"{side} {num:,}: {measured.output.strip()}", file=sys.stderr)
    found: dict[str, float] = json.loads(measured.output)
    return found


def _best(work: Callable[[], object]) -> float:
    """CPU seconds, the best of a few."""
    best = float("inf")
    for _ in range(_NUM_RUNS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


# --- looking at many parts ----------------------------------------------------------------------------------


def _looking(folder: Path, numbers: Sequence[int]) -> None:
    rows = []
    for num in numbers:
        run = folder / f"parts-{num}"
        if not (run / "webtext.toml").exists():
            _make_run(run, num)
        found = {**_side("files", run, num), **_side("graphs", run, num)}
        status = measure([sys.executable, "-m", "webtext", "status", str(run), "--json"])
        found |= {"status s": status.cpu_s, "status MB": status.peak_bytes / 1e6}
        rows.append({"parts": f"{num:,}", **{name: f"{value:,.2f}" for name, value in found.items()}})
    record(
        "a run of many parts, looked at and put into Beam's graph",
        list(rows[0]),
        [list(row.values()) for row in rows],
        "CPU seconds, the best of three runs. Links and pages have as many parts each. The manifest is that "
        "of pages. Done: which parts are, asked twice a stage, before its work and at its commit. "
        "Times: of all files, asked twice a second while a stage is at work. graph: the pipeline as it goes "
        f"to a runner; dedupe has {_DOCUMENTS_A_PART} documents a part.",
    )


def _make_run(run: Path, num: int) -> None:
    """The links and pages of so many parts, and a settings file."""
    folder = Folder(str(run))
    tables = {"link": {"parquet": LINKS.empty_table()}, "fetch": {"ledger.parquet": _ledger()}}
    for stage, files in tables.items():
        target = folder / BY_NAME[stage].folder
        writer = PartWriter(target, "template", "made")
        for suffix, table in files.items():
            writer.table(suffix, table)
        for suffix in ("warc.gz", "cdxj") if stage == "fetch" else ():
            with writer.open(suffix) as sink:
                sink.write(b"made")
        template = writer.commit(Counts(LINKS_A_PART, LINKS_A_PART), seconds=1.0)
        parts = [_copy(Path(target.path()), template, part_name(index)) for index in range(num)]
        counts = Counts(num * LINKS_A_PART, num * LINKS_A_PART)
        manifest = Manifest(stage, "0", "made", {}, {}, counts, tuple(parts), {})
        target.write(MANIFEST, manifest.encode())
    folder.write("webtext.toml", render(Settings()).encode())


def _copy(folder: Path, template: Part, name: str) -> Part:
    """The template's part under another name; nothing is synced, as nothing would be lost."""
    files = []
    for file in template.files:
        own = file.name.replace("template", name)
        os.link(folder / file.name, folder / own)
        # Checksums as different as they are in a real run, where they do not pack.
        files.append(File(own, file.bytes, LINKS_A_PART, os.urandom(32).hex()))
    part = Part(name, os.urandom(32).hex(), template.counts, tuple(files), {"pages": 1_400}, 1.0)
    data = json.dumps(part.to_json(), indent=1, sort_keys=True) + "\n"
    (folder / f"{name}.json").write_text(data)
    return part


def _ledger() -> pa.Table:
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    row = {
        "id": "0" * 32,
        "url": "https://example.com/",
        "attempt": 1,
        "outcome": "fetched",
        "detail": "",
        "source": "web",
        "final_url": "https://example.com/",
        "redirects": 0,
        "fetched": noon,
        "bytes": 30_000,
        "truncated": False,
        "revisit": False,
        "seconds": 0.3,
    }
    return pa.Table.from_pylist([row], LEDGER)


def _files(run: Path, _: int) -> dict[str, float]:
    """What a build and those who look on do with the files of one stage."""
    folder = Folder(str(run)) / "pages"
    manifest = read_manifest(folder)
    assert manifest is not None
    fingerprints = {part.name: part.fingerprint for part in manifest.parts}
    assert len(finished(folder, fingerprints)) == len(manifest.parts)
    return {
        "manifest MB": len(folder.read(MANIFEST)) / 1e6,
        "read s": _best(lambda: read_manifest(folder)),
        "digest s": _best(manifest.digest),
        "done s": _best(lambda: finished(folder, fingerprints)),
        "times s": _best(folder.times),
    }


def _graphs(run: Path, num: int) -> dict[str, float]:
    """The pipelines of extract and dedupe as they go to a runner."""
    found: dict[str, float] = {}
    folder = Folder(str(run))
    inputs = {name: read_manifest(folder / BY_NAME[name].folder) for name in ("fetch", "link")}
    filtered = _filtered(num)
    for stage, given in (("extract", inputs), ("dedupe", {"filter": filtered})):
        job = Job(BY_NAME[stage], folder, Settings().section(stage), given)  # type: ignore[arg-type]
        started = time.process_time()
        found[f"{stage}'s graph MB"] = _graph_bytes(job) / 1e6
        found["made s, " + stage] = time.process_time() - started
    found["graphs' peak MB"] = peak_bytes() / 1e6
    return found


def _filtered(num: int) -> Manifest:
    counts = Counts(_DOCUMENTS_A_PART, _DOCUMENTS_A_PART)
    parts = []
    for name in map(part_name, range(num)):
        names = (f"{name}.parquet", f"{name}.rejected.parquet")
        files = tuple(File(one, 1_000_000, _DOCUMENTS_A_PART, os.urandom(32).hex()) for one in names)
        parts.append(Part(name, os.urandom(32).hex(), counts, files, {"words": 400_000}, 0.0))
    total = Counts(num * _DOCUMENTS_A_PART, num * _DOCUMENTS_A_PART)
    return Manifest("filter", "0", "made", {}, {}, total, tuple(parts), {})


def _graph_bytes(job: Job) -> int:
    import importlib

    import apache_beam as beam

    from pipeline.beam import pipeline_options

    plan = plan_of(job)
    transform = importlib.import_module(f"pipeline.{job.stage.name}.beam").transform(job, plan.parts)
    pipeline = beam.Pipeline(options=pipeline_options(["--runner=FnApiRunner"], plan))
    _ = pipeline | transform
    return int(pipeline.to_runner_api().ByteSize())


# --- parts and batches --------------------------------------------------------------------------------------


def _groups(folder: Path, _: Sequence[int]) -> None:
    """Groups of link in every table, dedupe's batches in every part: both factors grow with the run."""
    make_submissions(folder / "submissions", 2_000_000)  # eight tables of 250,000
    rows = [
        ["link: a table dealt to groups", *_dealt(folder / "submissions", num)] for num in (1, 450, 1_200)
    ]
    rows += [["dedupe: evidence by batches", *_evidence(folder / f"{num}", num)] for num in (1, 110, 1_100)]
    record(
        "where the number of parts meets that of groups or batches",
        ["", "groups or batches", "writing, CPU ms a table", "kB a table", "reading one group, CPU ms"],
        rows,
        "A table: 250,000 submissions, or a part's 490 documents. WebText has 900 tables by 450 groups, and "
        "22,500 parts by 110 batches (verify = exact: 1,100).",
    )


def _dealt(run: Path, num_groups: int) -> list[str]:
    folder = Folder(str(run))
    collected = read_manifest(folder / "submissions")
    assert collected is not None
    job = Job(BY_NAME["link"], folder, Settings().link, {"collect": collected})
    spec = {"num_parts": num_groups * 50, "num_groups": num_groups, "source": "part-00000.parquet"}
    started = time.process_time()
    deal(job, Planned("dealt-00000", "made", spec))
    writing_s = time.process_time() - started
    size = job.folder.sizes()["dealt-00000.arrow"]

    def read() -> None:
        with job.folder.open("dealt-00000.arrow") as stream, pa.ipc.open_file(stream) as reader:
            reader.get_batch(num_groups // 2)

    return [f"{num_groups:,}", f"{1e3 * writing_s:,.0f}", f"{size / 1e3:,.0f}", f"{1e3 * _best(read):.2f}"]


def _evidence(run: Path, num_batches: int) -> list[str]:
    schema = evidence_schema(DedupeSettings().num_perm)
    job = Job(BY_NAME["dedupe"], Folder(str(run)), DedupeSettings(), {})
    random = np.random.default_rng(7)
    batches = np.sort(random.integers(num_batches, size=_DOCUMENTS_A_PART // 4))  # a quarter has candidates
    sizes = np.bincount(batches, minlength=num_batches)
    groups = [
        pa.table(
            [
                pa.array(random.integers(1 << 31, size=size), pa.uint32()),
                pa.array([random.bytes(512) for _ in range(size)], pa.binary(512)),
                pa.nulls(size, pa.large_binary()),
            ],
            schema=schema,
        )
        for size in sizes.tolist()
    ]
    started = time.process_time()
    for index in range(_OPENED):
        writer = PartWriter(job.folder, part_name(index, "evidence"), "made")
        write_groups(writer, "parquet", schema, groups)
    writing_s = (time.process_time() - started) / _OPENED
    names = [f"{part_name(index, 'evidence')}.parquet" for index in range(_OPENED)]
    reading_s = _best(lambda: [read_group(job, name, num_batches // 2) for name in names]) / _OPENED
    size = job.folder.sizes()[names[0]]
    return [f"{num_batches:,}", f"{1e3 * writing_s:,.1f}", f"{size / 1e3:,.1f}", f"{1e3 * reading_s:.2f}"]


# --- pages that are the same --------------------------------------------------------------------------------


def _members(folder: Path, _: Sequence[int]) -> None:
    """What one process holds of the documents that share a place with another."""
    floor, *found = [_side("same", folder, num) for num in (2, 20_000, 100_000)]
    rows = [
        [
            f"{one['rows']:,.0f}",
            f"{one['s']:.1f}",
            f"{one['peak'] / 1e6:,.0f}",
            f"{(one['peak'] - floor['peak']) / one['rows']:,.0f}",
        ]
        for one in found
    ]
    record(
        "extract: documents that share a place with another, in one process",
        ["documents", "CPU s", "peak MB", "bytes each above the floor"],
        rows,
        f"Pairs of the same text. The floor: {floor['peak'] / 1e6:,.0f} MB.",
    )


def _same(_: Path, num: int) -> dict[str, float]:
    texts = [" ".join(f"w{one * 31 % 9973}x{place % 700}" for place in range(300)) for one in range(50)]
    sketches = [sketch(text) for text in texts]
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    table = pa.Table.from_pylist(
        [
            {
                "key": (one // 2).to_bytes(16),
                "found": True,
                "part": one // 500,
                "row": one % 500,
                "id": f"{one:032x}",
                "karma": one % 90,
                "submissions": [f"t{one:06}"],
                "subreddits": ["made"],
                "created": noon,
                "sketch": sketches[one // 2 % 50],
            }
            for one in range(num)
        ],
        MEMBERS,
    )
    started = time.process_time()
    num_changes = sum(1 for _ in find_same_pages(table, "max"))
    assert num_changes == num
    return {"rows": num, "s": time.process_time() - started, "peak": peak_bytes()}


_FIGURES: dict[str, Callable[[Path, Sequence[int]], None]] = {
    "looking": _looking,
    "groups": _groups,
    "members": _members,
}
_SIDES: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "files": _files,
    "graphs": _graphs,
    "same": _same,
}


if __name__ == "__main__":
    main()
