"""fetch in Beam: groups of parts that are crawled, or WARC files' indexes and then the copies."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import apache_beam as beam

from pipeline.beam import DoParts
from pipeline.fetch.captures import index_part
from pipeline.fetch.copies import copy_part
from pipeline.fetch.plan import INDEX
from pipeline.fetch.progress import clear
from pipeline.fetch.spool import directory, lock
from pipeline.fetch.web import crawl, groups
from pipeline.stages import Job, Planned


class FetchFromWarcs(beam.PTransform):
    """Indexes every WARC file, then copies each part's captures."""

    def __init__(self, job: Job, todo: Sequence[Planned]) -> None:
        super().__init__()
        self._job = job
        self._indexes = [part for part in todo if part.name.startswith(INDEX)]
        copies = [part for part in todo if not part.name.startswith(INDEX)]
        # The files may be many thousands: they are sent once, and not with each part.
        self._warcs: Sequence[str] = copies[0].spec["warcs"] if copies else ()
        self._copies = [replace(part, spec={"links": part.spec["links"]}) for part in copies]

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Both steps are of parts: the copies read the indexes from their files."""
        indexed = pbegin | "Index" >> DoParts(self._job, self._indexes, index_part)
        copy = partial(copy_part, warcs=self._warcs)
        return pbegin | "Copy" >> DoParts(self._job, self._copies, copy, after=[indexed])


def transform(job: Job, todo: Sequence[Planned]) -> beam.PTransform:
    """Links to pages."""
    if job.settings.source == "warc":
        return FetchFromWarcs(job, todo)
    folder = directory(job.folder)
    os.close(lock(folder, alone=True))
    clear(job.folder)
    return DoParts(job, groups(job, todo), crawl)
