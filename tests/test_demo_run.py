"""The demo as people run it, small; and a build over its web that is killed again and again."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import start_build, webtext
from webtext.demo.dump import write_dump
from webtext.demo.run import demo_settings
from webtext.demo.server import Server, serve
from webtext.demo.site import build_site
from webtext.settings import render

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


def test_another_web_begins_anew(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = demo
    shutil.copytree(folder, tmp_path / "d")
    arguments = ("demo", "--dir", "d", "--minutes", "0.02", "--pages")
    again = webtext(*arguments, str(NUM_PAGES), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "another web" not in again.stdout
    other = webtext(*arguments, str(NUM_PAGES + 10), cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    assert "another web" in other.stdout


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "thesis.txt").write_text("mine")
    answer = webtext("demo", "--dir", "d", cwd=tmp_path)
    assert answer.returncode == 2
    assert "something else than a demo" in answer.stderr


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """The demo's web, and a folder with its dump."""
    folder = tmp_path_factory.mktemp("web")
    site = build_site(NUM_PAGES)
    write_dump(site, folder / "RS_2019-06.zst")
    with serve(site) as server:
        yield server, folder


def write_settings(server: Server, folder: Path) -> None:
    settings = demo_settings(server.resolve)
    link = settings.link.model_copy(update={"submissions_per_part": 30})
    tokenizer = settings.tokenizer.model_copy(update={"vocab_size": 1000})
    settings = settings.model_copy(update={"link": link, "tokenizer": tokenizer})
    text = render(settings).replace('dumps = ["', f'dumps = ["{folder.parent}/')
    (folder / "webtext.toml").write_text(text)


def shards(folder: Path) -> dict[str, str]:
    files = (folder / "run" / "shards").glob("[tv]*")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_crawl_that_is_killed_gives_the_same_shards_and_fetches_no_finished_part_again(
    web: tuple[Server, Path],
) -> None:
    server, folder = web
    undisturbed, killed = folder / "undisturbed", folder / "killed"
    for one in (undisturbed, killed):
        one.mkdir()
        write_settings(server, one)
    assert webtext("build", "webtext.toml", cwd=undisturbed).returncode == 0
    before = Counter((one.host, one.path) for one in server.accesses())
    moments = random.Random(1)
    pages = killed / "run" / "pages"
    finished: dict[str, bytes] = {}
    num_killed = 0
    for _ in range(6):
        process = start_build(killed)
        time.sleep(moments.uniform(2.0, 7.0))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            num_killed += 1
        process.wait()
        for name, data in finished.items():
            assert (pages / name).read_bytes() == data, "a finished part is left as it is"
        finished |= {path.name: path.read_bytes() for path in pages.glob("part-*.json")}
    assert num_killed
    assert webtext("build", "webtext.toml", cwd=killed).returncode == 0
    assert shards(killed) == shards(undisturbed)
    assert webtext("verify", "run", cwd=killed).returncode == 0
    after = Counter((one.host, one.path) for one in server.accesses()) - before
    for page, times in after.items():
        assert times <= (num_killed + 1) * before[page], f"{page}: once more a kill at the most"
