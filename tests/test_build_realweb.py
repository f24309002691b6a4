"""The whole way over real pages: what a right run makes of them, and that a kill changes nothing."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from pipeline.stages import STAGES
from pipeline.urls import parse
from tests.command import start_build, webtext
from tests.real_pages import SETTINGS


def digests(run: Path) -> dict[str, str]:
    """Every file of a run but the sidecars, which tell times, and the settings, which tell paths."""
    files = [path for path in run.rglob("*") if path.is_file() and path.name not in (".lock", "webtext.toml")]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not re.fullmatch(r"[a-z]+(-\d{5})?\.json", path.name) or path.name == "manifest.json"
    }


@pytest.fixture(scope="module")
def built(real_built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over the real pages, in the folder of its settings file."""
    folder = tmp_path_factory.mktemp("realweb") / "copy"
    shutil.copytree(real_built, folder)
    return folder


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, object]]:
    from tests.conftest import SHARED

    pages = json.loads((SHARED / "realweb" / "expected.json").read_text("utf-8"))["pages"]
    return {url: facts for url, facts in pages.items() if facts["max"] >= 3}


def corpus(built: Path) -> dict[str, tuple[str, int, list[str]]]:
    parts = str(built / "run" / "corpus" / "part-*[0-9].parquet")
    rows = duckdb.read_parquet(parts).select("url, text, karma, submissions").fetchall()
    found = {}
    for url, *rest in rows:
        parsed = parse(url)
        assert parsed is not None
        found[parsed.canonical] = tuple(rest)
    return found


def test_exactly_the_expected_pages_come_out(built: Path, expected: dict[str, dict[str, object]]) -> None:
    found = corpus(built)
    wanted = {url.canonical: facts for page, facts in expected.items() if (url := parse(page))}
    assert found.keys() == wanted.keys()
    for canonical, (_, karma, submissions) in found.items():
        assert karma == wanted[canonical]["max"]
        assert sorted(submissions) == sorted(wanted[canonical]["submissions"])  # type: ignore[call-overload]


def test_text_agrees_with_the_gold(built: Path, realdata: Path) -> None:
    """Word-level F1: words as multisets, the mean over pages."""
    gold = json.loads((realdata / "realweb" / "gold.json").read_text("utf-8"))
    by_canonical = {url.canonical: text for page, text in gold.items() if (url := parse(page))}
    scores = []
    for canonical, (text, _, _) in corpus(built).items():
        ours, theirs = Counter(re.findall(r"\w+", text)), Counter(re.findall(r"\w+", by_canonical[canonical]))
        scores.append(2 * (ours & theirs).total() / (ours.total() + theirs.total()))
    assert sum(scores) / len(scores) >= 0.95


def test_status_reconciles(built: Path) -> None:
    answer = webtext("status", "run", "--json", cwd=built)
    stages = json.loads(answer.stdout)["stages"]
    assert list(stages) == ["collect", "link", "fetch", "extract", "filter", "dedupe", "shard"]
    before = None
    for name, stage in stages.items():
        assert set(stage) == {"in", "kept", "rejected", "parts", "parts_done", "bytes", "seconds"}
        assert stage["in"] == stage["kept"] + sum(stage["rejected"].values()), name
        assert stage["parts"] == stage["parts_done"] > 0
        assert before is None or stage["in"] == before
        before = stage["kept"]
    assert stages["collect"]["in"] == 221


def test_nothing_private_promoted_or_removed_gets_through(built: Path, realdata: Path) -> None:
    dropped = json.loads((realdata / "realweb" / "expected.json").read_text("utf-8"))["dropped"]
    ids = {one for ids in dropped.values() for one in ids}
    parts = str(built / "run" / "links" / "part-*[0-9].parquet")
    linked = duckdb.read_parquet(parts).select("unnest(submissions).id").fetchall()
    assert linked
    assert not {row[0] for row in linked} & ids


def test_verify_finds_nothing_wrong(built: Path) -> None:
    answer = webtext("verify", "run", cwd=built)
    assert answer.returncode == 0, answer.stdout


def test_building_again_does_nothing(built: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (built / "run").rglob("manifest.json")}
    answer = webtext("build", "webtext.toml", cwd=built)
    assert answer.returncode == 0, answer.stderr
    assert before == {path: path.stat().st_mtime_ns for path in (built / "run").rglob("manifest.json")}


def test_settings_that_a_kill_left_half_written_go(built: Path) -> None:
    half = built / "run" / f"webtext.toml.{'0' * 32}.tmp"
    half.write_bytes(b"[collect]\ndum")
    answer = webtext("build", "webtext.toml", cwd=built)
    assert answer.returncode == 0, answer.stderr
    assert not half.exists()


