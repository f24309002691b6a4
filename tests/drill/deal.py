"""Which faults strike, in which order, and when: dealt by the seed alone, before the first of them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.stages import STAGES
from tests.drill import faults
from tests.drill.faults import Fault
from tests.drill.process import Moment
from tests.drill.web import Mode

_IN_BEAM = ("link", "extract", "filter", "dedupe", "shard")  # whose work may be in processes
_WITH_CHILDREN = ("fetch", "extract")

KILLS: dict[str, Fault] = {
    "kill -9, all": faults.kill_all,
    "kill -9, the build alone": faults.kill_main,
    "kill -9, a child": faults.kill_child,
}
OTHERS: dict[str, Fault] = {
    "SIGTERM": faults.terminate,
    "Ctrl-C": faults.interrupt,
    "a second build": faults.second_build,
    "disk full": faults.full_disk,
    "read-only on the way": faults.unwritable,
    "read-only from the start": faults.unwritable_from_the_start,
    "too few file handles": faults.few_files,
    "a bit flipped, unnoticed": faults.flipped_bit,
    "a bit flipped, verified": faults.flipped_bit_verified,
    "another clock": faults.other_clock,
    "halves left over": faults.leftovers,
}
NETWORK: dict[str, Fault] = {
    f"web: {mode.value}": faults.failing_web(mode) for mode in Mode if mode is not Mode.HONEST
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """How long the drill is: pages of the web, faults of each stage, and of the network while it fetches."""

    pages: int
    kills_a_stage: int
    others_a_stage: int
    network: int
    stages: tuple[str, ...] = tuple(stage.name for stage in STAGES)


class Round(NamedTuple):
    """One fault: its name, what it does, when, and the seed of all that it does by chance."""

    name: str
    fault: Fault
    moment: Moment
    seed: str


def deal(wanted: Wanted, seed: int) -> list[Round]:
    """All rounds: the same for the same drill and seed, whatever becomes of any of them."""
    chance = random.Random(seed)
    others = _one_as_often_as_another(chance)
    rounds: list[Round] = []
    for stage in wanted.stages:
        for name, fault in _of_stage(stage, wanted, chance, others):
            rounds.append(Round(name, fault, _moment(stage, chance), f"{seed} {len(rounds)}"))
    return rounds


def _of_stage(
    stage: str, wanted: Wanted, chance: random.Random, others: Iterator[tuple[str, Fault]]
) -> list[tuple[str, Fault]]:
    """The faults of a stage, in their order."""
    chosen = [
        *chance.choices(
            list(KILLS.items()),
            weights=[3, 1, 2 if stage in _WITH_CHILDREN else 0],
            k=wanted.kills_a_stage,
        ),
        *(next(others) for _ in range(wanted.others_a_stage)),
    ]
    chance.shuffle(chosen)
    if stage == "fetch":  # at its end: a network that fails has soon failed for all links
        network = list(NETWORK.items())
        chance.shuffle(network)
        chosen += [network[number % len(network)] for number in range(wanted.network)]
    return chosen


def _one_as_often_as_another(chance: random.Random) -> Iterator[tuple[str, Fault]]:
    while True:
        every = list(OTHERS.items())
        chance.shuffle(every)
        yield from every


def _moment(stage: str, chance: random.Random) -> Moment:
    in_processes = stage in _IN_BEAM and chance.random() < 0.3
    later_s = chance.choice([0, 0, 0.05, 0.3])
    return Moment(stage, chance.uniform(0, 0.6), later_s, in_processes)
