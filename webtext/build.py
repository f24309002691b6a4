"""The stages of a run, one after the other, each brought to its manifest."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.collect.plan import check_sources
from pipeline.errors import InputError, RunError
from pipeline.inputs import expand
from pipeline.link.opt_out import read_opt_outs
from pipeline.runs import Folder, Manifest
from pipeline.stages import BY_NAME, STAGES, Job, Watch, execute
from webtext.settings import Settings, digest, render


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

        check_options(beam_options)
    with _locked(run):
        described = f"# Settings digest: {digest(settings)}\n\n{render(settings)}"
        run.write("webtext.toml", described.encode())
        if force is not None:
            again = run / BY_NAME[force].folder
            again.remove(list(again.sizes()))
        manifests: dict[str, Manifest] = {}
        for stage in STAGES:
            inputs = {name: manifests[name] for name in stage.after}
            job = Job(stage, run, getattr(settings, stage.name), inputs)
            manifests[stage.name] = execute(job, beam_options=beam_options, watch=watch)
            on_stage(manifests[stage.name])
            if stage.name == until:
                break


def _check_inputs(settings: Settings, last: int) -> None:
    """Raises InputError for what would only come to light hours later, in the stages up to the last."""
    check_sources(settings.collect)
    read_opt_outs(settings.link, settings.collect.urls)
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


@contextmanager
def _locked(run: Folder) -> Iterator[None]:
    """Keeps a second build out of a local run directory; the lock goes with its owner, however it ends."""
    if not run.is_local():
        yield
        return
    path = Path(run.path(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise InputError(
            f"{run.uri} cannot be a run directory ({error.strerror}): name another in run.dir or with --run."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"another build is at work in {run.uri}: wait for it, or give this one its own --run."
            ) from None
        yield
    finally:
        os.close(descriptor)
