"""What stands of a run, and whether it can be rewritten."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import InputError
from pipeline.fetch.spool import directory
from pipeline.remove.rebase import finished_parts
from pipeline.runs import Folder, Manifest, Part, read_manifest
from pipeline.stages import BY_NAME, STAGES, Job, standing

_COSTLY = ("link", "fetch")  # a page that is lost may be lost for good, and pages hang on their links


@dataclass(frozen=True, slots=True)
class Present:
    """A stage as it is.

    Attributes:
        job: The stage, with the manifests that it reads.
        manifest: Its own; None where the next build has to finish it.
        done: Its finished parts, by name.
    """

    job: Job
    manifest: Manifest | None
    done: Mapping[str, Part]


def look_at(run: Folder, settings: Mapping[str, Any]) -> dict[str, Present]:
    """The stages of which anything stands, in their order: at the most the last is not finished.

    Args:
        run: The run.
        settings: Each stage's own, by its name.

    Raises:
        InputError: A stage up to fetch is begun and not finished.
    """
    found: dict[str, Present] = {}
    manifests: dict[str, Manifest] = {}
    for stage in STAGES:
        if not set(stage.after) <= manifests.keys():
            break
        job = Job(stage, run, settings[stage.name], {name: manifests[name] for name in stage.after})
        manifest = _standing(job) if stage.after else _first(job)
        if manifest is None and stage.name in _COSTLY:
            _refuse_begun(job)
            break
        done = finished_parts(job) if stage.after else {part.name: part for part in _first(job).parts}
        found[stage.name] = Present(job, manifest, done)
        if manifest is not None:
            manifests[stage.name] = manifest
    return found


def _standing(job: Job) -> Manifest | None:
    return standing(job) if read_manifest(job.folder) else None


def _first(job: Job) -> Manifest:
    """The first stage's manifest; the files that it was made from may be gone by now."""
    manifest = read_manifest(job.folder)
    if manifest is None:
        raise InputError(
            f"{job.run.uri}: {job.stage.name} is not finished, so there is nothing to remove from: run "
            "`webtext build` first."
        )
    return manifest


def _refuse_begun(job: Job) -> None:
    pages = job.run / BY_NAME["fetch"].folder
    if job.folder.sizes() or pages.sizes() or directory(pages).exists():
        raise InputError(
            f"{job.run.uri}: {job.stage.name} is not finished, or its settings or input have changed since. "
            "Finish it (webtext build … --until fetch), and remove then: parts that are being made cannot "
            "be rewritten, and pages would be lost."
        )
