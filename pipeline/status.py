"""How far a run is, and what became of every record: read from manifests and sidecars, without Beam."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.collect.months import Month, months, warnings
from pipeline.dedupe.figures import ClusterFigures
from pipeline.errors import InputError
from pipeline.fetch.figures import LedgerFigures, read_ledgers
from pipeline.fetch.progress import Crawl, read_crawl
from pipeline.object_store import require_bucket, side_by_side
from pipeline.plain_table import bar, byte_size, percentage, plain_table
from pipeline.runs import MANIFEST, Counts, Folder, Manifest, Part, read_manifest, read_sidecar
from pipeline.stages import BY_NAME, STAGES, read_plan
from pipeline.where_runs_are import is_run, no_run

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

COUNTED = tuple(stage for stage in STAGES if stage.name != "tokenizer")

# What a stage takes in and what it keeps, as people call them.
UNITS = {
    "collect": ("posts", "submissions"),
    "link": ("submissions", "links"),
    "fetch": ("links", "pages"),
    "extract": ("pages", "documents"),
    "filter": ("documents", "documents"),
    "dedupe": ("documents", "documents"),
    "shard": ("documents", "documents"),
}

_BAR_WIDTH = 6
_MIN_SHARE = 0.0005  # of what came in: reasons rarer than this share a line where there is little room


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage: its counts so far, its parts (those that only prepare others with them), bytes, seconds.

    A stage that is not begun has zeros throughout.
    """

    counts: Counts
    num_parts: int
    num_done: int
    num_bytes: int  # of its finished parts' files
    seconds: float  # of work, over all parts: those of parts done side by side add up
    finished: bool  # it has its manifest

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``webtext status --json``."""
        return {
            **self.counts.to_json(),
            "parts": self.num_parts,
            "parts_done": self.num_done,
            "bytes": self.num_bytes,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class TokenizerStatus:
    """The run's tokenizer: its ids, the SHA-256 of tokenizer.json, the documents it was trained on."""

    vocab_size: int
    digest: str
    num_documents: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``webtext status --json``."""
        return {"vocab_size": self.vocab_size, "digest": self.digest, "documents": self.num_documents}


@dataclass(frozen=True, slots=True)
class Status:
    """A run: its seven counted stages in their order, begun or not, and its tokenizer once it is trained.

    What collect says of its months and what is to be warned of are there once it is finished; so are, with
    link, the links that each least karma lets through, by the best submission's score and by the sum of all.
    Of fetch there is what its crawl says while it is not finished, and then what its ledgers say. Of each
    evaluation set there is, with filter, how much of it the kept documents have (contamination.Overlap). Of
    the clusters of near-duplicates there is, once they are found, how many are of each size, and the largest.
    """

    run: str
    stages: Mapping[str, StageStatus]
    tokenizer: TokenizerStatus | None
    months: tuple[Month, ...] = ()
    links_by_max: Mapping[int, int] = field(default_factory=dict)
    links_by_sum: Mapping[int, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    crawl: Crawl | None = None
    ledger: LedgerFigures | None = None
    evaluation_sets: tuple[Mapping[str, Any], ...] = ()
    clusters: ClusterFigures | None = None

    @property
    def name(self) -> str:
        """The last piece of the run's path: a report may be shown to others, whose machine is another."""
        return Folder(self.run).name

    def to_json(self) -> dict[str, Any]:
        """As ``webtext status --json`` prints it."""
        return {
            "run": self.run,
            "stages": {name: stage.to_json() for name, stage in self.stages.items()},
            "tokenizer": None if self.tokenizer is None else self.tokenizer.to_json(),
            "fetch": {
                "live": None if self.crawl is None else self.crawl.to_json(),
                "ledger": None if self.ledger is None else self.ledger.to_json(),
            },
            "months": [month.to_json() for month in self.months],
            "sensitivity": {
                "max": {str(least): num for least, num in self.links_by_max.items()},
                "sum": {str(least): num for least, num in self.links_by_sum.items()},
            },
            "evaluation_sets": [dict(one) for one in self.evaluation_sets],
            "clusters": None if self.clusters is None else self.clusters.to_json(),
            "warnings": list(self.warnings),
        }


