"""The stages in their order, and how one is brought to its manifest: plan, do what is missing, commit.

Each stage's folder has ``plan.py`` (``plan(job) -> Plan``, without Beam) and ``beam.py``
(``transform(job, todo) -> PTransform``, whose run leaves a sidecar for every part in ``todo``).
"""

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.config import deciding, settings_digest
from pipeline.errors import InputError, RunError
from pipeline.held import held
from pipeline.runs import (
    MANIFEST,
    Counts,
    Folder,
    Manifest,
    Part,
    are_there,
    finished,
    read_manifest,
    true_size,
    write_sidecar,
)

VERSION = "0.1.0"

PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: its verb, the run's folder that it fills, and the stages whose manifests it reads.

    The first of ``after`` is the one whose kept records are this stage's input. ``format`` is raised when
    the stage's code starts to give other bytes for the same input: older parts are then stale.
    """

    name: str
    folder: str
    after: tuple[str, ...]
    format: int = 1


STAGES = (
    Stage("collect", "submissions", (), format=3),
    Stage("link", "links", ("collect",), format=2),
    Stage("fetch", "pages", ("link",), format=3),
    Stage("extract", "documents", ("fetch", "link"), format=5),
    Stage("filter", "filtered", ("extract",), format=2),
    Stage("dedupe", "corpus", ("filter",), format=3),
    Stage("tokenizer", "tokenizer", ("dedupe",), format=2),
    Stage("shard", "shards", ("dedupe", "tokenizer"), format=2),
)

BY_NAME = {stage.name: stage for stage in STAGES}


@dataclass(frozen=True, slots=True)
class Job:
    """What a stage's code is given: the run, its own settings, and the manifests that it reads."""

    stage: Stage
    run: Folder
    settings: Any  # the stage's own Section
    inputs: Mapping[str, Manifest]

    @property
    def folder(self) -> Folder:
        """Where this stage writes."""
        return self.run / self.stage.folder

    def folder_of(self, stage: str) -> Folder:
        """Where an earlier stage has written."""
        return self.run / BY_NAME[stage].folder

    def for_workers(self) -> "Job":
        """The job as the pipeline carries it: of its inputs the counts, settings and facts.

        Their parts, of which there may be many thousands, are the plan's to look at, and not a worker's.
        """
        inputs = {name: replace(manifest, parts=()) for name, manifest in self.inputs.items()}
        return replace(self, inputs=inputs)

    def fingerprint(self, *inputs: str) -> str:
        """The digest of this stage's format and settings with what a part, or the stage, is made from."""
        values = [self.stage.name, self.stage.format, settings_digest(self.settings), *inputs]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Planned:
    """A part to be: its name, what it depends on (a fingerprint), and what its work needs to know.

    A ``scratch`` part serves only the stage's other parts: it goes when the stage is committed.
    """

    name: str
    fingerprint: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    scratch: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All parts of a stage, and an estimate by which the local runner chooses threads or processes.

    ``inputs`` are the digests of what is read besides earlier stages (dump files, library versions);
    ``work_s`` is CPU seconds on one core; ``waits`` says that the work waits on others (the network, child
    processes), so that threads serve it. ``processes``, where given, is how many the local runner starts.
    ``facts`` stand in the manifest beside the parts' own. ``keep`` are files that no finished part has, and
    that are needed all the same.
    """

    parts: tuple[Planned, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    work_s: float = 0.0
    waits: bool = False
    processes: int | None = None
    keep: frozenset[str] = frozenset()


def part_name(index: int, step: str = "part") -> str:
    """``part-00017``."""
    return f"{step}-{index:05d}"


Watch = Callable[[str, Folder, Sequence[str]], AbstractContextManager[None]]


def execute(job: Job, *, beam_options: Sequence[str], watch: Watch) -> Manifest:
    """Brings a stage to its manifest, doing only the parts that are not done.

    Args:
        job: The stage with its inputs.
        beam_options: Beam's own options, as on a command line; none means the local runner.
        watch: Told the stage, its folder and the names of its parts while the work goes on.

    Returns:
        The manifest: the one that was there, if it still holds, else the new one.

    Raises:
        InputError: The stage's input or settings are wrong.
        RunError: The work failed, or its counts do not reconcile. Whole parts stay.
    """
    plan = plan_of(job)
    inputs, fingerprint = _identity(job, plan)
    _restore_sidecars(job.folder)
    present = _standing(job.folder, fingerprint)
    if present is not None:
        return present
    job.folder.remove([MANIFEST])
    done = _finished(job, plan)
    _sweep(job.folder, done, plan.keep)
    _write_plan(job.folder, plan)
    todo = _missing(plan, done)
    with watch(job.stage.name, job.folder, [part.name for part in plan.parts]):
        if todo:
            _work(replace(job, run=held(job.run)), plan, todo, beam_options)
    return _commit(job, plan, inputs, fingerprint)


def plan_of(job: Job) -> Plan:
    """The parts of a stage, as its inputs and settings ask for them."""
    plan: Plan = _module(job, "plan").plan(job)
    return plan


def standing(job: Job) -> Manifest | None:
    """The stage's manifest, if the inputs and settings would give it again and its files are there."""
    return _standing(job.folder, _identity(job, plan_of(job))[1])


def forget(folder: Folder) -> None:
    """Removes all files of a stage, those with them that a store does not list yet."""
    try:
        manifest = read_manifest(folder)
    except InputError:
        manifest = None
    known = [part.name for part in manifest.parts] if manifest else read_plan(folder) or []
    folder.remove({MANIFEST, PLAN, *folder.sizes(), *(f"{name}.json" for name in known)})


