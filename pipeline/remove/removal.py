"""A removal from its request to its end: found, made ready beside the run, then put in its place."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from pipeline.config import UrlSettings
from pipeline.errors import InputError, RunError
from pipeline.inspector.judging.labels import FOLDER as LABELS
from pipeline.inspector.judging.labels import Labels
from pipeline.remove.inscribe import inscribe
from pipeline.remove.present import Present, look_at
from pipeline.remove.rebase import Rebased, rebase, rebase_collect
from pipeline.remove.request import Kind, Request, read_request
from pipeline.remove.rewrite import Gone
from pipeline.remove.staged import StagedFolder, begin, carry_out, pending, staging, unstage
from pipeline.remove.targets import ASKED, Targets, find_targets
from pipeline.remove.tombstones import (
    REMOVED,
    RemovedDomain,
    encode_entries,
    encode_told,
    next_name,
    read_removed,
)
from pipeline.report.files import FILES, PAGES
from pipeline.runs import MANIFEST, Folder, Part
from pipeline.stages import BY_NAME, STAGES, Job
from pipeline.status import require_run

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Removal:
    """What a removal has done, or with a dry run would do; it names no content.

    Attributes:
        links: The links that go: id, why, and with which other.
        records: By stage how many of the records that it had kept go.
        parts: By stage how many parts are rewritten.
        files: By folder of the run the files that are new or gone.
        unmatched: Where the entries stand that nothing in the run matches.
        refused: How many addresses (keys), domains and submissions later builds refuse because of it.
        has_clusters: It is known which documents are near-duplicates: dedupe was finished.
        left: Stages that the next build has to do again or to finish.
        has_report: There was a report, which quotes texts: it is gone.
        has_checkpoints: There are models that may have been trained on what goes.
    """

    links: list[dict[str, str | None]]
    records: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    has_clusters: bool = True
    left: list[str] = field(default_factory=list)
    has_report: bool = False
    has_checkpoints: bool = False

    @property
    def num_asked(self) -> int:
        """How many of the links were asked for; the others go with them."""
        return sum(link["why"] == ASKED for link in self.links)

    def to_json(self) -> dict[str, Any]:
        """As ``webtext remove --json`` prints it."""
        return asdict(self)


def remove(
    run: Folder,
    settings: Mapping[str, Any],
    kind: Kind,
    path: Path,
    *,
    near_duplicates: bool = True,
    dry_run: bool = False,
) -> Removal:
    """Removes what a file names, and what is a copy of it, from a run.

    What was begun before and is not finished, is finished first.

    Args:
        run: The run; nobody else may be at work in it.
        settings: Each stage's own, by its name, as the last build had them.
        kind: What the file's entries are.
        path: The file.
        near_duplicates: Whether all documents of a cluster go; else only those with the very same text.
        dry_run: Only say what would be done.

    Raises:
        InputError: An entry is wrong, or the run cannot be rewritten as it is.
        RunError: The run's files are damaged.
    """
    require_run(run)
    if dry_run:
        refuse_while_pending(run)
    elif (intent := pending(run)) is not None:
        carry_out(run, intent)
    try:
        return _remove(run, settings, kind, path, near_duplicates=near_duplicates, dry_run=dry_run)
    except pa.ArrowException as error:
        raise RunError(
            f"{run.uri}: a table cannot be read ({error}): `webtext verify` tells which, and what to do."
        ) from error


def _remove(
    run: Folder,
    settings: Mapping[str, Any],
    kind: Kind,
    path: Path,
    *,
    near_duplicates: bool,
    dry_run: bool,
) -> Removal:
    stages = look_at(run, settings)
    manifests = {name: one.manifest for name, one in stages.items() if one.manifest}
    rules = UrlSettings.model_validate(manifests["collect"].settings["urls"])
    request = read_request(kind, path, rules)
    targets = find_targets(run, manifests, request, rules, near_duplicates=near_duplicates)
    staged = staging(run)
    try:
        rebased, removal = _make_ready(run, staged, stages, request, targets, near_duplicates=near_duplicates)
        if not dry_run and (targets.links or _is_news(run, request, targets)):
            intent = begin(staged, _leftovers(run, stages, rebased, targets), removal.to_json())
            carry_out(run, intent)
    finally:
        if pending(run) is None:
            unstage(run, staged.written)
    return removal


def resume(run: Folder) -> Removal:
    """Finishes a removal that was begun.

    Raises InputError where none was.
    """
    require_run(run)
    intent = pending(run)
    if intent is None:
        raise InputError(f"{run.uri}: there is no removal to go on with.")
    carry_out(run, intent)
    return Removal(**intent["told"])


def refuse_while_pending(run: Folder) -> None:
    """Raises InputError where a removal was begun and is not finished: whole stages would be done again."""
    if pending(run) is not None:
        raise InputError(
            f"{run.uri}: a removal was begun and is not finished. Finish it first: "
            f"webtext remove {quote(run.address)} --resume"
        )


def _is_news(run: Folder, request: Request, targets: Targets) -> bool:
    """Whether there is anything that later builds do not refuse already."""
    removed = read_removed(run)
    return not (
        targets.keys <= removed.keys
        and set(request.submissions) <= set(removed.submissions)
        and {RemovedDomain.of(host) for host in request.domains} <= set(removed.domains)
    )


def _make_ready(
    run: Folder,
    staged: StagedFolder,
    stages: Mapping[str, Present],
    request: Request,
    targets: Targets,
    *,
    near_duplicates: bool,
) -> tuple[dict[str, Rebased], Removal]:
    """Writes all new files beside the run, and says what they are."""
    name = next_name(run)
    with (staged / REMOVED).writing(f"{name}.parquet") as sink:
        pq.write_table(inscribe(stages, targets, near_duplicates=near_duplicates), sink, compression="zstd")
    entries = encode_entries(targets.keys, request.domains, request.submissions)
    told = {"format": _FORMAT, "kind": str(request.kind), "entries": entries, "tombstones": sink.sha256()}
    # link reads from it what it has to refuse; which files are rewritten is known only afterwards.
    (staged / REMOVED).write(f"{name}.json", encode_told(told))
    hashes = frozenset(chain.from_iterable(targets.url_hashes.values()))
    gone = Gone(pa.array(targets.links, pa.string()), targets.keys, hashes)
    rebased = _rebase(staged, stages, gone)
    changed = {BY_NAME[stage].folder: _changed_files(one) for stage, one in rebased.items()}
    for folder, names in changed.items():
        _drop_unchanged(staged / folder, names)
    files = {folder: names for folder, names in changed.items() if names}
    (staged / REMOVED).write(f"{name}.json", encode_told({**told, "files": files}))
    lost = {stage: _num_kept(one.before) - _num_kept(one.parts) for stage, one in rebased.items()}
    removal = Removal(
        links=[{"id": one, "why": why.reason, "of": why.of} for one, why in targets.links.items()],
        records={stage: num for stage, num in lost.items() if num},
        parts={stage: len(one.rewritten()) for stage, one in rebased.items() if one.rewritten()},
        files={folder: list(names) for folder, names in files.items()},
        unmatched=list(targets.unmatched),
        refused={name: len(values) for name, values in entries.items() if values},
        has_clusters="dedupe" in stages and stages["dedupe"].manifest is not None,
        left=[
            stage.name
            for stage in STAGES
            if (run / stage.folder).sizes() and not (stage.name in stages and stages[stage.name].manifest)
        ],
        has_report=_has_report(run / "report"),
        has_checkpoints=_has_checkpoints(run),
    )
    return rebased, removal


def _rebase(staged: StagedFolder, stages: Mapping[str, Present], gone: Gone) -> dict[str, Rebased]:
    rebased: dict[str, Rebased] = {}
    for name, one in stages.items():
        inputs = {before: rebased[before].manifest for before in one.job.stage.after}
        after = Job(
            one.job.stage, staged, one.job.settings, {key: value for key, value in inputs.items() if value}
        )
        if not one.job.stage.after and one.manifest:
            rebased[name] = rebase_collect(one.job, after, one.manifest, gone)
        else:
            rebased[name] = rebase(one.job, after, one.done, gone, is_whole=one.manifest is not None)
    return rebased


def _changed_files(one: Rebased) -> dict[str, list[str | None]]:
    """By name the SHA-256 of each file that is new or gone: before and after, null for none."""
    before, after = (
        {file.name: file.sha256 for part in parts.values() for file in part.files}
        for parts in (one.before, one.parts)
    )
    names = sorted(before.keys() | after.keys())
    return {
        name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)
    }


def _drop_unchanged(folder: StagedFolder, changed: Mapping[str, Any]) -> None:
    """Of a part that was made anew a file may be as it was: then the old one stays."""
    folder.remove(name for name in folder.new() if name not in changed and not name.endswith(".json"))


def _num_kept(parts: Mapping[str, Any]) -> int:
    return sum(part.counts.kept for part in parts.values() if part.counts is not None)


def _has_report(report: Folder) -> bool:
    return bool(report.sizes()) or any(report.size(name) is not None for name in PAGES)


def _has_checkpoints(run: Folder) -> bool:
    info = run.filesystem.get_file_info(run.path("checkpoints"))
    return bool(info.type != pa.fs.FileType.NotFound)


def _leftovers(
    run: Folder, stages: Mapping[str, Present], rebased: Mapping[str, Rebased], targets: Targets
) -> dict[str, list[str]]:
    """By folder the files that have no place in the run any more, those that a store does not list yet too.

    Of unfinished stages all goes but the parts that were rewritten; the report and the traces of failures
    may quote texts, and so may what was noted of a document.
    """
    traces = {f"{stage.name}-error.txt" for stage in STAGES}
    gone: dict[str, Collection[str]] = {
        "report": (run / "report").sizes().keys() | FILES,
        LABELS: Labels(run).files_of(targets.links),
        "": traces | {name for name in run.sizes() if name.endswith("-error.txt")},
    }
    for stage in STAGES:
        folder = run / stage.folder
        listed, known, stays = folder.sizes().keys(), set[str](), set[str]()
        if (one := rebased.get(stage.name)) is not None:
            known, stays = _names(stages[stage.name].done), _names(one.parts)
            if one.manifest is not None:
                stays |= {MANIFEST} | (listed - known - folder.torn())
        gone[stage.folder] = (listed | known) - stays
    return {folder: sorted(names) for folder, names in gone.items() if names}


def _names(parts: Mapping[str, Part]) -> set[str]:
    """A stage's parts' files and sidecars."""
    return {f"{name}.json" for name in parts} | {file.name for part in parts.values() for file in part.files}
