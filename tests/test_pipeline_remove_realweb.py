"""The command on a run of real pages, as people type it."""

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from pipeline.runs import Folder
from tests.command import webtext
from tests.removal_run import files_with


def documents(folder: Path) -> list[tuple[str, str, str, list[str]]]:
    """Id, URL, text and submissions of the corpus."""
    parts = str(folder / "run" / "corpus" / "part-*[0-9].parquet")
    return duckdb.read_parquet(parts).select("id, url, text, submissions").order("id").fetchall()


def test_real_pages_are_removed_and_stay_away(real_built: Path, tmp_path: Path) -> None:
    shutil.copytree(real_built, tmp_path / "copy")
    copy = tmp_path / "copy"
    chosen = documents(copy)[::24]
    for number, (name, url, _, submissions) in enumerate(chosen):
        entry, kind = [
            (url, "--urls"),
            (name, "--documents"),
            (f"t3_{submissions[0]}", "--submissions"),
        ][number % 3]
        (copy / "file.txt").write_text(f"{entry}\n")
        answer = webtext("remove", "run", kind, "file.txt", cwd=copy)
        assert answer.returncode == 0, answer.stderr
        assert "1 link with 1 document removed: 1 asked for" in answer.stdout
    run = Folder(str(copy / "run"))
    sentences = [max(text.splitlines(), key=len)[:60] for _, _, text, _ in chosen]
    assert files_with(Folder(str(real_built / "run")), *sentences)
    assert not files_with(run, *sentences, *(url for _, url, _, _ in chosen))
    assert webtext("verify", "run", cwd=copy).returncode == 0
    manifests = {path: path.stat().st_mtime_ns for path in (copy / "run").rglob("manifest.json")}
    assert webtext("build", "webtext.toml", cwd=copy).returncode == 0
    assert manifests == {path: path.stat().st_mtime_ns for path in (copy / "run").rglob("manifest.json")}
    settings = copy / "webtext.toml"
    other = '[extract]\nextractor = "trafilatura-fast"\n[filter]'
    settings.write_text(settings.read_text().replace("[filter]", other))
    assert webtext("build", "webtext.toml", cwd=copy).returncode == 0
    left = {name for name, *_ in documents(copy)}
    assert left == {name for name, *_ in documents(real_built)} - {name for name, *_ in chosen}
    assert not files_with(run, *sentences)
    assert webtext("verify", "run", cwd=copy).returncode == 0


def test_what_it_would_do(real_built: Path, tmp_path: Path) -> None:
    name, url, *_ = documents(real_built)[0]
    file = tmp_path / "urls.txt"
    file.write_text(f"{url}\nhttps://nowhere.example/page\n")
    answer = webtext("remove", "run", "--urls", str(file), "--dry-run", cwd=real_built)
    assert answer.returncode == 0, answer.stderr
    assert "1 link with 1 document would go" in answer.stdout
    assert "urls.txt, line 2" in answer.stdout
    told = json.loads(
        webtext("remove", "run", "--urls", str(file), "--dry-run", "--json", cwd=real_built).stdout
    )
    assert told["links"] == [{"id": name, "why": "asked", "of": None}]
    assert told["dry_run"] is True
    assert len(documents(real_built)) == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give one of --urls"),
        (["--urls", "a", "--domains", "b"], "give one of --urls"),
        (["--resume", "--urls", "a"], "give one of --urls"),
        (["--urls", "nothing-here"], "nothing-here is not a file"),
        (["--resume"], "no removal to go on with"),
    ],
)
def test_what_cannot_be_asked(real_built: Path, options: list[str], message: str) -> None:
    answer = webtext("remove", "run", *options, cwd=real_built)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