def commit(job: Job, plan: Plan) -> Manifest:
    """Writes a stage's manifest from the sidecars of its parts.

    Raises:
        RunError: A part is missing, or the counts do not reconcile.
    """
    return _commit(job, plan, *_identity(job, plan))


def _identity(job: Job, plan: Plan) -> tuple[dict[str, str], str]:
    """The digests of the stage's inputs, and its fingerprint."""
    inputs = {**{name: manifest.digest() for name, manifest in job.inputs.items()}, **plan.inputs}
    return inputs, job.fingerprint(json.dumps(inputs, sort_keys=True), *(part.name for part in plan.parts))


def _module(job: Job, name: str) -> Any:
    return importlib.import_module(f"pipeline.{job.stage.name}.{name}")


def _restore_sidecars(folder: Folder) -> None:
    """Writes those of a finished stage's sidecars anew that are missing: its manifest says the same.

    So a sidecar that was damaged, and deleted, costs no part; one of fetch would cost its pages.
    """
    try:
        manifest = read_manifest(folder)
    except InputError:
        return
    sizes = folder.sizes()
    for part in manifest.parts if manifest else ():
        if true_size(folder, sizes, f"{part.name}.json") is None and are_there(folder, sizes, part.files):
            write_sidecar(folder, part)


def _standing(folder: Folder, fingerprint: str) -> Manifest | None:
    """The manifest, if it was made from this plan and its files are there in their sizes, sidecars too."""
    try:
        manifest = read_manifest(folder)
    except InputError:
        return None  # a damaged manifest commits nothing
    if manifest is None or manifest.fingerprint != fingerprint:
        return None
    sizes = folder.sizes()
    for part in manifest.parts:
        has_sidecar = true_size(folder, sizes, f"{part.name}.json") is not None
        if not has_sidecar or not are_there(folder, sizes, part.files):
            return None
    return manifest


def _finished(job: Job, plan: Plan) -> dict[str, Part]:
    return finished(job.folder, {part.name: part.fingerprint for part in plan.parts})


def _missing(plan: Plan, done: Mapping[str, Part]) -> list[Planned]:
    """The parts to do; no scratch where nothing that lasts is missing."""
    missing = [part for part in plan.parts if part.name not in done]
    return missing if any(not part.scratch for part in missing) else []


def _sweep(folder: Folder, done: Mapping[str, Part], needed: frozenset[str]) -> None:
    """Removes what no finished part owns: halves left by a kill, parts of other settings."""
    keep = {f"{name}.json" for name in done} | {file.name for part in done.values() for file in part.files}
    folder.remove(name for name in folder.sizes() if name not in keep | needed)


def _write_plan(folder: Folder, plan: Plan) -> None:
    """Leaves the parts' names in the folder until the commit, so that others can see how far the work is."""
    folder.write(PLAN, (json.dumps({"parts": [part.name for part in plan.parts]}) + "\n").encode())


def read_plan(folder: Folder) -> list[str] | None:
    """The names of all parts of a stage that is being worked on; None if none is."""
    try:
        names: list[str] = json.loads(folder.read(PLAN))["parts"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return names


def _work(job: Job, plan: Plan, todo: Sequence[Planned], beam_options: Sequence[str]) -> None:
    if job.stage.name == "tokenizer":  # trained in one process: nothing to schedule
        _module(job, "train").work(job, todo)
        return
    from pipeline.beam import run  # seconds to import

    transform = _module(job, "beam").transform(job, todo)
    run(transform, job=job, plan=plan, options=beam_options)


def _commit(job: Job, plan: Plan, inputs: Mapping[str, str], fingerprint: str) -> Manifest:
    done = _finished(job, plan)
    missing = _missing(plan, done)
    if missing:
        raise RunError(
            f"{job.stage.name}: {len(missing)} of {len(plan.parts)} parts were not written, the first is "
            f"{missing[0].name} in {job.folder.uri}. Run the same build again: it goes on from what is there."
        )
    parts = tuple(done[part.name] for part in plan.parts if not part.scratch)
    counts = Counts.total(part.counts for part in parts if part.counts is not None)
    counts.reconcile(job.stage.name)
    if job.stage.after:
        before = job.stage.after[0]
        kept = job.inputs[before].counts.kept
        if kept != counts.num_in:
            raise RunError(
                f"{job.stage.name} took in {counts.num_in:,} records, but {before} kept {kept:,}. "
                "This is a defect: please report it."
            )
    manifest = Manifest(
        stage=job.stage.name,
        version=VERSION,
        fingerprint=fingerprint,
        settings=deciding(job.settings),
        inputs=inputs,
        counts=counts,
        parts=parts,
        facts={**total_facts(parts), **plan.facts},
    )
    scratch = [done[part.name] for part in plan.parts if part.scratch and part.name in done]
    for part in scratch:
        job.folder.remove([f"{part.name}.json", *(file.name for file in part.files)])
    job.folder.remove([PLAN])
    job.folder.write(MANIFEST, manifest.encode())  # last: with it, nobody would look for what a kill has left
    return manifest


def total_facts(parts: Sequence[Part]) -> dict[str, Any]:
    """The parts' facts together: numbers added up, tables of numbers key by key, others as the first says."""
    total: dict[str, Any] = {}
    for part in parts:
        for key, value in part.facts.items():
            if isinstance(value, Mapping):
                table = total.setdefault(key, {})
                for name, num in value.items():
                    table[name] = table.get(name, 0) + num
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                total[key] = total.get(key, 0) + value
            else:
                total.setdefault(key, value)
    return total
