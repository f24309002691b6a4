"""The parts of link: tables of submissions dealt to groups, then the links of each range of domains."""

import hashlib
import json

from pipeline.config import UrlSettings
from pipeline.link.deal import DEALT
from pipeline.link.opt_out import OptOuts, read_opt_outs
from pipeline.records import Reason
from pipeline.remove.tombstones import read_removed, removed_digest
from pipeline.stages import Job, Plan, Planned, part_name

SUBMISSIONS_PER_GROUP = 500_000  # about; they are in memory together

_SUBMISSIONS_PER_CPU_SECOND = 300_000  # measured


def plan(job: Job) -> Plan:
    """A part for each table of submissions, and as many parts of links as their number asks for.

    Raises InputError where an entry of the opt-outs is none.
    """
    submissions = job.inputs["collect"]
    # What has been removed since counts on: the division into parts stays as it was.
    num_submissions = submissions.counts.kept + submissions.counts.rejected.get(Reason.OPT_OUT, 0)
    num_parts = max(1, -(-num_submissions // job.settings.submissions_per_part))
    num_groups = min(num_parts, max(1, -(-num_submissions // SUBMISSIONS_PER_GROUP)))
    division = {"num_parts": num_parts, "num_groups": num_groups}
    sources = [part.file(f"{part.name}.parquet") for part in submissions.counted()]
    dealt = [
        # Other thresholds and opt-outs leave these standing: not the settings, only the division matters.
        Planned(
            part_name(number, DEALT),
            _digest("deal", job.stage.format, num_parts, num_groups, source.sha256),
            {"source": source.name, **division},
        )
        for number, source in enumerate(sources)
    ]
    opt_outs = opt_outs_of(job)
    everything = job.fingerprint(submissions.digest(), opt_outs.digest())
    parts = [
        Planned(part_name(index), _digest(everything, index), {"index": index, **division})
        for index in range(num_parts)
    ]
    return Plan(
        (*dealt, *parts),
        inputs={"opt_out": opt_outs.digest()}
        if job.settings.opt_out_lists or removed_digest(job.run)
        else {},
        facts=_opted_out(opt_outs),
        work_s=num_submissions / _SUBMISSIONS_PER_CPU_SECOND,
    )


def opt_outs_of(job: Job) -> OptOuts:
    """What was asked to be left out, in collect's terms, and what was removed from the run."""
    return read_opt_outs(job.settings, url_rules(job), read_removed(job.run))


def _opted_out(opt_outs: OptOuts) -> dict[str, list[str]]:
    """What fetch must know of them, since no redirect leads there either: hashes, for manifests are shown."""
    facts = {
        "opted_out_domains": sorted(f"{one:016x}" for one in opt_outs.domain_hashes()),
        "opted_out_keys": [key.hex() for key in opt_outs.keys.to_pylist()],
    }
    return {name: entries for name, entries in facts.items() if entries}


def url_rules(job: Job) -> UrlSettings:
    """The rules by which collect has read URLs and made their keys."""
    return UrlSettings.model_validate(job.inputs["collect"].settings["urls"])


def _digest(*values: str | int) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
