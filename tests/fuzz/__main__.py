"""Fuzzes targets without end, or for so many inputs: ``python -m tests.fuzz NAME … [--cases N]``.

Where atheris is installed, inputs are led by the code that they reach; else they are drawn at random.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.mutation import PLAN_BYTES, mutated
from tests.fuzz.target import Target

_LED_THROUGH = ["model", "pipeline", "tokenizer", "webtext", "protego", "tomllib", "json", "warcio", "w3lib"]
_HOW_TO_INSTALL = (
    "atheris is not installed, so inputs are drawn at random, blind for what they reach. For better ones: "
    "python -m pip install atheris (Linux and macOS; not among the project's requirements)."
)


def main(arguments: Sequence[str]) -> None:
    """Fuzzes; what a target raises that it must not ends it, and the input is kept in a file."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description="Fuzzes parsers of foreign bytes.")
    parser.add_argument("names", nargs="+", metavar="NAME", help="all, or targets by name")
    parser.add_argument("--cases", type=int, default=100_000, help="inputs of each target")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    parser.add_argument("--blind", action="store_true", help="do without atheris")
    given = parser.parse_args(arguments)
    is_led = find_spec("atheris") is not None and not given.blind
    targets = _instrumented() if is_led else _targets()
    if unknown := set(given.names) - {"all", *targets}:
        parser.error(f"there is no target {', '.join(sorted(unknown))}: name some of {', '.join(targets)}")
    names = list(targets) if "all" in given.names else given.names
    if is_led:
        if len(names) > 1:
            parser.error("atheris takes one target at a time: name one, or give --blind")
        _by_coverage(targets[names[0]], given.cases, given.seed)
    if not given.blind:
        print(_HOW_TO_INSTALL, file=sys.stderr)
    for name in names:
        _at_random(targets[name], given.cases, given.seed)


def _targets() -> Mapping[str, Target]:
    from tests.fuzz.targets import TARGETS

    return TARGETS


def _instrumented() -> Mapping[str, Target]:
    """The targets, of whose code atheris sees which parts an input reaches."""
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    with atheris.instrument_imports(include=_LED_THROUGH):
        return _targets()


def _at_random(target: Target, num_cases: int, seed: int) -> None:
    draw, seeds = random.Random(f"{seed} {target.name}"), target.seeds()
    num_taken, slowest_s, begun = 0, 0.0, time.monotonic()
    for number in range(num_cases):
        data = mutated(draw.randbytes(PLAN_BYTES), seeds, target.pieces)
        started = time.process_time()
        try:
            num_taken += target.run(data)
        except BaseException:
            kept = Path(tempfile.gettempdir()) / f"{target.name}-{number}"
            kept.write_bytes(data)
            print(f"{target.name}: input {number} is kept in {kept}", file=sys.stderr)
            raise
        slowest_s = max(slowest_s, time.process_time() - started)
    print(
        f"{target.name}: {num_cases:,} inputs, {num_taken:,} taken, the slowest {slowest_s:.2f} s, all "
        f"{time.monotonic() - begun:.0f} s",
        flush=True,
    )


def _by_coverage(target: Target, num_cases: int, seed: int) -> None:
    """Ends the process, as atheris does."""
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    seeds = target.seeds()

    def mutate(data: bytes, most: int, number: int) -> bytes:
        """The fuzzer's own mutations and ours in turn."""
        if number % 2:
            return bytes(atheris.Mutate(data, most))
        plan = random.Random(number).randbytes(PLAN_BYTES)
        return mutated(plan, (data, *seeds), target.pieces)[:most]

    with tempfile.TemporaryDirectory() as corpus:
        for place, one in enumerate(seeds):
            (Path(corpus) / f"seed-{place}").write_bytes(one)
        options = [f"-runs={num_cases}", f"-seed={seed + 1}", "-max_len=100000", "-timeout=20", corpus]
        atheris.Setup([sys.argv[0], *options], target.run, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
