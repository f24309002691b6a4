"""What other thresholds would change, from what is stored of every document: nothing is measured again."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Hopeless
from pipeline.filter.decide import KEPT, checks, columns_asked, first_broken
from pipeline.filter.plan import MEASURED
from pipeline.filter.settings import FilterSettings, hopeless, line_rules
from pipeline.records import Reason
from pipeline.runs import Folder, Manifest
from pipeline.stages import part_name

KEPT_NAME = "kept"

_NAMES = (KEPT_NAME, *(str(reason) for reason in Reason))
_KEPT_CODE = 0
_PARTS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Moved:
    """A document that other settings would decide otherwise: what becomes of it now, and then."""

    id: str
    url: str
    now: str  # "kept", or a reason
    then: str
    value: str  # what was measured, by the rule that decides


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Documents by what becomes of them, now and then; words of those that are kept; some that move."""

    now: Counter[str] = field(default_factory=Counter)
    then: Counter[str] = field(default_factory=Counter)
    words_now: int = 0
    words_then: int = 0
    num_going: int = 0  # kept now, but not then
    num_coming: int = 0
    examples: tuple[Moved, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As ``webtext try-filters --json`` prints it."""
        return {
            "now": dict(sorted(self.now.items())),
            "then": dict(sorted(self.then.items())),
            "words": {"now": self.words_now, "then": self.words_then},
            "going": self.num_going,
            "coming": self.num_coming,
            "examples": [
                {"id": one.id, "url": one.url, "now": one.now, "then": one.then, "value": one.value}
                for one in self.examples
            ],
        }


def what_if(
    filtered: Folder, manifest: Manifest, now: FilterSettings, then: FilterSettings, num_examples: int
) -> WhatIf:
    """Decides every document by both settings.

    Documents that were found contaminated are so by both: what is in the evaluation sets is known of those
    that were kept so far, and of no others.

    Args:
        filtered: The stage's folder.
        manifest: Its manifest.
        now: The settings by which the stage was done.
        then: Others.
        num_examples: How many of the documents that move are named at the most.
    """
    contaminated = str(Reason.CONTAMINATED)
    with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
        works = [
            pool.submit(_part, filtered, index, now, then, num_examples, contaminated in part.counts.rejected)
            for index, part in enumerate(manifest.counted())
            if part.counts is not None
        ]
        parts = [work.result() for work in works]
    return WhatIf(
        sum((part.now for part in parts), Counter()),
        sum((part.then for part in parts), Counter()),
        sum(part.words_now for part in parts),
        sum(part.words_then for part in parts),
        sum(part.num_going for part in parts),
        sum(part.num_coming for part in parts),
        tuple(_examples(filtered, parts, num_examples)),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What WhatIf has, of one part; the first that move by their rows: now, then and what was measured."""

    now: Counter[str]
    then: Counter[str]
    words_now: int
    words_then: int
    num_going: int
    num_coming: int
    moved: dict[int, tuple[str, str, str]]


def _part(
    folder: Folder,
    index: int,
    now: FilterSettings,
    then: FilterSettings,
    num_examples: int,
    has_contaminated: bool,
) -> _Part:
    asked = columns_asked(now) | columns_asked(then)
    name = f"{part_name(index, MEASURED)}.parquet"
    measured = folder.read_table(name, [*sorted(asked), *(["id"] if has_contaminated else [])])
    is_contaminated = np.zeros(measured.num_rows, np.bool_)
    if has_contaminated:
        rejected = folder.read_table(f"{part_name(index)}.rejected.parquet", ["id", "reason"])
        ids = rejected.filter(pc.equal(rejected["reason"], str(Reason.CONTAMINATED)))["id"]
        is_contaminated = pc.is_in(measured["id"], value_set=ids.combine_chunks()).to_numpy()
    before, after = (_Verdicts(measured, settings, is_contaminated) for settings in (now, then))
    words = measured["num_words"].to_numpy()
    kept_before, kept_after = before.kept, after.kept
    moved = np.flatnonzero(before.codes != after.codes)[:num_examples]
    return _Part(
        before.counts(),
        after.counts(),
        int(words[kept_before].sum()),
        int(words[kept_after].sum()),
        int((kept_before & ~kept_after).sum()),
        int((~kept_before & kept_after).sum()),
        {
            row: (before.name(row), after.name(row), after.value(row) or before.value(row))
            for row in moved.tolist()
        },
    )


class _Verdicts:
    """What becomes of each document by some settings, as a code: a place in _NAMES."""

    def __init__(self, measured: pa.Table, settings: FilterSettings, is_contaminated: Any) -> None:
        self._checks = checks(measured, settings)
        self._places = first_broken(self._checks, measured.num_rows)
        reasons = [_NAMES.index(check.reason) for check in self._checks]
        self.codes = np.array([*reasons, _KEPT_CODE])[self._places]
        self.codes[(self._places == KEPT) & is_contaminated] = _NAMES.index(Reason.CONTAMINATED)
        self.kept = self.codes == _KEPT_CODE

    def counts(self) -> Counter[str]:
        nums = np.bincount(self.codes, minlength=len(_NAMES)).tolist()
        return Counter({name: num for name, num in zip(_NAMES, nums, strict=True) if num})

    def name(self, row: int) -> str:
        return _NAMES[int(self.codes[row])]

    def value(self, row: int) -> str:
        place = self._places[row]
        return "" if place == KEPT else self._checks[place].value(row)


def _examples(folder: Folder, parts: list[_Part], num_examples: int) -> Iterator[Moved]:
    """The first that move; only their parts' URLs are read."""
    left = num_examples
    for index, part in enumerate(parts):
        rows = list(part.moved)[:left]
        if rows:
            left -= len(rows)
            table = folder.read_table(f"{part_name(index, MEASURED)}.parquet", ["id", "url"]).take(rows)
            for row, one in zip(rows, table.to_pylist(), strict=True):
                yield Moved(one["id"], one["url"], *part.moved[row])


def caveats(now: FilterSettings, then: FilterSettings) -> Iterator[str]:
    """What the answer leaves out, in words."""
    if line_rules(now) != line_rules(then):
        yield (
            "other lines are removed from the texts: num_words and the fineweb measures are still those of "
            "the lines that the run has left, and c4_sentences of those that it counted"
        )
    if now.decontaminate != then.decontaminate:
        yield "what is shared with evaluation sets is not looked for anew"
    if now.pii.phone_region != then.pii.phone_region:
        yield "telephone numbers are not counted anew"


def never_extracted(extract: Manifest, then: FilterSettings) -> Iterator[str]:
    """A caveat for pages that extract did not even try, where other settings would have it try them.

    Args:
        extract: The manifest of extract.
        then: The other settings.
    """
    before = Hopeless.model_validate(extract.settings["hopeless"])
    after = hopeless(then) if extract.settings["reject_early"] else Hopeless()
    if before.languages == after.languages and after.min_words >= before.min_words:
        return
    num = sum(extract.counts.rejected.get(reason, 0) for reason in ("too_short", "language", "error_page"))
    if num:
        yield (
            f"{num:,} pages were rejected before their text was extracted: by the run's settings no hope was "
            "left. A build with the others extracts all pages again (and fetches nothing)"
        )
