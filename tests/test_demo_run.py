"""The demo as people run it, small."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from tests.command import webtext
from webtext.demo import run as demo_run
from webtext.demo.dump import FILE_NAME, write_dump
from webtext.demo.run import run_demo
from webtext.demo.site import MIN_PAGES, build_site

NUM_PAGES = 120


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo's folder, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    answer = webtext("demo", "--dir", "d", "--pages", str(NUM_PAGES), "--minutes", "0.2", cwd=folder)
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr
    return folder / "d", answer.stdout


def test_it_says_what_it_did_and_where_everything_is(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    for stage in ("collect", "link", "fetch", "extract", "filter", "dedupe", "tokenizer", "shard"):
        assert re.search(rf"✓ {stage} +[\d,]+ of [\d,]+ kept", printed), stage
    for place in ("report/index.html", "shards/", "checkpoints/"):
        assert place in printed
        assert (folder / "run" / place).exists()
    assert "low_karma" in printed


def test_every_sort_of_rejection_happens_in_it(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    answer = webtext("status", str(folder / "run"), "--json", cwd=folder)
    stages = json.loads(answer.stdout)["stages"]
    assert stages["link"]["rejected"].keys() >= {"low_karma", "same_link"}
    assert stages["fetch"]["rejected"].keys() >= {"robots", "http_4xx", "timeout", "redirect_loop", "noindex"}
    assert stages["extract"]["rejected"].keys() >= {"same_page", "too_short"}
    assert stages["filter"]["rejected"].keys() >= {"language", "wikipedia"}
    assert stages["dedupe"]["rejected"].keys() >= {"exact_duplicate", "near_duplicate"}
    for stage in stages.values():
        assert stage["in"] == stage["kept"] + sum(stage["rejected"].values())


def test_the_losses_went_down(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    for name in ("gpt2-tiny", "albert-tiny"):
        log = (folder / "run" / "checkpoints" / name / "log.jsonl").read_text().splitlines()
        losses = [json.loads(line)["loss"] for line in log]
        assert min(losses[1:]) < losses[0]  # how many there are depends on the machine


def test_the_commands_that_it_names_next_work(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    assert webtext("verify", str(folder / "run"), cwd=folder).returncode == 0
    report = webtext("report", str(folder / "run"), cwd=folder)
    assert report.returncode == 0, report.stderr
    generated = webtext(
        "generate", str(folder / "run" / "checkpoints" / "gpt2-tiny"), "--prompt", "The module", cwd=folder
    )
    assert generated.returncode == 0, generated.stderr
    assert generated.stdout.strip()
    filled = webtext(
        "generate",
        str(folder / "run" / "checkpoints" / "albert-tiny"),
        "--prompt",
        "The [MASK] is",
        cwd=folder,
    )
    assert filled.returncode == 0, filled.stderr
    assert "[MASK]" not in filled.stdout


def test_pretrain_goes_on_from_the_checkpoint(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    log = folder / "run" / "checkpoints" / "gpt2-tiny" / "log.jsonl"
    done = len(log.read_text().splitlines())
    settings = (folder / "webtext.toml").read_text("utf-8")
    (folder.parent / "more.toml").write_text(re.sub(r"(?m)^# max_minutes =$", "max_minutes = 0.02", settings))
    answer = webtext("pretrain", "more.toml", "--run", str(folder / "run"), cwd=folder.parent)
    assert answer.returncode == 0, answer.stderr
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > done


@pytest.mark.parametrize(("num_pages", "is_another"), [(MIN_PAGES, False), (MIN_PAGES + 1, True)])
def test_another_web_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_pages: int, is_another: bool
) -> None:
    for step in ("_build", "_train", "_conclude"):  # what is done in the run has tests above
        monkeypatch.setattr(demo_run, step, lambda *_: None)
    write_dump(build_site(MIN_PAGES), tmp_path / FILE_NAME)
    (tmp_path / "run" / "links").mkdir(parents=True)
    said = io.StringIO()
    run_demo(tmp_path, num_pages=num_pages, minutes=1, console=Console(file=said, width=200))
    assert ("another web" in said.getvalue()) is is_another
    assert (tmp_path / "run").exists() is not is_another


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "thesis.txt").write_text("mine")
    answer = webtext("demo", "--dir", "d", cwd=tmp_path)
    assert answer.returncode == 2
    assert "something else than a demo" in answer.stderr
