"""A run's status: from manifests and sidecars, and as the table that people see."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.errors import InputError
from pipeline.runs import Counts, Folder, PartWriter, read_manifest, read_sidecar
from pipeline.status import Status, byte_size, read_status, waterfall
from tests.synthetic_run import write_run

KEYS = {"in", "kept", "rejected", "parts", "parts_done", "bytes", "seconds"}
STAGES = ["collect", "link", "fetch", "extract", "filter", "dedupe", "shard"]


def test_a_finished_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    value = read_status(run).to_json()
    assert list(value) == ["run", "stages", "tokenizer"]
    assert value["run"] == run.uri
    assert list(value["stages"]) == STAGES
    before = None
    for name, stage in value["stages"].items():
        assert set(stage) == KEYS
        assert stage["in"] == stage["kept"] + sum(stage["rejected"].values())
        assert stage["parts"] == stage["parts_done"] == (3 if name == "dedupe" else 2)
        assert before in (None, stage["in"]), name
        before = stage["kept"]
    pages = value["stages"]["fetch"]
    assert pages["seconds"] == 60.5
    files = [p for p in Path(run.path("pages")).iterdir() if p.suffix != ".json"]
    assert pages["bytes"] == sum(p.stat().st_size for p in files)
    manifest = read_manifest(run / "tokenizer")
    assert manifest is not None
    assert value["tokenizer"] == {
        "vocab_size": 257,
        "documents": value["stages"]["dedupe"]["kept"],
        "digest": manifest.parts[0].file("tokenizer.json").sha256,
    }


def test_a_stage_not_begun_has_zeros(tmp_path: Path) -> None:
    value = read_status(write_run(tmp_path / "run", upto="link")).to_json()
    zeros = {"in": 0, "kept": 0, "rejected": {}, "parts": 0, "parts_done": 0, "bytes": 0, "seconds": 0}
    assert value["stages"]["fetch"] == zeros
    assert value["tokenizer"] is None


def test_a_stage_at_work_counts_the_parts_that_are_done(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link")
    pages = run / "pages"
    pages.write("plan.json", b'{"parts": ["part-00000", "part-00001", "sizes-00000"]}')
    writer = PartWriter(pages, "part-00001", "x")
    with writer.open("warc.gz") as sink:
        sink.write(b"12345")
    writer.commit(Counts(9, 7, {"dns": 2}), seconds=2.5)
    PartWriter(pages, "sizes-00000", "x").commit(None, seconds=1.0)
    PartWriter(pages, "part-00009", "of other settings").commit(Counts(5, 5), seconds=1.0)
    pages.write("part-00000.json", b"torn")
    status = read_status(run)
    assert status.stages["fetch"].to_json() == {
        "in": 9,
        "kept": 7,
        "rejected": {"dns": 2},
        "parts": 3,
        "parts_done": 2,
        "bytes": 5,
        "seconds": 3.5,
    }
    assert "2/3 parts" in _plain(status)
    assert read_sidecar(pages, "part-00001") is not None  # looking changes nothing


def _plain(status: Status) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80).print(waterfall(status))
    return stream.getvalue()


def test_the_waterfall_says_units_reasons_and_shares(tmp_path: Path) -> None:
    status = read_status(write_run(tmp_path / "run", num_links=2000))
    text = _plain(status)
    assert "\x1b" not in text
    collect = status.stages["collect"].counts
    assert f"{collect.num_in:,}" in text
    assert f"{collect.kept:,}" in text
    assert re.search(r"posts +submissions", text)
    assert "25.0 %" in text
    assert "…" not in text  # it fits a terminal of 80 columns
    assert "self_post" in text
    assert "near_duplicate" in text
    assert "trained on" in text
    assert text.index("self_post") < text.index("media_domain") < text.index("malformed")


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run here.*webtext build"):
        read_status(Folder(str(tmp_path)))


def test_a_damaged_manifest(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link")
    Path(run.path("links/manifest.json")).write_bytes(b"{}")
    with pytest.raises(InputError, match="damaged"):
        read_status(run)


def test_the_import_is_light() -> None:
    code = (
        "import sys, pipeline.status; "
        "print({'apache_beam', 'duckdb', 'altair', 'rich', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_sizes_in_bytes() -> None:
    assert [byte_size(n) for n in (0, 999, 1000, 12_345_678)] == ["0 bytes", "999 bytes", "1.0 kB", "12.3 MB"]
