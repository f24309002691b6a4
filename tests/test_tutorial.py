"""The tutorial's commands, in order and as they are printed, and what it says of what they give."""

import io
import json
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.command import webtext
from tests.documented import ROOT
from tests.tutorial_web import served_months
from webtext.cli import main
from webtext.settings import Settings

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
BLOCKS = re.findall(r"(?ms)^```(\w+)\n(.*?)^```", TUTORIAL)
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
SETTINGS = next(block for kind, block in BLOCKS if kind == "toml")
RUN = "runs/webtext"


@dataclass(slots=True)
class Followed:
    """What each command printed, by its own text; the last time for one that is printed twice."""

    folder: Path
    output: dict[str, str] = field(default_factory=dict)
    removed: str = ""
    """The page that was taken out."""

    def of(self, start: str) -> str:
        """The output of the one command that begins so."""
        (command,) = [command for command in self.output if command.startswith(start)]
        return self.output[command]


def type_in(command: str, patch: pytest.MonkeyPatch) -> str:
    """Runs a command to its end, in this process, where it need not load everything anew."""
    patch.setattr(sys, "argv", shlex.split(command))
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed), pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, f"{command}\n{printed.getvalue()}"
    return printed.getvalue()


def look_into(command: str) -> str:
    """Opens the inspector's pages that the tutorial names, and ends it as a reader does."""
    words = [sys.executable, "-m", *shlex.split(command)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip().rstrip("/")
            pages = ""
            for place in ("", "samples", "clusters", "rejected"):
                with urlopen(f"{address}/{place}", timeout=30) as answer:  # noqa: S310 - our own server
                    pages += answer.read().decode()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
    return pages


def settings_with(resolve: dict[str, str]) -> str:
    """The tutorial's settings as printed, but for where hosts are, and with a few steps of training."""
    hosts = ", ".join(f'"{host}" = "{address}"' for host, address in resolve.items())
    crawl = (
        f"[fetch]\nresolve = {{{hosts}}}\ndelay_s = 0.02\ntries = 1\ntimeout_s = 4.0\nmax_crawl_delay_s = 2.0"
    )
    text = SETTINGS.replace("[fetch]", crawl)
    return re.sub(r"(?m)^steps = .*", 'steps = 6\ndevice = "cpu"', text)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Followed]:  # noqa: ARG001
    """The tutorial, followed to its end."""
    done = Followed(tmp_path_factory.mktemp("tutorial"))
    with served_months(done.folder) as server, pytest.MonkeyPatch.context() as patch:
        patch.chdir(done.folder)
        patch.setattr("webtext.planning._CALIBRATION_S", 0.1)
        for command in COMMANDS:
            looks = command.startswith("webtext inspect ")
            done.output[command] = look_into(command) if looks else type_in(command, patch)
            if command.startswith("webtext init "):
                Path("webtext.toml").write_text(settings_with(server.resolve), "utf-8")
            if command.startswith("webtext inspect-shard ") and not done.removed:
                done.removed = re.findall(r"(?m)^URL +(\S+)", done.output[command])[0]
                Path("takedown.txt").write_text(f"{done.removed}\n", "utf-8")
        yield done


def test_all_of_it_was_run(followed: Followed) -> None:
    assert len(COMMANDS) > 20
    assert followed.output.keys() == set(COMMANDS)
    assert all(command.startswith("webtext ") for command in COMMANDS)


def stages(followed: Followed, run: str) -> dict[str, dict[str, Any]]:
    answer = webtext("status", run, "--json", cwd=followed.folder)
    found: dict[str, dict[str, Any]] = json.loads(answer.stdout)["stages"]
    return found


def test_the_plan_has_the_tables_that_are_explained(followed: Followed) -> None:
    printed = followed.of("webtext plan")
    for name in ("records", "links by karma", "what dominates the schedule", "time of a core"):
        assert f"\n{name}\n" in printed
    for line in (
        "counted: the sample is everything",
        "without the 10 longest domains",
        "at most 1,000 links a domain",
    ):
        assert line in printed


def test_what_comes_in_is_kept_or_rejected_by_reason(followed: Followed) -> None:
    stages = json.loads(webtext("status", RUN, "--json", cwd=followed.folder).stdout)["stages"]
    for stage in stages.values():
        assert stage["in"] == stage["kept"] + sum(stage["rejected"].values())
    assert {"self_post", "media_domain", "reddit_media"} <= stages["collect"]["rejected"].keys()
    assert stages["link"]["rejected"].keys() == {"same_link", "low_karma"}
    links = followed.of("webtext build webtext.toml --until link")
    assert re.search(r"✓ collect +\d+ of \d+ kept", links)
    assert re.search(r"max: the best submission's +\d+", links)
    assert re.search(r"failed: .*\d", followed.of("webtext status"))


def test_the_extractors_and_the_filters_are_compared(followed: Followed) -> None:
    assert re.search(r"trafilatura +trafilatura-fast +resiliparse", followed.of("webtext extract-audit"))
    assert re.search(r"(?m)^kept +\d", followed.of("webtext try-filters"))


def test_the_corpus_and_its_tokens_can_be_looked_at(followed: Followed) -> None:
    assert "<html" in followed.of("webtext inspect ")
    assert re.search(r"ids used once +[\d,]+ \(", followed.of("webtext tokenizer show"))
    assert re.search(r"vocabulary of 8,197", followed.of("webtext inspect-shard"))
    assert "every checksum, count and reference is right" in followed.of("webtext verify")


def test_the_model_is_trained_sampled_evaluated_and_exported(followed: Followed) -> None:
    assert re.search(
        r"validation loss [\d.]+ after 6 of 6 steps, 6,144 tokens", followed.of("webtext pretrain")
    )
    assert followed.of("webtext generate").count("sample") >= 2
    results = json.loads((followed.folder / "evaluation" / "results.json").read_text("utf-8"))
    assert results[0]["task"] == "lambada"
    assert (followed.folder / "evaluation" / "results.md").is_file()
    assert (followed.folder / "gpt2-webtext" / "model.safetensors").is_file()


def test_the_page_that_was_taken_out_is_gone(followed: Followed) -> None:
    assert "1 asked for" in followed.of("webtext remove runs/webtext --urls takedown.txt --dry-run")
    assert followed.removed not in followed.of("webtext inspect-shard")
    assert not (followed.folder / RUN / "report" / "index.html").exists()
    assert stages(followed, RUN)["collect"]["rejected"]["opt_out"] >= 1


def test_the_next_month_says_nothing_again(followed: Followed) -> None:
    dedupe = stages(followed, "runs/2020-01")["dedupe"]
    assert 0 < dedupe["kept"] < dedupe["in"]
    assert dedupe["rejected"].keys() & {"exact_duplicate", "near_duplicate"}


def test_all_settings_that_are_printed_are_settings() -> None:
    for kind, block in BLOCKS:
        if kind == "toml":
            Settings.model_validate(tomllib.loads(block))
    for name in re.findall(r"`((?:collect|link|extract)\.\w+)", TUTORIAL):
        section, setting = name.split(".")
        assert setting in Settings.model_fields[section].annotation.model_fields, name  # type: ignore[union-attr]
