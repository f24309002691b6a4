"""Prism, a process of its own, as the engine: the same bytes, the same errors, and nothing left behind."""

import subprocess
from pathlib import Path

from tests.command import webtext
from tests.engines.packages import prism
from tests.engines.redone import digests, undone


def build_on_prism(folder: Path) -> subprocess.CompletedProcess[str]:
    options = ["--runner=PrismRunner", f"--prism_location={prism()}", "--environment_type=LOOPBACK"]
    return webtext("build", "webtext.toml", "--until", "dedupe", "--", *options, cwd=folder)


def running() -> list[str]:
    """The processes that are Prism's."""
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(path.read_bytes().split(b"\0")[0].decode(errors="replace"))
        except OSError:  # it has ended
            continue
    return [command for command in commands if command == str(prism())]


def test_link_extract_and_dedupe_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    copy = undone(built, tmp_path)
    answer = build_on_prism(copy)
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr
    assert digests(copy) == digests(built)
    assert webtext("verify", "run", cwd=copy).returncode == 0
    assert not running()


def test_an_error_is_told_as_by_the_local_runner(built: Path, tmp_path: Path) -> None:
    copy = undone(built, tmp_path)
    damaged = copy / "run" / "submissions" / "part-00000.parquet"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    here = webtext("build", "webtext.toml", "--until", "link", cwd=copy)
    there = build_on_prism(copy)
    assert here.returncode == there.returncode != 0
    assert here.stderr.startswith(f"error: {damaged}: its bytes have changed since they were written")
    assert (
        here.stderr in there.stderr
    )  # Beam's worker, in the build's own process, says more before and after
    assert not running()
