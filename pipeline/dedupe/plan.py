"""The parts of dedupe: signatures, what is done over all of them, and the corpus part by part."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from pipeline.config import SIGNED_BY, DedupeSettings
from pipeline.dedupe.known import read_corpora
from pipeline.dedupe.signatures import SIGNATURES
from pipeline.remove.tombstones import REMOVED, removed_digest
from pipeline.stages import Job, Plan, Planned, part_name

_DOCUMENTS_PER_CPU_SECOND = 4_000  # measured
# That are compared in one batch, at the most, if all have candidates: about 100 MB.
_DOCUMENTS_PER_BATCH = {"estimate": 100_000, "exact": 10_000}

SIGN, KNOW, RANK, MATCH = SIGNATURES, "known", "ranked", "matched"
SHOW, COMPARE, CONCLUDE, FINISH = "evidence", "verdicts", "concluded", "finish"
CLUSTERS = "clusters"


def plan(job: Job) -> Plan:
    """A part of the corpus depends on all documents, as any other may be the better copy of one in it.

    Raises:
        InputError: A corpus that the settings name is not finished, or has other signatures.
    """
    sources = [(part.name, part.file(f"{part.name}.parquet")) for part in job.inputs["filter"].counted()]
    if not sources:
        return Plan(())
    known, inputs = _known(job)
    everything = job.fingerprint(*(file.sha256 for _, file in sources), *(one.fingerprint for one in known))
    signing = replace(job, settings=_signing(job.settings))
    signatures = [
        Planned(
            part_name(index, SIGN),
            signing.fingerprint(SIGN, version("datasketch"), file.sha256),
            {"step": SIGN, "source": file.name},
        )
        for index, (_, file) in enumerate(sources)
    ]
    finished = [
        Planned(
            name,
            job.fingerprint(FINISH, name, everything),
            {"step": FINISH, "source": file.name, "index": index},
        )
        for index, (name, file) in enumerate(sources)
    ]
    num_documents = job.inputs["filter"].counts.kept + sum(one.spec["num_documents"] for one in known)
    return Plan(
        parts=(*signatures, *known, *_together(job, everything, signatures, known, num_documents), *finished),
        inputs=inputs,
        work_s=num_documents / _DOCUMENTS_PER_CPU_SECOND,
    )


def _signing(settings: DedupeSettings) -> DedupeSettings:
    """What a signature depends on: other thresholds sign nothing again."""
    return DedupeSettings(**settings.model_dump(include=set(SIGNED_BY)))


def _known(job: Job) -> tuple[list[Planned], dict[str, str]]:
    """The parts of other corpora, and of what was taken out of this run or these; the digests of all."""
    known: list[Planned] = []
    inputs: dict[str, str] = {}
    corpora = read_corpora(job)
    for corpus in corpora:
        inputs[f"corpus {corpus.name} {len(inputs) + 1}"] = corpus.manifest.digest()
        for signed, documents, num_documents, digest in corpus.parts():
            spec = {
                "step": KNOW,
                "run": corpus.name,
                "folder": corpus.folder.address,
                "signed": signed,
                "documents": documents,
                "num_documents": num_documents,
            }
            known.append(_planned_known(job, len(known), digest, spec))
    for run in (job.run, *(corpus.run for corpus in corpora)):
        if digest := removed_digest(run):
            inputs[f"{REMOVED} {len(inputs) + 1}"] = digest
            spec = {"step": KNOW, "run": REMOVED, "folder": run.address, "num_documents": 0}
            known.append(_planned_known(job, len(known), digest, spec))
    return known, inputs


def _planned_known(job: Job, index: int, digest: str, spec: Mapping[str, Any]) -> Planned:
    return Planned(part_name(index, KNOW), job.fingerprint(KNOW, digest), spec, scratch=True)


def _together(
    job: Job, everything: str, signatures: list[Planned], known: list[Planned], num_documents: int
) -> list[Planned]:
    """What is done over all documents at once, or batch by batch."""
    num_batches = 1 + num_documents // _DOCUMENTS_PER_BATCH[job.settings.verify]
    sources = [one.spec["source"] for one in signatures] + [None] * len(known)
    tables = [f"{one.name}.parquet" for one in (*signatures, *known)]
    evidence = [part_name(index, SHOW) for index in range(len(tables))]
    verdicts = [part_name(index, COMPARE) for index in range(num_batches)]
    spec = {
        "signed": tables[: len(signatures)],
        "known": tables[len(signatures) :],
        "num_batches": num_batches,
        "num_documents": num_documents,
        "verdicts": [f"{name}.parquet" for name in verdicts],
    }

    def planned(name: str, spec: Mapping[str, Any], *, scratch: bool = True) -> Planned:
        return Planned(name, job.fingerprint(name, everything), spec, scratch)

    show = {"step": SHOW, "num_batches": num_batches}
    compare = {"step": COMPARE, "evidence": [f"{name}.parquet" for name in evidence], "known": spec["known"]}
    return [
        planned(RANK, {"step": RANK, **spec}),
        planned(MATCH, {"step": MATCH, **spec}),
        *(
            planned(name, {**show, "index": index, "table": table, "source": source})
            for index, (name, table, source) in enumerate(zip(evidence, tables, sources, strict=True))
        ),
        *(planned(name, {**compare, "index": index}) for index, name in enumerate(verdicts)),
        planned(CLUSTERS, {"step": CONCLUDE, **spec}, scratch=False),
        planned(CONCLUDE, {"step": CONCLUDE, **spec}),
    ]
