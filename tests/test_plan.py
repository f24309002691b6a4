"""``webtext plan``: held against finished runs over real pages; what it prints; and what it cannot plan."""

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.config import ModelSettings, TrainSettings
from pipeline.collect.dumps import read_lines, zstd
from pipeline.config import FetchSettings
from pipeline.errors import InputError
from pipeline.fetch.schedule import read_links_by_domain, schedule
from pipeline.forecast import calibration
from pipeline.forecast.constants import CONSTANTS
from pipeline.forecast.crawl import foresee_crawl
from pipeline.forecast.finished import read_constants, vocabulary_factor
from pipeline.forecast.links import Grouped, pool
from pipeline.forecast.ranges import Range
from pipeline.forecast.sample import sample_sources
from pipeline.link.opt_out import read_opt_outs
from pipeline.runs import Folder, read_manifest
from pipeline.stages import STAGES
from tests.command import webtext
from tests.conftest import SHARED
from tests.finished_run import came_to
from tests.synthetic_run import write_run
from webtext import planning
from webtext.plan_tables import to_json
from webtext.planning import UTILISATION, make_plan, work_of_training
from webtext.settings import load

WITHIN = 0.2


@pytest.fixture(scope="module")
def small(real_built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over every other line of the same dump: what a user tries before the whole."""
    folder = tmp_path_factory.mktemp("half")
    lines = [
        line for line in read_lines(str(SHARED / "realweb" / "RS_2019-12.zst")) if isinstance(line, bytes)
    ]
    (folder / "RS_2019-12.zst").write_bytes(zstd.compress(b"\n".join(lines[::2]) + b"\n"))
    text = (real_built / "webtext.toml").read_text()
    text = text.replace(str(SHARED / "realweb" / "RS_2019-12.zst"), "RS_2019-12.zst")
    (folder / "webtext.toml").write_text(text)
    answer = webtext("build", "webtext.toml", cwd=folder)
    assert answer.returncode == 0, answer.stderr
    return folder


def planned(folder: Path, like: Path | None = None) -> Any:
    """The plan of a folder's settings, as ``--json`` prints it."""
    found = make_plan(
        load(folder / "webtext.toml"),
        like=None if like is None else str(like),
        machines=1,
        gpus=("H100", "RTX 4090"),
        seconds=0.2,
    )
    return json.loads(json.dumps(to_json(found)))


@pytest.fixture(scope="module")
def foreseen(real_built: Path, small: Path) -> Any:
    """The plan of the whole, by what half of it has measured."""
    return planned(real_built, small / "run")


def test_a_finished_run_is_foreseen_within_a_fifth(real_built: Path, foreseen: Any) -> None:
    for section, numbers in came_to(real_built / "run").items():
        for name, number in numbers.items():
            assert foreseen[section][name]["likely"] == pytest.approx(number, rel=WITHIN), (section, name)
            assert foreseen[section][name]["low"] <= number <= foreseen[section][name]["high"], name


def test_what_the_dump_tells_is_exact(real_built: Path, foreseen: Any) -> None:
    records = came_to(real_built / "run")["records"]
    for name in ("posts", "submissions", "links"):
        one = foreseen["records"][name]
        assert one["low"] == one["likely"] == one["high"] == records[name], name
    link = read_manifest(Folder(str(real_built / "run" / "links")))
    assert link is not None
    for karma in ("max", "sum"):
        foretold = {least: one["likely"] for least, one in foreseen["links_by_karma"][karma].items()}
        assert foretold == link.facts[f"links_by_{karma}"]


def test_constants_alone_enclose_what_was_fetched(real_built: Path) -> None:
    """Nothing is known beforehand. What filters keep is no test: these pages are hand-picked articles."""
    alone, numbers = planned(real_built), came_to(real_built / "run")
    for section, name in (("records", "pages"), ("bytes", "collect"), ("bytes", "link"), ("bytes", "fetch")):
        one = alone[section][name]
        assert one["low"] <= numbers[section][name] <= one["high"], name
    assert alone["fetching"] is None  # fetch.source = "warc"


def test_the_schedule_is_that_of_the_links(real_built: Path) -> None:
    """The oracle is the schedule of the finished link stage."""
    settings = load(real_built / "webtext.toml")
    opt_outs = read_opt_outs(settings.link, settings.collect.urls)
    submissions = pool(sample_sources(settings.collect, 10.0), opt_outs)
    above = Grouped.of(submissions).above("max", settings.link.min_karma)
    fetch = FetchSettings(delay_s=2.0)
    links = read_links_by_domain(Folder(str(real_built / "run" / "links")))
    assert links is not None
    right = schedule(*links, fetch)
    found = foresee_crawl(above, submissions.domains, fetch, 1, Range.exact(0.0)).schedule
    assert found.lower_bound_s == right.lower_bound_s
    assert found.links == right.links
    assert found.domains == right.domains
    assert found.courses[0].seconds == right.courses[0].seconds


def test_every_number_has_a_range_and_what_it_rests_on(foreseen: Any) -> None:
    for section in ("records", "tokens", "bytes", "core_hours"):
        for name, one in foreseen[section].items():
            assert 0 <= one["low"] <= one["likely"] <= one["high"], (section, name)
            assert one["unit"], (section, name)
            assert one["rests_on"], (section, name)
    assert list(foreseen["core_hours"]) == [stage.name for stage in STAGES]
    for one in foreseen["training"]["gpus"].values():
        assert one["days"]["low"] < one["days"]["likely"] < one["days"]["high"]
    for name, one in foreseen["constants"].items():
        assert one["source"], name


def test_tables_for_people_are_whole_in_a_pipe(real_built: Path, tmp_path: Path) -> None:
    text = (real_built / "webtext.toml").read_text().replace('source = "warc"', 'source = "web"')
    (tmp_path / "webtext.toml").write_text(text)
    answer = webtext("plan", "webtext.toml", "--seconds", "0.2", "--gpu", "H100 PCIe", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    titles = (
        "read",
        "records",
        "by karma",
        "dead by now",
        "fetching",
        "schedule",
        "disk",
        "a core",
        "pretraining",
    )
    for title in titles:
        assert re.search(rf"(?m)^\S.*{title}|^{title}", answer.stdout), title
    assert "H100 PCIe" in answer.stdout
    assert "[1] " in answer.stdout
    assert "…" not in answer.stdout
    assert "\x1b" not in answer.stdout
    assert not re.search(r"(?<![.\d])\d{5}", answer.stdout)  # large numbers are grouped
    assert not (tmp_path / "run").exists()


def test_bad_input_is_told_with_status_2(real_built: Path, tmp_path: Path) -> None:
    text = (real_built / "webtext.toml").read_text()
    (tmp_path / "webtext.toml").write_text(text.replace("RS_2019-12", "RS_2019-13"))
    answer = webtext("plan", "webtext.toml", cwd=tmp_path)
    assert answer.returncode == 2
    assert "nothing is at" in answer.stderr.replace("\n", " ")
    assert "Traceback" not in answer.stderr
    (tmp_path / "webtext.toml").write_text(text.replace("[run]", "[walk]"))
    with pytest.raises(InputError, match="walk: unknown"):
        planned(tmp_path)
    with pytest.raises(InputError, match="there is no run here"):
        planned(real_built, tmp_path / "nowhere")
    with pytest.raises(InputError, match="--gpu Abacus: its peak speed is not in the table"):
        make_plan(load(real_built / "webtext.toml"), like=None, machines=1, gpus=("Abacus",), seconds=0.2)


@pytest.mark.parametrize(("size", "said"), [(1, True), (10, False)])
def test_too_many_parts_are_told(tmp_path: Path, size: int, said: bool) -> None:
    (tmp_path / "urls.txt").write_text("".join(f"https://site{n}.example/\n" for n in range(6_000)))
    settings = f'[collect]\nlists = ["urls.txt"]\n[link]\nsubmissions_per_part = {size}\n'
    (tmp_path / "webtext.toml").write_text(settings)
    notes = "\n".join(planned(tmp_path)["notes"])
    assert ("some 6,000 parts make every look at the run slow" in notes) is said
    assert ("set link.submissions_per_part to 10 before" in notes) is said


def test_this_machine_is_measured_where_the_sample_has_rows_enough(tmp_path: Path) -> None:
    urls = "".join(f"https://site{n % 900}.example/{n}\n" for n in range(20_000))
    (tmp_path / "urls.txt").write_text(urls)
    (tmp_path / "webtext.toml").write_text('[collect]\nlists = ["urls.txt"]\n')
    core_hours = planned(tmp_path)["core_hours"]
    assert core_hours["collect"]["sources"] == ["measured: 20,000 rows of the sample"]
    assert core_hours["link"]["sources"] == ["measured: 20,000 submissions of the sample"]


def test_where_no_link_has_the_karma_a_links_bytes_are_a_constant(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("".join(f"https://site{n}.example/\n" for n in range(300)))
    settings = '[collect]\nlists = ["urls.txt"]\nlist_karma = 3\n[link]\nmin_karma = 1000\n'
    (tmp_path / "webtext.toml").write_text(settings)
    found = planned(tmp_path)
    assert found["constants"]["link.bytes"]["source"] == CONSTANTS["link.bytes"].source
    dealt = found["constants"]["link.dealt_bytes"]["likely"]
    assert found["bytes"]["link"]["likely"] == pytest.approx(300 * dealt)


def test_what_is_measured_is_of_all_the_dumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one's URLs are long."""
    monkeypatch.setattr(calibration, "_ROWS", 200)
    draw = random.Random(1)
    for name, length in (("a.txt", 4), ("b.txt", 400)):
        paths = ("".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=length)) for _ in range(300))
        (tmp_path / name).write_text("".join(f"https://site.example/{path}\n" for path in paths))
    found = {}
    for lists in ('"a.txt"', '"a.txt", "b.txt"'):
        (tmp_path / "webtext.toml").write_text(f"[collect]\nlists = [{lists}]\n")
        found[lists] = planned(tmp_path)["constants"]
    for name in ("collect.bytes", "link.bytes", "link.dealt_bytes"):
        alone, both = (one[name]["likely"] for one in found.values())
        assert both > alone + 50, name


def test_damage_is_told_wherever_it_was_met(
    real_built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (real_built / "webtext.toml").read_text()
    (tmp_path / "webtext.toml").write_text(text)
    samples = sample_sources(load(tmp_path / "webtext.toml").collect, 10.0)
    told = [replace(samples[0], damages={0: "one"}), replace(samples[0], damages={5_000: "two"})]
    monkeypatch.setattr(planning, "sample_sources", lambda *_: told)
    notes = "\n".join(planned(tmp_path)["notes"])
    assert "is damaged (one); what lies before counts" in notes
    assert "is damaged somewhere behind byte 5,000 (two): collect gets no further than that" in notes


def test_a_finished_run_replaces_constants_as_far_as_it_goes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is fetched there"):
        read_constants(write_run(tmp_path / "links", upto="link"))
    run = write_run(tmp_path / "run", upto="extract", num_links=200)
    found = read_constants(run)
    manifest = read_manifest(run / "pages")
    assert manifest is not None
    assert found["fetch.kept"].value.likely == manifest.counts.kept / manifest.counts.num_in
    assert run.uri in found["fetch.kept"].source
    assert found["dedupe.kept"] == CONSTANTS["dedupe.kept"]
    shutil.rmtree(tmp_path / "run" / "pages")
    with pytest.raises(InputError, match="nothing is fetched there"):
        read_constants(run)


def test_what_training_takes_is_the_models_own_count() -> None:
    tokens, flops = work_of_training(
        ModelSettings(architecture="gpt2", preset="124M"), TrainSettings(tokens=10_000_000_000), 50_257
    )
    assert tokens == 10_000_000_000
    assert flops == pytest.approx(855.2e6, rel=1e-3)
    assert vocabulary_factor(50_257) == 1.0
    for one in UTILISATION.values():
        assert 0 < one.value.low <= one.value.high < 1
