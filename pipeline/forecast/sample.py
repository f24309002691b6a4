"""A sample of what collect would read: rows from every source, judged by collect's own rules."""

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.collect.batches import judge_all
from pipeline.collect.dumps import Damaged
from pipeline.collect.glance import read_rows
from pipeline.collect.lists import read_list
from pipeline.collect.plan import check_sources, sources_of
from pipeline.collect.rows import Row
from pipeline.collect.rules import Rules
from pipeline.collect.tables import read_table, unpacked_name
from pipeline.collect.work import table_of, without_comments
from pipeline.config import CollectSettings
from pipeline.errors import InputError
from pipeline.forecast.blocks import Block, estimate_lines, places, read_block
from pipeline.forecast.ranges import Range
from pipeline.records import SUBMISSIONS, Reason

DOMAIN = pa.field("domain", pa.string(), nullable=False)  # registrable; beside SUBMISSIONS in a sample
SCHEMA = SUBMISSIONS.append(DOMAIN)


@dataclass(frozen=True, slots=True)
class SourceSample:
    """What was read of one source.

    ``kept`` has the rows of SCHEMA that point outward; ``rows`` is how many rows the whole source has: where
    it is damaged as read from its beginning, how many come before.
    """

    path: str
    num_bytes: int
    num_places: int
    is_whole: bool
    num_rows: int
    rows: Range
    kept: pa.Table
    rejected: Counter[str]
    cpu_s: float
    damages: Mapping[int, str] = field(default_factory=dict)  # what is wrong, by the place read from

    @property
    def scale(self) -> float:
        """How many rows of the source each row of the sample stands for."""
        return self.rows.likely / self.num_rows if self.num_rows else 0.0


@dataclass(slots=True)
class _Judged:
    num_rows: int = 0
    kept: list[pa.Table] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)

    def take(self, rows: Iterable[Row | Reason], rules: Rules) -> None:
        for batch in judge_all(rows, rules):
            domains = pa.array([one.domain for one in batch.kept], DOMAIN.type)
            self.kept.append(table_of(batch.kept).append_column(DOMAIN, domains))
            self.rejected += batch.rejected()
            self.num_rows += len(batch.kept) + len(batch.reasons)

    def table(self) -> pa.Table:
        return pa.concat_tables([SCHEMA.empty_table(), *self.kept]).combine_chunks()


def sample_sources(
    settings: CollectSettings, seconds: float, on_source: Callable[[str], None] = lambda _: None
) -> list[SourceSample]:
    """Reads of every dump and list that is there, of each for a time in proportion to its size.

    The live API is not asked: of it the file is read that keeps its answers, once there is one.

    Args:
        settings: What to read, and the rules.
        seconds: About how long all of it may take.
        on_source: Told the path of each source before it is read.

    Raises:
        InputError: Nothing can be read, a source is damaged where it begins, or has no row.
    """
    dumps, lists = check_sources(settings)
    answers = settings.reddit.dump
    if settings.reddit.subreddits and answers not in dumps and Path(answers).is_file():
        dumps.append(answers)
    sources = sources_of(dumps, lists)
    if not sources:
        raise InputError(
            "collect.reddit: what the live API will answer cannot be sampled. Ask it first: webtext build "
            "with --until collect; the plan then reads what it answered."
        )
    sizes = [Path(path).stat().st_size for path, _ in sources]
    found = []
    for (path, kind), size in zip(sources, sizes, strict=True):
        on_source(path)
        found.append(_sample(path, kind, settings, seconds * size / sum(sizes)))
    if not any(one.num_rows for one in found):
        raise InputError(f"{found[0].path} has no rows: fetch it again, or take it out of the settings.")
    if not any(one.kept.num_rows for one in found):
        raise InputError(_nothing_kept(found))
    return found


def _nothing_kept(found: Sequence[SourceSample]) -> str:
    reasons = sum((one.rejected for one in found), Counter[str]())
    told = ", ".join(f"{reason} {num:,}" for reason, num in reasons.most_common(5))
    return (
        f"none of the {reasons.total():,} rows that were read points outward ({told}), so there is nothing "
        "to plan with. Are collect.dumps submissions, and do [collect]'s settings leave any?"
    )


