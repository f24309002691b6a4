"""The stages of a run, one after the other, each brought to its manifest."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.collect.plan import check_sources
from pipeline.engines.sign import JobRecord
from pipeline.errors import InputError
from pipeline.fetch.retry import reopen
from pipeline.fetch.spool import discard
from pipeline.filter.plan import check_files
from pipeline.held import held
from pipeline.inputs import expand, require_local
from pipeline.link.opt_out import read_opt_outs
from pipeline.lock import locked
from pipeline.object_store import refuse_credentials
from pipeline.records import Reason
from pipeline.remove.removal import Removal, refuse_while_pending, resume
from pipeline.remove.removal import remove as remove_from
from pipeline.remove.request import Kind
from pipeline.runs import Folder, Manifest, read_manifest
from pipeline.stages import BY_NAME, STAGES, Job, Watch, execute, forget, standing
from pipeline.status import require_run
from pipeline.where_runs_are import DIGEST, SETTINGS
from webtext.settings import Settings, digest, load_run, render


def build(
    settings: Settings,
    run: Folder,
    *,
    until: str = STAGES[-1].name,
    force: str | None = None,
    beam_options: Sequence[str] = (),
    watch: Watch,
    on_stage: Callable[[Manifest], None],
) -> None:
    """Brings every stage up to ``until`` to its manifest, doing only what is missing or out of date.

    Args:
        settings: All sections.
        run: The run directory; made where it is not there.
        until: The last stage to do.
        force: A stage to do again, whatever there is of it.
        beam_options: Beam's options; none means the local runner.
        watch: Shows a stage's progress.
        on_stage: Told of each stage that is done.

    Raises:
        InputError: Settings or input are wrong: mostly found before any work.
        RunError: A stage failed, or another build is at work in the same directory.
    """
    _check_inputs(settings, [stage.name for stage in STAGES].index(until))
    if beam_options:
        from pipeline.beam import check_options

        check_options(beam_options, run)
    with _alone(run):
        refuse_while_pending(run)
        described = f"{DIGEST}{digest(settings)}\n\n{render(settings)}"
        run.remove(run.torn())
        run.write(SETTINGS, described.encode())
        if force is not None:
            again = run / BY_NAME[force].folder
            forget(again)
            discard(again)
        manifests: dict[str, Manifest] = {}
        for stage in STAGES:
            inputs = {name: manifests[name] for name in stage.after}
            job = Job(stage, run, settings.section(stage.name), inputs)
            manifests[stage.name] = execute(job, beam_options=beam_options, watch=watch)
            on_stage(manifests[stage.name])
            if stage.name == until:
                break


def retry(
    run: Folder, reasons: Collection[Reason], *, source: str = "web", watch: Watch
) -> tuple[Manifest, Manifest]:
    """Tries the links of a finished fetch again whose last try failed for one of the reasons.

    Args:
        run: The run directory; its own settings count, as the last build left them.
        reasons: Which failures.
        source: Where: the web, or an archive.
        watch: Shows the progress.

    Returns:
        The stage's manifests before and after.

    Raises:
        InputError: Fetch is not finished, was done by other settings, or took its pages from files.
        RunError: The crawl failed, or a build is at work in the same directory.
    """
    stage = BY_NAME["fetch"]
    settings = load_run(run)
    links = read_manifest(run / BY_NAME["link"].folder)
    if settings.fetch.source == "warc":
        raise InputError(f'{run.uri} has its pages from files (source = "warc"): no web was asked.')
    with _alone(run):
        refuse_while_pending(run)
        job = Job(stage, run, settings.fetch, {"link": links} if links else {})
        manifest = standing(job) if links else None
        if manifest is None:
            raise InputError(
                f"{run.uri}: fetch is not finished, or its settings or links have changed since: "
                "run `webtext build` first. What it leaves can be tried again."
            )
        reopen(job.folder, reasons, source)
        return manifest, execute(job, beam_options=(), watch=watch)


def remove(
    run: Folder,
    kind: Kind,
    file: Path,
    *,
    near_duplicates: bool = True,
    dry_run: bool = False,
) -> Removal:
    """Removes documents from a run; its own settings count, as the last build left them.

    Args:
        run: The run directory.
        kind: What the entries of the file are.
        file: What to remove, an entry a line.
        near_duplicates: Whether a document's near-duplicates go with it.
        dry_run: Only say what would be removed.

    Raises:
        InputError: An entry is wrong, or the run cannot be rewritten as it is.
        RunError: A build is at work in the same directory, or the run's files are damaged.
    """
    require_run(run)
    settings = load_run(run)
    with _alone(run):
        sections = {stage.name: settings.section(stage.name) for stage in STAGES}
        return remove_from(held(run), sections, kind, file, near_duplicates=near_duplicates, dry_run=dry_run)


def resume_removal(run: Folder) -> Removal:
    """Finishes a removal that was begun.

    Raises:
        InputError: None was.
        RunError: A build is at work in the same directory.
    """
    require_run(run)
    with _alone(run):
        return resume(run)


@contextmanager
def _alone(run: Folder) -> Iterator[None]:
    """Holds the run's lock, and has ended what a build that was killed had left at work on an engine."""
    with locked(run):
        if JobRecord.read(run) is not None:
            from pipeline.engines.beam import cancel_left_behind  # which takes seconds to import

            cancel_left_behind(run)
        yield


def _check_inputs(settings: Settings, last: int) -> None:
    """Raises InputError for what would only come to light hours later, in the stages up to the last."""
    for uri in (settings.run.dir, *settings.dedupe.against):
        refuse_credentials(uri)  # before they are written anywhere
    for name, paths in _local_files(settings).items():
        for path in paths:
            require_local(path, name)
    check_sources(settings.collect)
    read_opt_outs(settings.link, settings.collect.urls)
    if last >= STAGES.index(BY_NAME["filter"]):
        check_files(settings.filter)
    if last < STAGES.index(BY_NAME["fetch"]):
        return
    fetch = settings.fetch
    if fetch.source == "warc":
        expand(fetch.warcs, "fetch.warcs")
    elif not fetch.contact and not fetch.resolve:
        raise InputError(
            "fetch.contact is empty: site owners must be able to reach whoever crawls them. Set contact = "
            '"you@example.org" (or a page about your crawl) under [fetch].'
        )


def _local_files(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The files that settings name and no glob stands for."""
    words = settings.filter.bad_words
    return {
        "link.opt_out_lists": tuple(map(str, settings.link.opt_out_lists)),
        "filter.bad_words": (str(words),) if words else (),
        "filter.decontaminate.sets": tuple(map(str, settings.filter.decontaminate.sets.values())),
    }
