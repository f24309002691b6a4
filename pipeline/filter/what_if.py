"""What other thresholds would change, from what is stored of every document: nothing is measured again."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.filter.decide import KEPT, checks, first_broken
from pipeline.filter.plan import MEASURED
from pipeline.filter.settings import FilterSettings, line_rules
from pipeline.records import Reason
from pipeline.runs import Folder, Manifest
from pipeline.stages import part_name

KEPT_NAME = "kept"


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
    total = WhatIf()
    for index in range(len(manifest.counted())):
        total = _add(total, _part(filtered, index, now, then, num_examples - len(total.examples)))
    return total


def _add(total: WhatIf, part: WhatIf) -> WhatIf:
    return WhatIf(
        total.now + part.now,
        total.then + part.then,
        total.words_now + part.words_now,
        total.words_then + part.words_then,
        total.num_going + part.num_going,
        total.num_coming + part.num_coming,
        total.examples + part.examples,
    )


def _part(folder: Folder, index: int, now: FilterSettings, then: FilterSettings, num_examples: int) -> WhatIf:
    measured = folder.read_table(f"{part_name(index, MEASURED)}.parquet")
    rejected = folder.read_table(f"{part_name(index)}.rejected.parquet", ["id", "reason"])
    contaminated = rejected.filter(pc.equal(rejected["reason"], str(Reason.CONTAMINATED)))["id"]
    is_contaminated = pc.is_in(measured["id"], value_set=contaminated.combine_chunks()).to_numpy()
    verdicts = [_Verdicts(measured, settings, is_contaminated) for settings in (now, then)]
    before, after = (one.names for one in verdicts)
    words = measured["num_words"].to_numpy()
    kept_before, kept_after = before == KEPT_NAME, after == KEPT_NAME
    moved = np.flatnonzero(before != after)[: max(num_examples, 0)]
    return WhatIf(
        Counter(before.tolist()),
        Counter(after.tolist()),
        int(words[kept_before].sum()),
        int(words[kept_after].sum()),
        int((kept_before & ~kept_after).sum()),
        int((~kept_before & kept_after).sum()),
        tuple(_moved(measured, row, *verdicts) for row in moved.tolist()),
    )


class _Verdicts:
    """What becomes of each document by some settings: "kept", or the reason."""

    def __init__(self, measured: pa.Table, settings: FilterSettings, is_contaminated: Any) -> None:
        self._checks = checks(measured, settings)
        self._places = first_broken(self._checks, measured.num_rows)
        reasons = [str(check.reason) for check in self._checks]
        names = np.array([*reasons, KEPT_NAME], object)[self._places]
        names[(self._places == KEPT) & is_contaminated] = str(Reason.CONTAMINATED)
        self.names = names

    def value(self, row: int) -> str:
        place = self._places[row]
        return "" if place == KEPT else self._checks[place].value(row)


def _moved(measured: pa.Table, row: int, now: _Verdicts, then: _Verdicts) -> Moved:
    return Moved(
        id=measured["id"][row].as_py(),
        url=measured["url"][row].as_py(),
        now=now.names[row],
        then=then.names[row],
        value=then.value(row) or now.value(row),
    )


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