def _sample(path: str, kind: str, settings: CollectSettings, seconds: float) -> SourceSample:
    started, deadline = time.process_time(), time.monotonic() + seconds
    rules = Rules.of(settings, listed=kind == "list")
    judged = _Judged()
    name = unpacked_name(Path(path).name)
    damages: dict[int, str] = {}
    if name.lower().endswith(".parquet"):
        num_places = 1
        rows = _sample_parquet(path, rules, judged, deadline)
    else:
        # A table's first line names its columns: it is read from there alone.
        starts = [0] if kind == "table" else places(path)
        damages, blocks = _sample_blocks(path, kind, starts, deadline, judged, rules, settings.list_karma)
        if 0 in damages and settings.on_damage == "fail":
            raise InputError(
                f"{path} is damaged near its beginning ({damages[0]}); {judged.num_rows:,} rows can be read. "
                'Fetch it again, or set collect.on_damage = "keep" to use them.'
            )
        num_places, num_lines = len(blocks), sum(block.lines for block in blocks)
        lines = estimate_lines(blocks, Path(path).stat().st_size)
        rows = lines * (judged.num_rows / max(1, num_lines))
        rows = Range.exact(judged.num_rows) if lines.is_exact else rows
    return SourceSample(
        path=path,
        num_bytes=Path(path).stat().st_size,
        num_places=num_places,
        is_whole=rows.is_exact and rows.likely == judged.num_rows,
        num_rows=judged.num_rows,
        rows=rows,
        kept=judged.table(),
        rejected=judged.rejected,
        cpu_s=time.process_time() - started,
        damages=damages,
    )


def _sample_blocks(
    path: str, kind: str, starts: Sequence[int], deadline: float, judged: _Judged, rules: Rules, karma: int
) -> tuple[dict[int, str], list[Block]]:
    """Reads from each place for its share of the time; says what is wrong with the source, and from where.

    Where it is damaged as read from its beginning, collect has nothing of what follows: that is not read.
    """
    ends = [*starts[1:], Path(path).stat().st_size + 1]
    now = time.monotonic()
    blocks: list[Block] = []
    damages: dict[int, str] = {}
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1):
        block = Block(start)
        lines = read_block(path, block, end, now + (deadline - now) * number / len(starts))
        try:
            if kind == "dump":
                judged.take(read_rows(without_comments(path, lines), rules), rules)
            else:
                _through_a_file(path, kind, lines, judged, rules, karma)
        except Damaged as error:
            damages[start] = error.cause
            if start == 0:
                block.to_the_end = True
                return damages, [block]
        blocks.append(block)
    return damages, blocks


def _through_a_file(
    path: str, kind: str, lines: Iterator[bytes], judged: _Judged, rules: Rules, karma: int
) -> None:
    """Lists and tables are read by their files' names: the lines go into one of the same name."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / unpacked_name(Path(path).name)
        damage: Damaged | None = None
        with copy.open("wb") as file:
            try:
                file.writelines(line + b"\n" for line in lines)
            except Damaged as error:
                damage = error
        if copy.stat().st_size:
            judged.take(read_list(str(copy), karma) if kind == "list" else read_table(str(copy)), rules)
        if damage is not None:
            raise damage


def _sample_parquet(path: str, rules: Rules, judged: _Judged, deadline: float) -> Range:
    """A table tells how many rows it has; it is read from its beginning."""
    rows = read_table(path)
    in_time = itertools.takewhile(lambda _: time.monotonic() <= deadline, rows)
    try:
        judged.take(itertools.chain(itertools.islice(rows, 1_000), in_time), rules)
    except Damaged as error:
        raise InputError(f"{path} is damaged ({error.cause}): fetch it again.") from error
    return Range.exact(max(judged.num_rows, pq.ParquetFile(path).metadata.num_rows))