def read_status(run: Folder) -> Status:
    """Reads how far a run is.

    Raises:
        InputError: There is no run, or a manifest of it is damaged.
    """
    require_run(run)
    collect, link = (_facts(run / BY_NAME[name].folder) for name in ("collect", "link"))
    crawl, ledger, damage = _read_fetch(run / BY_NAME["fetch"].folder)
    return Status(
        run=run.uri,
        stages={stage.name: read_stage(run / stage.folder) for stage in COUNTED},
        tokenizer=read_tokenizer(run / BY_NAME["tokenizer"].folder),
        months=tuple(months(collect)),
        links_by_max=_by_least_karma(link, "links_by_max"),
        links_by_sum=_by_least_karma(link, "links_by_sum"),
        warnings=(*warnings(collect), *damage),
        crawl=crawl,
        ledger=ledger,
        evaluation_sets=tuple(_facts(run / BY_NAME["filter"].folder).get("evaluation_sets", ())),
        clusters=_read_clusters(run / BY_NAME["dedupe"].folder),
    )


def _read_fetch(folder: Folder) -> tuple[Crawl | None, LedgerFigures | None, list[str]]:
    """What the crawl says of itself, or once it is finished its ledgers; and what is wrong with these."""
    manifest = read_manifest(folder)
    if manifest is None:
        return read_crawl(folder, time.time()), None, []
    try:
        return None, read_ledgers(folder, manifest), []
    except (OSError, LookupError, pa.ArrowException) as error:
        what = f"{folder.uri}: a ledger cannot be read ({error})"
        return None, None, [f"{what}: `webtext verify` names it and says what to do."]


def _read_clusters(folder: Folder) -> ClusterFigures | None:
    """What the manifest says of the clusters, or before it is there (they may be why) the part itself."""
    manifest = read_manifest(folder)
    source = manifest or read_sidecar(folder, "clusters")
    return None if source is None else ClusterFigures.from_facts(source.facts)


def _facts(folder: Folder) -> Mapping[str, Any]:
    manifest = read_manifest(folder)
    return {} if manifest is None else manifest.facts


def _by_least_karma(facts: Mapping[str, Any], name: str) -> dict[int, int]:
    """A table of facts by the number that its keys spell."""
    return dict(sorted((int(least), num) for least, num in facts.get(name, {}).items()))


def require_run(run: Folder) -> None:
    """Raises InputError, telling what to do, unless the folder holds a run."""
    if not is_run(run):
        require_bucket(run.uri, run.filesystem, run.path())
        raise no_run(run)


def require_stage(run: Folder, stage: str, remedy: str) -> Manifest:
    """The manifest of a finished stage; where it is not, InputError, which ends with ``remedy``."""
    manifest = read_manifest(run / BY_NAME[stage].folder)
    if manifest is None:
        raise InputError(f"{run.uri}: {stage} is not finished, {remedy}")
    return manifest


def read_stage(folder: Folder) -> StageStatus:
    """How far one stage is; InputError where its manifest is damaged."""
    manifest = read_manifest(folder)
    if manifest is not None:
        parts = list(manifest.parts)
        seconds = sum(part.seconds for part in read_sidecars(folder, [part.name for part in parts]))
        return replace(stage_status(parts, len(parts)), seconds=seconds, finished=True)
    present = {name.removesuffix(".json") for name in folder.sizes() if name.endswith(".json")}
    plan = read_plan(folder)
    parts = read_sidecars(folder, sorted(present if plan is None else present.intersection(plan)))
    return stage_status(parts, len(parts if plan is None else plan))


def stage_status(parts: Sequence[Part], num_parts: int) -> StageStatus:
    """How far a stage is that is not finished: its finished parts, of so many."""
    return StageStatus(
        counts=Counts.total(part.counts for part in parts if part.counts is not None),
        num_parts=num_parts,
        num_done=len(parts),
        num_bytes=sum(file.bytes for part in parts for file in part.files),
        seconds=sum(part.seconds for part in parts),
        finished=False,
    )


def read_sidecars(folder: Folder, names: Sequence[str]) -> list[Part]:
    """The sidecars that can be read, of the parts named."""
    found = side_by_side(partial(read_sidecar, folder), names, is_local=folder.is_local())
    return [part for part in found if part is not None]


def read_tokenizer(folder: Folder) -> TokenizerStatus | None:
    """The tokenizer in its stage's folder, once it is trained; InputError where its manifest is damaged."""
    manifest = read_manifest(folder)
    if manifest is None:
        return None
    digests = {file.name: file.sha256 for part in manifest.parts for file in part.files}
    try:
        return TokenizerStatus(
            vocab_size=int(manifest.facts["vocab_size"]),
            digest=digests["tokenizer.json"],
            num_documents=manifest.counts.kept,
        )
    except KeyError as error:
        raise InputError(
            f"{folder.uri}/{MANIFEST} does not name {error}: run `webtext build --force tokenizer`."
        ) from error


