"""The drill (docs/drill.md): a short one, and that its rules have teeth."""

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.runs import Counts, File, Folder, Part, write_sidecar
from tests.drill.deal import KILLS, NETWORK, OTHERS, Wanted, deal
from tests.drill.disk import Disk
from tests.drill.process import Ended
from tests.drill.scene import Scene
from tests.drill.table import IN_BETWEEN, THE_END, Line, never_struck
from tests.drill.web import Web
from tests.drill.words import complaints, not_stopped

SHORT = {"seed": "11", "pages": "80", "kills": "2", "others": "2", "network": "1"}


def test_nothing_is_lost_where_faults_strike_two_stages() -> None:
    """Of the faults those that the seed deals: nine rounds have no room for every kind."""
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


def test_a_seed_deals_the_same_rounds_again_and_every_kind_of_fault() -> None:
    wanted = Wanted(pages=2_000, kills_a_stage=7, others_a_stage=4, network=9)
    rounds = deal(wanted, 7)
    assert rounds == deal(wanted, 7)
    assert rounds != deal(wanted, 8)
    assert {one.name for one in rounds} == {*KILLS, *OTHERS, *NETWORK}
    assert len({one.seed for one in rounds}) == len(rounds)  # no round's luck hangs on what another drew


def test_a_fault_that_never_strikes_is_not_survived() -> None:
    lines = {
        IN_BETWEEN: Line(tried=9),
        THE_END: Line(),
        "a": Line(tried=4, struck=1),
        "b": Line(tried=3),
        "c": Line(tried=4),
        "d": Line(tried=4),
    }
    assert never_struck(lines, excused=["d"]) == {"c": "it was tried 4 times, and never struck"}


def test_nor_is_a_drill_in_which_nothing_strikes() -> None:
    lines = {IN_BETWEEN: Line(tried=9), "a": Line(tried=1), "b": Line(tried=1)}
    assert never_struck(lines) == {THE_END: "nothing struck at all"}


def test_a_ledger_of_which_a_bit_is_flipped_tells_of_no_page(tmp_path: Path) -> None:
    pages = Folder(str(tmp_path / "run" / "pages"))
    stream = io.BytesIO()
    pq.write_table(pa.table({"url": ["http://a.example/b?c"], "outcome": ["fetched"]}), stream)
    data, name = stream.getvalue(), "part-00000.ledger.parquet"
    pages.write(name, data)
    file = File(name, len(data), 1, hashlib.sha256(data).hexdigest())
    write_sidecar(pages, Part("part-00000", "f", Counts(1, 1, {}), (file,), {}, 0.0))
    (tmp_path / "run" / "pages" / "open").mkdir()
    scene = Scene(tmp_path, Web(""), Disk(tmp_path, is_mounted=False), tmp_path / "said.txt")
    scene.count_settled()
    assert scene.settled == {("a.example", "/b?c")}
    pages.write(name, bytes([*data[:10], data[10] ^ 1, *data[11:]]))
    scene.count_settled()
    assert scene.settled == set()
