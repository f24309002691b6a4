"""The drill (docs/drill.md), short: a small web, and a few faults of every kind."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.drill.process import Ended
from tests.drill.words import complaints, not_stopped

SHORT = {"seed": "11", "pages": "80", "kills": "1", "others": "2", "network": "1"}


def test_everything_fails_and_nothing_is_lost() -> None:
    options = [word for name, value in SHORT.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "tests.drill", *options]
    answer = subprocess.run(
        [*command, "--stages", "fetch", "dedupe"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "all survived" in answer.stdout


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (1, "Traceback (most recent call last):\nerror: run it again"),
        (1, "error: something is wrong"),
        (1, "error: No space left on device: run it again"),
        (1, "error: Too many open files: run it again"),
        (3, ""),
        (-11, ""),
    ],
)
def test_the_rule_of_how_a_build_may_end_has_teeth(status: int, said: str) -> None:
    assert complaints(Ended(status, said))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "done"),
        (130, "stopped; the same command goes on from what is there"),
        (-9, ""),
        (1, "error: fetch stopped: No space left on device. Make room, and run the same command again"),
    ],
)
def test_and_lets_pass_what_is_right(status: int, said: str) -> None:
    assert not complaints(Ended(status, said))


def test_a_ctrl_c_stops_and_nothing_else() -> None:
    assert [status for status in (0, 1, 2, 130, -2, -9) if not not_stopped(Ended(status, ""))] == [130, -2]