def waterfall(status: Status) -> "Table":
    """The run as a table: a row a stage, from posts to documents in shards, every rejection's reason."""
    from rich.text import Text

    table = plain_table("stage", "in", "kept", "of in", title=status.run)
    table.caption = f"\n{_caption(status)}"
    table.add_column("rejected", no_wrap=True)
    for name, stage in status.stages.items():
        begun = stage.num_parts > 0
        unit_in, unit_kept = UNITS[name]
        table.add_row(
            Text(f"{name}\n{_progress(stage)}"),
            f"{stage.counts.num_in:,}\n{unit_in}" if begun else "",
            f"{stage.counts.kept:,}\n{unit_kept}" if begun else "",
            percentage(stage.counts.kept, stage.counts.num_in),
            Text("\n".join(_rejections(stage.counts))),
            style="" if begun else "dim",
        )
    return table


def _progress(stage: StageStatus) -> str:
    if stage.finished:
        return byte_size(stage.num_bytes)
    return f"{stage.num_done:,}/{stage.num_parts:,} parts" if stage.num_parts else "not begun"


def _rejections(counts: Counts) -> Iterator[str]:
    """A line a reason, the most frequent first: a bar in proportion to what came in, number and reason.

    The rarest share the last line, for a dump has up to twenty reasons; ``status --json`` has them all.
    """
    ordered = sorted(counts.rejected.items(), key=lambda item: (-item[1], item[0]))
    lines = [(num, reason) for reason, num in ordered if num]
    rare = [num for num, _ in lines if num < _MIN_SHARE * counts.num_in]
    if len(rare) > 1:
        lines[-len(rare) :] = [(sum(rare), f"for {len(rare)} other reasons")]
    width = max((len(f"{num:,}") for num, _ in lines), default=0)
    for num, reason in lines:
        yield f"{bar(num, counts.num_in, _BAR_WIDTH)} {num:>{width},} {reason}"


def _caption(status: Status) -> str:
    one = status.tokenizer
    if one is None:
        return "tokenizer: not trained yet"
    return f"tokenizer: {one.vocab_size:,} ids, trained on {one.num_documents:,} documents"


def sensitivity(status: Status) -> "RenderableType":
    """The links that each least karma would let through, as a table: a row a kind of karma."""
    leasts = (f"{least:,}" for least in status.links_by_max)
    table = plain_table("links with karma of at least", *leasts)
    table.add_row("max: the best submission's", *(f"{num:,}" for num in status.links_by_max.values()))
    table.add_row("sum: that of all together", *(f"{num:,}" for num in status.links_by_sum.values()))
    return table


def overlaps(status: Status) -> "RenderableType":
    """How much of each evaluation set the kept documents had, as a table: a row a set and length of runs."""
    table = plain_table("evaluation set", "its runs of", "found", "", "examples", "with one", "")
    for one in status.evaluation_sets:
        table.add_row(
            one["name"],
            f"{one['n']} words: {one['num_grams']:,}",
            f"{one['num_found']:,}",
            percentage(one["num_found"], one["num_grams"]),
            f"{one['num_examples']:,}",
            f"{one['num_examples_hit']:,}",
            percentage(one["num_examples_hit"], one["num_examples"]),
        )
    return table


def cluster_sizes(figures: ClusterFigures) -> "RenderableType":
    """How many clusters of near-duplicates there are of each size, as a table: a row a size."""
    total = sum(figures.sizes.values())
    width = len(f"{max(figures.sizes.values()):,}")
    table = plain_table("clusters of", "number", "")
    for name, num in figures.sizes.items():
        size = name.replace("-", " to ").replace("1000+", "1,000 or more")
        table.add_row(
            f"{size} documents", f"{bar(num, total, _BAR_WIDTH)} {num:>{width},}", percentage(num, total)
        )
    return table


def largest_clusters(figures: ClusterFigures) -> "RenderableType":
    """The largest clusters as a table, each with its survivor: a URL that is too long goes on below."""
    from rich.text import Text

    table = plain_table("largest clusters", "removed")
    table.add_column("kept in their place", overflow="fold")
    for one in figures.largest:
        kept = one.url or f"{one.survivor} (not in this run)"
        table.add_row(f"{one.num_documents:,} documents", f"{one.num_removed:,}", Text(kept))
    return table
