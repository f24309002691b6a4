"""The parts of fetch: a links part each, and before them a WARC file each where pages come from such."""

from collections.abc import Sequence
from pathlib import Path

from pipeline import urls
from pipeline.config import FetchSettings
from pipeline.errors import InputError
from pipeline.fetch.indexes import source_digest
from pipeline.fetch.spool import directory, read_header, recall
from pipeline.inputs import expand
from pipeline.runs import File, Part, finished
from pipeline.stages import Job, Plan, Planned, part_name

INDEX = "index"
_WARC_BYTES_PER_CPU_SECOND = 30_000_000  # of packed files, indexed and copied from


def plan(job: Job) -> Plan:
    """The parts of the chosen source.

    Raises:
        InputError: The public web is to be asked and no contact is set, or a WARC file is missing.
    """
    settings: FetchSettings = job.settings
    if settings.source == "warc":
        return _from_warcs(job, settings)
    if not settings.contact:
        _require_named_hosts(job, settings)
    parts = [
        Planned(part.name, job.fingerprint(_links(part).sha256), {"links": _links(part).name})
        for part in job.inputs["link"].counted()
    ]
    return Plan(tuple(parts), processes=settings.processes, keep=_needed_by_retries(job, parts))


def _needed_by_retries(job: Job, parts: Sequence[Planned]) -> frozenset[str]:
    """The files of parts that are being tried again: they are the new parts' too."""
    recall(job.folder, [part.name for part in parts])
    folder = directory(job.folder)
    headers = [(part, read_header(folder, part.name)) for part in parts]
    again = {part.name: part.fingerprint for part, header in headers if header and header.base}
    done = finished(job.folder, again) if again else {}  # a kill may have left their journals
    return frozenset(
        file.name
        for part, header in headers
        if header and header.base and header.fingerprint == part.fingerprint and part.name not in done
        for file in Part.from_json(header.base).files
    )


def _from_warcs(job: Job, settings: FetchSettings) -> Plan:
    paths = expand(settings.warcs, "fetch.warcs")
    digests = [source_digest(path) for path in paths]
    indexes = [
        Planned(part_name(index, INDEX), job.fingerprint(digest), {"warc": path})
        for index, (path, digest) in enumerate(zip(paths, digests, strict=True))
    ]
    # The nearest capture may be in any of the files: a part depends on all of them.
    everything = job.fingerprint(*digests)
    copies = [
        Planned(
            part.name,
            job.fingerprint(_links(part).sha256, everything),
            {"links": _links(part).name, "warcs": paths},
        )
        for part in job.inputs["link"].counted()
    ]
    return Plan(
        tuple(indexes + copies),
        inputs={f"warc {index}": digest for index, digest in enumerate(digests)},
        work_s=sum(Path(path).stat().st_size for path in paths) / _WARC_BYTES_PER_CPU_SECOND,
    )


def _links(part: Part) -> File:
    return part.file(f"{part.name}.parquet")


def _require_named_hosts(job: Job, settings: FetchSettings) -> None:
    """Site owners must be able to reach whoever asks, unless every host is one of the user's own."""
    folder = job.folder_of("link")
    for part in job.inputs["link"].counted():
        for submitted in folder.read_table(_links(part).name, columns=["url"])["url"].to_pylist():
            url = urls.parse(submitted)
            if url is not None and url.host not in settings.resolve:
                raise InputError(
                    f"fetch.contact is empty, and links lead to the public web ({url.host}). Set "
                    'contact = "you@example.org" under [fetch] (a mail address or a page for site owners), '
                    'or take pages from files: source = "warc".'
                )