def test_force_and_until(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "copy")
    copy = tmp_path / "copy"
    stat = (copy / "run" / "filtered" / "manifest.json").stat().st_mtime_ns
    answer = webtext("build", "webtext.toml", "--force", "filter", "--until", "filter", cwd=copy)
    assert answer.returncode == 0, answer.stderr
    assert (copy / "run" / "filtered" / "manifest.json").stat().st_mtime_ns > stat
    assert digests(copy / "run") == digests(built / "run")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["filter.min_wrds=1"], "filter.min_wrds: unknown; did you mean min_words?"),
        (["filter.min_words=many"], "filter.min_words: Input should be a valid integer"),
        (["filter.min_words"], "sets nothing: give NAME=VALUE"),
        (["filter.min_words.x=1"], "min_words is a setting, and no section"),
        (["extract.deadline_s=1"], "only settings of [filter] can be tried"),
    ],
)
def test_what_cannot_be_tried(built: Path, values: list[str], message: str) -> None:
    options = [one for value in values for one in ("--set", value)]
    answer = webtext("try-filters", "run", *options, cwd=built)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_another_extractor_fetches_nothing_again(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "copy")
    copy = tmp_path / "copy"
    settings = copy / "webtext.toml"
    settings.write_text(settings.read_text() + '[extract]\nextractor = "resiliparse"\n')
    pages = {path: path.stat().st_mtime_ns for path in (copy / "run" / "pages").iterdir()}
    answer = webtext("build", "webtext.toml", "--until", "extract", cwd=copy)
    assert answer.returncode == 0, answer.stderr
    assert pages == {path: path.stat().st_mtime_ns for path in (copy / "run" / "pages").iterdir()}
    parts = str(copy / "run" / "documents" / "part-*[0-9].parquet")
    extractors = duckdb.read_parquet(parts).select("extractor").distinct().fetchall()
    assert len(extractors) == 1
    assert extractors[0][0].startswith("resiliparse ")


def test_other_settings_redo_what_depends_on_them(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "copy")
    copy = tmp_path / "copy"
    tried = webtext("try-filters", "run", "--set", "filter.min_words=150", "--json", cwd=copy)
    assert tried.returncode == 0, tried.stderr
    found = json.loads(tried.stdout)
    shown = webtext("try-filters", "run", "--set", "filter.min_words=150", cwd=copy).stdout
    assert f"{found['going']} documents would go, 0 would come" in shown
    assert "kept → too_short" in shown
    settings = copy / "webtext.toml"
    settings.write_text(settings.read_text().replace("[filter]\n", "[filter]\nmin_words = 150\n"))
    pages = (copy / "run" / "pages" / "manifest.json").stat().st_mtime_ns
    answer = webtext("build", "webtext.toml", cwd=copy)
    assert answer.returncode == 0, answer.stderr
    assert (copy / "run" / "pages" / "manifest.json").stat().st_mtime_ns == pages
    stages = json.loads(webtext("status", "run", "--json", cwd=copy).stdout)["stages"]
    assert stages["filter"]["rejected"]["too_short"] > 2
    assert found["then"] == {"kept": stages["filter"]["kept"], **stages["filter"]["rejected"]}
    assert stages["dedupe"]["in"] == stages["filter"]["kept"]
    assert webtext("verify", "run", cwd=copy).returncode == 0


def test_input_files_may_move(built: Path, tmp_path: Path, realdata: Path) -> None:
    """Content counts, and not where it lies: nothing is done again, and no file tells the old place."""
    shutil.copytree(built, tmp_path / "copy")
    copy = tmp_path / "copy"
    shutil.copytree(realdata / "realweb", tmp_path / "elsewhere")
    (copy / "webtext.toml").write_text(SETTINGS.format(realweb=tmp_path / "elsewhere"))
    answer = webtext("build", "webtext.toml", cwd=copy)
    assert answer.returncode == 0, answer.stderr
    manifests = sorted((copy / "run").rglob("manifest.json"))
    assert [path.stat().st_mtime_ns for path in manifests] == [
        (built / path.relative_to(copy)).stat().st_mtime_ns for path in manifests
    ]
    files = [path for path in (copy / "run").rglob("*") if path.is_file() and path.name != "webtext.toml"]
    assert not [path for path in files if str(realdata).encode() in path.read_bytes()]


@pytest.mark.parametrize("seed", range(2))
def test_killed_in_every_stage_it_ends_with_the_same_bytes(built: Path, tmp_path: Path, seed: int) -> None:
    """A kill -9 of the whole process group as each stage begins to write, a moment later by the seed."""
    shutil.copy(built / "webtext.toml", tmp_path)
    moments = random.Random(seed)
    num_killed = 0
    for stage in STAGES:
        process = start_build(tmp_path)
        while process.poll() is None and not (tmp_path / "run" / stage.folder).exists():
            time.sleep(0.005)
        time.sleep(moments.choice([0, 0.05, 0.5, 1.0]))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            num_killed += 1
        process.wait()
    assert num_killed >= 4
    answer = webtext("build", "webtext.toml", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert digests(tmp_path / "run") == digests(built / "run")
    assert webtext("verify", "run", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "name",
    ["pages/part-00001.warc.gz", "corpus/part-00000.parquet", "links/part-00001.json", "shards/train-*.bin"],
)
def test_damage_is_found_and_mended_as_verify_says(built: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(built, tmp_path / "copy")
    copy = tmp_path / "copy"
    file = next((copy / "run").glob(name))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    found = webtext("verify", "run", cwd=copy)
    assert found.returncode == 1
    assert f"run/{file.relative_to(copy / 'run')}" in found.stdout
    assert "delete it" in found.stdout
    file.unlink()
    assert webtext("build", "webtext.toml", cwd=copy).returncode == 0
    assert webtext("verify", "run", cwd=copy).returncode == 0
    assert digests(copy / "run") == digests(built / "run")


def test_a_second_build_in_the_same_directory_is_refused(built: Path) -> None:
    import fcntl

    with (built / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = webtext("build", "webtext.toml", cwd=built)
    assert answer.returncode == 1
    assert "another build is at work" in answer.stderr
