"""A run brought to its manifests again without what was removed: stage by stage, each from the one before.

What a part depends on changes with any file before it, though its own bytes stay the same: each finished part
is told so in its sidecar, and only the files of those that had something to lose are new.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow.compute as pc

from pipeline.errors import RunError
from pipeline.link.deal import DEALT, deal, parts_of
from pipeline.link.plan import opt_outs_of
from pipeline.link.write import groups, write_group
from pipeline.remove.rewrite import (
    Gone,
    RewritePart,
    Rewriting,
    collect_part,
    corpus_part,
    documents_part,
    filtered_part,
    pages_part,
)
from pipeline.remove.tombstones import REMOVED_BYTES
from pipeline.runs import MANIFEST, Counts, Manifest, Part, PartWriter, finished, read_sidecar
from pipeline.stages import Job, Plan, Planned, commit, part_name, plan_of, total_facts
from pipeline.tokenizer.documents import sample_fraction, text_bytes
from tokenizer.train import sampled


@dataclass(slots=True)
class Rebased:
    """A stage as it will be.

    Attributes:
        manifest: Its manifest; None for a stage that is left to the next build.
        before: Its finished parts as they were, by name.
        parts: The same as they will be.
    """

    manifest: Manifest | None
    before: Mapping[str, Part]
    parts: dict[str, Part] = field(default_factory=dict)

    def rewritten(self) -> list[str]:
        """The names of the parts of which a file is new or gone."""
        return [name for name, part in self.parts.items() if part.files != self.before[name].files]


def rebase_collect(before: Job, after: Job, manifest: Manifest, gone: Gone) -> Rebased:
    """The first stage depends on nothing in the run: but for what goes it stays as its manifest tells it."""
    job = Rewriting(before.folder, after.folder, gone)
    rebased = Rebased(manifest, {part.name: part for part in manifest.parts})
    for part in manifest.parts:
        rebased.parts[part.name] = _told_again(before, after, part, collect_part(job, part))
    parts = tuple(rebased.parts.values())
    counts = Counts.total(part.counts for part in parts if part.counts is not None)
    facts = {**manifest.facts, **total_facts(parts)}
    rebased.manifest = replace(manifest, counts=counts, parts=parts, facts=facts)
    after.folder.write(MANIFEST, rebased.manifest.encode())
    return rebased


def rebase(before: Job, after: Job, done: Mapping[str, Part], gone: Gone, *, is_whole: bool) -> Rebased:
    """Any other stage.

    Args:
        before: The stage as it was.
        after: The stage as it will be: where it writes, and what it reads.
        done: Its parts that are finished, by name.
        gone: What goes.
        is_whole: Whether these are all, and so are committed.
    """
    plan = plan_of(after)
    planned = {part.name: part for part in plan.parts if part.name in done and not part.scratch}
    rebased = Rebased(None, {name: done[name] for name in planned})
    match after.stage.name:
        case "link":
            written = _link_parts(before, after, plan, rebased.before, gone)
        case "tokenizer":
            written = {name: _tokenizer_part(before, part, gone) for name, part in rebased.before.items()}
        case "shard":
            written = _shard_parts(after, planned, rebased.before)
        case name:
            rewrite = _rewrite(name, before, after, gone)
            job = Rewriting(before.folder, after.folder, gone)
            written = {name: rewrite(job, part) for name, part in rebased.before.items()}
    for name, part in written.items():
        again = replace(part, fingerprint=planned[name].fingerprint)
        rebased.parts[name] = _told_again(before, after, rebased.before[name], again)
    if is_whole:
        rebased.manifest = commit(after, plan)
    return rebased


def _rewrite(stage: str, before: Job, after: Job, gone: Gone) -> RewritePart:
    if stage == "filter":
        documents = Rewriting(before.folder_of("extract"), after.folder_of("extract"), gone)
        return lambda job, part: filtered_part(job, part, documents)
    return {"fetch": pages_part, "extract": documents_part, "dedupe": corpus_part}[stage]


def _told_again(before: Job, after: Job, was: Part, part: Part) -> Part:
    """Writes a part's sidecar, if it has to say anything new."""
    if part != was:
        sidecar = read_sidecar(before.folder, part.name)
        writer = PartWriter(after.folder, part.name, part.fingerprint)
        writer.keep(part.files)
        writer.commit(
            part.counts, seconds=was.seconds if sidecar is None else sidecar.seconds, facts=part.facts
        )
    return part


def _link_parts(before: Job, after: Job, plan: Plan, done: Mapping[str, Part], gone: Gone) -> dict[str, Part]:
    """What is new of the submissions is dealt again, and the parts that had any of them are grouped again."""
    collect, touched = before.inputs["collect"], set[int]()
    parts = {part.name: part for part in plan.parts}
    num_parts = next(part.spec["num_parts"] for part in plan.parts)
    written = dict(done)
    for number, source in enumerate(collect.counted()):
        table = before.folder_of("collect").read_table(f"{source.name}.parquet", ["key", "domain_hash"])
        lost = table.filter(pc.is_in(table["key"], value_set=gone.keys))
        if lost.num_rows:
            touched |= set(parts_of(lost["domain_hash"].to_numpy(), num_parts).tolist())
            name = part_name(number, DEALT)
            deal(after, parts[name])
            written[name] = _read(after, name)
    todo = [parts[part_name(index)] for index in sorted(touched)]
    opt_outs = opt_outs_of(after)
    for group in groups(after, todo):
        write_group(after, group, opt_outs)
    return written | {part.name: _read(after, part.name) for part in todo}


def _tokenizer_part(before: Job, part: Part, gone: Gone) -> Part:
    """The tokenizer stays as it is; of the documents that it was learnt from fewer are left."""
    corpus = before.inputs["dedupe"]
    lost: list[str] = []
    for one in corpus.counted():
        ids = before.folder_of("dedupe").read_table(f"{one.name}.parquet", ["id"])["id"]
        lost += ids.filter(gone.among(ids)).to_pylist()
    if not lost or part.counts is None:
        return part
    num_bytes = text_bytes(corpus) + corpus.facts.get(REMOVED_BYTES, 0)
    fraction = sample_fraction(before.settings.sample_bytes, num_bytes)
    num_in = part.counts.num_in - len(lost)
    num_sampled = part.counts.kept - sum(sampled(name, fraction) for name in lost)
    num_sampled = max(0, min(num_in, num_sampled))
    reasons = {reason: num_in - num_sampled for reason in part.counts.rejected if num_in > num_sampled}
    return replace(part, counts=Counts(num_in, num_in - sum(reasons.values()), reasons))


def _shard_parts(after: Job, planned: Mapping[str, Planned], done: Mapping[str, Part]) -> dict[str, Part]:
    """Shards whose documents have changed are written anew by the stage's own work; the others stay."""
    from pipeline.shard.write import write_shard

    stale = [part for part in planned.values() if part.fingerprint != done[part.name].fingerprint]
    for part in stale:
        write_shard(after, part)
    return dict(done) | {part.name: _read(after, part.name) for part in stale}


def _read(after: Job, name: str) -> Part:
    part = read_sidecar(after.folder, name)
    if part is None:
        raise RunError(f"{after.folder.uri}/{name}.json was not written. This is a defect: please report it.")
    return part


def finished_parts(job: Job) -> dict[str, Part]:
    """The parts of a stage that the next build would take for done."""
    return finished(job.folder, {part.name: part.fingerprint for part in plan_of(job).parts})
