"""What Beam costs: each stage of a build through Beam, and by its bare functions in a plain loop.

Both sides do the same parts from the same inputs, one after the other, and (but for what comes from the
web) end with the same bytes, which is checked.
"""

import argparse
import contextlib
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.results import record
from pipeline.runs import Folder, Manifest
from pipeline.stages import STAGES, Job, Plan, Planned, execute


def main() -> None:
    """Builds over the demo's web, each stage twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=1200)
    arguments = parser.parse_args()
    started = time.monotonic()
    import pipeline.beam  # noqa: F401 (once a build, and not a stage's own time)

    rows = [["(importing Beam, once)", f"{time.monotonic() - started:.2f}", "0", "", ""]]
    with tempfile.TemporaryDirectory() as folder:
        times = measure(Path(folder), arguments.pages)
    times["all stages"] = tuple(sum(column) for column in zip(*times.values(), strict=True))
    for stage, (beam_s, bare_s) in times.items():
        share = max(0.0, beam_s - bare_s) / beam_s
        rows.append([stage, f"{beam_s:.2f}", f"{bare_s:.2f}", f"{beam_s / bare_s:.2f}", f"{share:.0%}"])
    record(
        f"Beam's share against the bare functions, {arguments.pages} pages",
        ["stage", "Beam s", "bare s", "ratio", "Beam's share"],
        rows,
        "A stage has little to do here: what Beam costs is mostly a pipeline's fixed cost.",
    )


def measure(folder: Path, num_pages: int) -> dict[str, tuple[float, ...]]:
    """Seconds of each stage through Beam and bare."""
    from webtext.demo.dump import write_dump
    from webtext.demo.run import demo_settings
    from webtext.demo.server import serve
    from webtext.demo.site import build_site

    site = build_site(num_pages)
    write_dump(site, folder / "RS_2019-06.zst")
    run = Folder(str(folder / "run"))
    manifests: dict[str, Manifest] = {}
    times: dict[str, tuple[float, ...]] = {}
    with serve(site) as server:
        settings = demo_settings(server.resolve)
        dumps = (str(folder / "RS_2019-06.zst"),)
        sections = settings.model_copy(
            update={"collect": settings.collect.model_copy(update={"dumps": dumps})}
        )
        for stage in STAGES:
            inputs = {name: manifests[name] for name in stage.after}
            job = Job(stage, run, sections.section(stage.name), inputs)
            beam_s, manifest = _timed(_execute, job)
            if stage.name == "tokenizer":  # does without Beam
                manifests[stage.name] = manifest
                continue
            shutil.rmtree(job.folder.path())
            plan = _plan(job)
            bare_s, _ = _timed(_BARE[stage.name], job, plan.parts)
            again = _execute(job)
            if stage.name != "fetch" and again.digest() != manifest.digest():
                raise SystemExit(f"{stage.name}: the bare functions gave other bytes")
            manifests[stage.name] = again
            times[stage.name] = (beam_s, bare_s)
    return times


def _timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    started = time.monotonic()
    result = work(*arguments)
    return time.monotonic() - started, result


def _execute(job: Job) -> Manifest:
    return execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())


def _plan(job: Job) -> Plan:
    import importlib

    plan: Plan = importlib.import_module(f"pipeline.{job.stage.name}.plan").plan(job)
    return plan


def _bare_collect(job: Job, parts: Iterable[Planned]) -> None:
    from pipeline.collect.work import collect_part

    for part in parts:
        collect_part(job, part)


def _bare_link(job: Job, parts: Iterable[Planned]) -> None:
    from pipeline.link.deal import DEALT, deal
    from pipeline.link.plan import opt_outs_of
    from pipeline.link.write import groups, write_group

    todo = list(parts)
    for part in todo:
        if part.name.startswith(DEALT):
            deal(job, part)
    for gathered in groups(job, todo):
        write_group(job, gathered, opt_outs_of(job))


def _bare_fetch(job: Job, parts: Iterable[Planned]) -> None:
    from pipeline.fetch.web import crawl, groups

    for group in groups(job, list(parts)):
        crawl(job, group)


def _bare_extract(job: Job, parts: Iterable[Planned]) -> None:
    from pipeline.extract.beam import _extract, _find, _members, _settle, _shared
    from pipeline.extract.plan import EXTRACTED

    todo = list(parts)
    with ThreadPoolExecutor(max(4, os.cpu_count() or 1)) as pool:  # its children do the work
        first = [part for part in todo if part.name.startswith(EXTRACTED)]
        places = _gathered(chain.from_iterable(pool.map(lambda part: list(_extract(job, part)), first)))
    shared = _gathered(chain.from_iterable(_shared(item) for item in places.items()))
    members = [_members(item, job)[1] for item in shared.items()]
    changes = _gathered(_find((None, members), job)) if members else {}
    for part in todo:
        if not part.name.startswith(EXTRACTED):
            index = part.spec["index"]
            list(_settle((index, {"parts": [part], "changes": changes.get(index, [])}), job))


def _gathered(pairs: Iterable[tuple[int, Any]]) -> dict[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found


def _bare_filter(job: Job, parts: Iterable[Planned]) -> None:
    from pipeline.filter.plan import MEASURED
    from pipeline.filter.work import finish_part, measure_part

    for part in parts:  # those that are measured come first; there are no evaluation sets
        (measure_part if part.name.startswith(MEASURED) else finish_part)(job, part)


def _bare_dedupe(job: Job, parts: Iterable[Planned]) -> None:
    from pipeline.dedupe.candidates import Share, band_blocks, bands_and_rows, candidate_pairs, united
    from pipeline.dedupe.clusters import compare
    from pipeline.dedupe.components import match
    from pipeline.dedupe.conclude import conclude
    from pipeline.dedupe.evidence import show
    from pipeline.dedupe.finish import finish
    from pipeline.dedupe.plan import COMPARE, CONCLUDE, FINISH, MATCH, RANK, SHOW, SIGN
    from pipeline.dedupe.ranking import rank_all
    from pipeline.dedupe.signatures import sign

    steps: defaultdict[str, list[Planned]] = defaultdict(list)
    for part in parts:
        steps[part.spec["step"]].append(part)

    def do(step: str, work: Callable[[Job, Planned], None]) -> None:
        for part in steps[step]:
            work(job, part)

    do(SIGN, sign)
    do(RANK, rank_all)
    (matching,) = steps[MATCH]
    blocks: defaultdict[int, list[bytes]] = defaultdict(list)
    bands = range(bands_and_rows(job.settings)[0])
    for index, table in enumerate(matching.spec["signed"]):
        for key, block in band_blocks(job, Share(index, table, bands, 1)):
            blocks[key].append(block)
    match(job, matching, united(candidate_pairs(own) for own in blocks.values()).tobytes())
    do(SHOW, show)
    do(COMPARE, compare)
    conclude(job, steps[CONCLUDE])
    do(FINISH, finish)


def _bare_shard(job: Job, parts: Iterable[Planned]) -> None:
    from pipeline.shard.write import write_shard

    for part in parts:
        write_shard(job, part)


_BARE: dict[str, Callable[[Job, Iterable[Planned]], None]] = {
    "collect": _bare_collect,
    "link": _bare_link,
    "fetch": _bare_fetch,
    "extract": _bare_extract,
    "filter": _bare_filter,
    "dedupe": _bare_dedupe,
    "shard": _bare_shard,
}


if __name__ == "__main__":
    main()
