"""What a stage's pipeline may rely on, whichever workers the local runner has."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam

from pipeline.beam import run
from pipeline.config import LinkSettings
from pipeline.runs import Folder
from pipeline.stages import BY_NAME, Job, Plan, Planned

NUM, A_PART = 200_000, 1_000


class Change(NamedTuple):
    """As extract sends one for each document that another's page is."""

    id: str
    survivor: str


class Settle(beam.PTransform):  # type: ignore[misc]
    """One element becomes very many, gathered by part."""

    def __init__(self, folder: Folder) -> None:
        super().__init__()
        self._folder = folder

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """As many changes as take seconds to send, and what becomes of them."""
        changes = pbegin | "One" >> beam.Create([NUM], reshuffle=False) | beam.FlatMap(changes_of)
        parts = [(index, index) for index in range(NUM // A_PART)]
        gathered = {"parts": pbegin | "Parts" >> beam.Create(parts, reshuffle=False), "changes": changes}
        return gathered | beam.CoGroupByKey() | "Write" >> beam.Map(write, self._folder)


def changes_of(num: int) -> Iterator[tuple[int, Change]]:
    for number in range(num):
        yield number // A_PART, Change(f"{number:032x}", "0" * 32)


def write(gathered: tuple[int, Mapping[str, Iterable[Any]]], folder: Folder) -> None:
    part, found = gathered
    changes = sorted(found["changes"])
    expected = [(f"{number:032x}", "0" * 32) for number in range(part * A_PART, (part + 1) * A_PART)]
    folder.write(f"{part}", b"right" if changes == expected else b"wrong")


def test_what_threads_put_out_arrives_whole(tmp_path: Path) -> None:
    """It takes seconds, at each of which the runner would send on what there is, halves of elements too."""
    folder = Folder(str(tmp_path / "written"))
    job = Job(BY_NAME["link"], Folder(str(tmp_path / "run")), LinkSettings(), {})
    plan = Plan((Planned("a", "a"), Planned("b", "b")), waits=True)
    run(Settle(folder), job=job, plan=plan, options=[])
    assert {name: folder.read(name) for name in folder.sizes()} == {
        f"{part}": b"right" for part in range(NUM // A_PART)
    }
