"""link as a stage: parts, groups and passes, what is done again and what is not, opt-out lists, real data."""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import CollectSettings, LinkSettings, UrlSettings, deciding
from pipeline.errors import InputError
from pipeline.link import deal, plan, write
from pipeline.link.opt_out import read_opt_outs
from pipeline.records import LINKS, SUBMISSIONS
from pipeline.runs import MANIFEST, Counts, Folder, Manifest, PartWriter
from pipeline.stages import BY_NAME, Job
from pipeline.urls import parse
from tests.conftest import RunStage
from tests.test_pipeline_link import Submission, submission_table

Collected = Callable[..., Manifest]


@pytest.fixture
def collected(run: Folder) -> Collected:
    """A finished collect stage with these tables, a part each."""

    def finish(*tables: pa.Table) -> Manifest:
        folder = run / "submissions"
        parts = []
        for number, table in enumerate(tables):
            writer = PartWriter(folder, f"part-{number:05d}", f"made {number}")
            writer.table("parquet", table)
            parts.append(writer.commit(Counts(table.num_rows, table.num_rows), seconds=0.0))
        counts = Counts.total(part.counts for part in parts if part.counts is not None)
        settings = deciding(CollectSettings())
        manifest = Manifest("collect", "0", "made", settings, {}, counts, tuple(parts), {})
        folder.write(MANIFEST, manifest.encode())
        return manifest

    return finish


def made_tables() -> list[pa.Table]:
    """Three dumps: most pages in several, some submissions in two, one domain with half of everything."""
    random = np.random.default_rng(3)
    tables = []
    for dump in range(3):
        submissions = []
        for number in range(700):
            again = number % 3 == 0  # the same submission in every dump
            page = number if again else int(random.integers(0, 900))
            site = "big" if page % 2 else f"site{page % 41}"
            post = f"same{number}" if again else f"{int(random.integers(0, 5000)):x}"
            retrieved = [None, 5, 6][int(random.integers(0, 3))]
            score, created = int(random.integers(-2, 9)), int(random.integers(1, 10**6))
            submissions.append(Submission(f"https://{site}.example/{page}", post, score, created, retrieved))
        submissions.append(Submission("https://dump.example/", f"of{dump}", 4, None))
        tables.append(submission_table(submissions))
    return [tables[0], SUBMISSIONS.empty_table(), *tables[1:]]


def links_of(run: Folder, manifest: Manifest) -> pa.Table:
    """All links, in the order of their ids."""
    tables = [(run / "links").read_table(part.file(".parquet").name) for part in manifest.counted()]
    return pa.concat_tables(tables).sort_by("id")


def final_files(manifest: Manifest) -> dict[str, str]:
    """The parts' files and their checksums."""
    return {file.name: file.sha256 for part in manifest.counted() for file in part.files}


def test_groups_and_passes_do_not_show_in_the_bytes(
    run: Folder, run_stage: RunStage, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    submissions = collected(*made_tables())
    settings = LinkSettings(submissions_per_part=100)
    whole = run_stage("link", settings, collect=submissions)
    assert len(whole.counted()) == 22
    (run / "links").remove([MANIFEST, *(run / "links").sizes()])
    monkeypatch.setattr(deal, "ROWS_AT_ONCE", 200)
    monkeypatch.setattr(plan, "SUBMISSIONS_PER_GROUP", 150)
    monkeypatch.setattr(write, "ROWS_IN_MEMORY", 40)
    divided = run_stage("link", settings, collect=submissions)
    assert final_files(divided) == final_files(whole)
    assert [part.facts for part in divided.counted()] == [part.facts for part in whole.counted()]
    assert divided.counts == whole.counts
    with (run / "links").open("dealt-00000.arrow") as stream, pa.ipc.open_file(stream) as file:
        assert file.num_record_batches % 15 == 0, "each of 15 groups has a batch in every piece of the table"
        assert file.num_record_batches > 15


def test_parts_do_not_show_in_the_links(run: Folder, run_stage: RunStage, collected: Collected) -> None:
    submissions = collected(*made_tables())
    found = []
    for settings in (LinkSettings(), LinkSettings(submissions_per_part=60)):
        manifest = run_stage("link", settings, collect=submissions)
        found.append((links_of(run, manifest), manifest.counts, manifest.facts))
    assert len(manifest.counted()) == 36
    assert found[0] == found[1]
    table, counts, facts = found[0]
    assert table.num_rows == counts.kept == facts["links_by_max"]["3"]
    assert facts["links_by_max"]["1"] > facts["links_by_max"]["10"] == 0
    assert facts["links_by_sum"]["10"] > 0
    assert counts.rejected["same_submission"] > 0
    (dumped,) = table.filter(pa.compute.field("url") == "https://dump.example/").to_pylist()
    assert dumped["created"] is None
    assert [one["id"] for one in dumped["submissions"]] == ["of0", "of1", "of2"]


def test_no_submissions_make_one_part_without_links(
    run: Folder, run_stage: RunStage, collected: Collected
) -> None:
    for tables in ([], [SUBMISSIONS.empty_table()]):
        manifest = run_stage("link", LinkSettings(), collect=collected(*tables))
        assert manifest.counts == Counts(0, 0)
        assert links_of(run, manifest).equals(LINKS.empty_table())


def test_other_settings_leave_what_is_dealt(run: Folder, run_stage: RunStage, collected: Collected) -> None:
    submissions = collected(*made_tables())
    low = LinkSettings(submissions_per_part=100)
    first = run_stage("link", low, collect=submissions)
    written = {path: path.stat().st_mtime_ns for path in Path(run.uri).glob("links/dealt-*")}
    assert len(written) == 8
    second = run_stage("link", low.model_copy(update={"min_karma": 5}), collect=submissions)
    assert second.counts.kept < first.counts.kept
    assert {path: path.stat().st_mtime_ns for path in Path(run.uri).glob("links/dealt-*")} == written


def test_a_killed_build_goes_on_to_the_same_bytes(
    run: Folder, run_stage: RunStage, collected: Collected
) -> None:
    submissions = collected(*made_tables())
    settings = LinkSettings(submissions_per_part=100)
    whole = run_stage("link", settings, collect=submissions)
    folder = Path(run.uri) / "links"
    kept = folder / "part-00003.json"
    for gone in ("dealt-00002.json", "part-00000.parquet", "part-00007.json", "part-00021.json", MANIFEST):
        (folder / gone).unlink()
    before = kept.stat().st_mtime_ns
    assert run_stage("link", settings, collect=submissions).encode() == whole.encode()
    assert kept.stat().st_mtime_ns == before


def test_the_later_of_two_dumps_counts_unless_the_earlier_was_read_later(
    run: Folder, run_stage: RunStage, collected: Collected
) -> None:
    page = "https://example.com/"
    dumps = [
        [Submission(page, "a", 8, retrieved=9), Submission(page, "b", 1)],
        [Submission(page, "a", 2, retrieved=3), Submission(page, "b", 5)],
    ]
    manifest = run_stage("link", LinkSettings(), collect=collected(*map(submission_table, dumps)))
    (link,) = links_of(run, manifest).to_pylist()
    assert {one["id"]: one["score"] for one in link["submissions"]} == {"a": 8, "b": 5}
    assert manifest.counts.to_json() == {
        "in": 4,
        "kept": 1,
        "rejected": {"same_link": 1, "same_submission": 2},
    }


# --- opt-outs ---------------------------------------------------------------------------------------------


OPT_OUT_PAGES = [
    "https://example.com/1",
    "https://blog.example.com/2",
    "https://old.blog.example.com/3",
    "https://myexample.com/4",
    "https://news.bbc.co.uk/5",
    "https://example.org/kept?b=2&a=1",
    "https://example.org/submitted",
]


def asked_to_leave(
    run: Folder, run_stage: RunStage, collected: Collected, settings: LinkSettings
) -> tuple[set[str], Manifest]:
    """The pages that a build without them leaves out."""
    submissions = [Submission(page, f"p{number}", 9) for number, page in enumerate(OPT_OUT_PAGES)]
    manifest = run_stage("link", settings, collect=collected(submission_table(submissions)))
    return set(OPT_OUT_PAGES) - set(links_of(run, manifest)["url"].to_pylist()), manifest


@pytest.mark.parametrize(
    ("entry", "gone"),
    [
        ("example.com", OPT_OUT_PAGES[:3]),
        ("EXAMPLE.com", OPT_OUT_PAGES[:3]),
        ("blog.example.com", OPT_OUT_PAGES[1:3]),
        ("co.uk", OPT_OUT_PAGES[4:5]),
        ("http://www.example.org/kept?a=1&b=2#part", OPT_OUT_PAGES[5:6]),
        ("https://out.reddit.com/t3_0?url=https%3A%2F%2Fexample.com%2F1", OPT_OUT_PAGES[:1]),
        ("t3_p6", OPT_OUT_PAGES[6:]),
        ("nobody.example", []),
    ],
)
def test_an_entry_is_a_domain_a_url_or_a_submission(
    run: Folder, run_stage: RunStage, collected: Collected, entry: str, gone: list[str]
) -> None:
    left_out, manifest = asked_to_leave(run, run_stage, collected, LinkSettings(opt_out=(entry,)))
    assert left_out == set(gone)
    assert manifest.counts.rejected.get("opt_out", 0) == len(gone)
    assert manifest.facts["links_by_max"]["5"] == len(OPT_OUT_PAGES) - len(gone)


def test_one_url_on_a_domain_takes_the_whole_link_with_it(run_stage: RunStage, collected: Collected) -> None:
    submissions = [Submission("https://example.com/", "a", 9), Submission("https://www.example.com/", "b", 1)]
    settings = LinkSettings(opt_out=("www.example.com",))
    manifest = run_stage("link", settings, collect=collected(submission_table(submissions)))
    assert manifest.counts.to_json() == {"in": 2, "kept": 0, "rejected": {"opt_out": 2}}


def test_a_submission_that_is_taken_out_does_not_count_for_karma(
    run: Folder, run_stage: RunStage, collected: Collected
) -> None:
    page = "https://example.com/"
    submissions = [Submission(page, "a", 9), Submission(page, "b", 2), Submission(page, "c", 2)]
    settings = LinkSettings(opt_out=("t3_a",), karma="sum")
    manifest = run_stage("link", settings, collect=collected(submission_table(submissions)))
    (link,) = links_of(run, manifest).to_pylist()
    assert (link["karma"], link["karma_max"], len(link["submissions"])) == (4, 2, 2)
    assert manifest.counts.rejected == {"opt_out": 1, "same_link": 1}


def test_lists_are_read_and_their_content_decides(
    tmp_path: Path, run: Folder, run_stage: RunStage, collected: Collected
) -> None:
    path = tmp_path / "asked.txt"
    path.write_bytes(
        b"\xef\xbb\xbf# asked in June\r\n\r\n  example.com  # by mail\r\nhttps://example.org/kept?a=1&b=2\n"
    )
    settings = LinkSettings(opt_out_lists=(str(tmp_path / "*.txt"),), opt_out=("t3_p6",))
    left_out, first = asked_to_leave(run, run_stage, collected, settings)
    assert left_out == set(OPT_OUT_PAGES) - set(OPT_OUT_PAGES[3:5])
    assert first.settings["opt_out"] == ["t3_p6"]
    assert "example.com" not in first.encode().decode(), "manifests do not say who asked"
    assert str(tmp_path) not in first.encode().decode()

    path.rename(tmp_path / "other.txt")  # where a list is, and in which order, is not what it says
    (tmp_path / "other.txt").write_text("https://example.org/kept?b=2&a=1\nexample.com\n")
    _, second = asked_to_leave(run, run_stage, collected, settings)
    assert second.encode() == first.encode()

    (tmp_path / "other.txt").write_text("myexample.com\n")
    left_out, _ = asked_to_leave(run, run_stage, collected, settings)
    assert left_out == {OPT_OUT_PAGES[3], OPT_OUT_PAGES[6]}


@pytest.mark.parametrize(
    "entry",
    [
        "example",
        "example.com/page",
        "*.example.com",
        "example..com",
        "someone@example.com",
        "example.com:8080",
        "ftp://example.com/",
        "t3_",
        "t3_ABC",
        "example.com, example.org",
        "http://",
    ],
)
def test_anything_else_is_refused_with_its_place(tmp_path: Path, run: Folder, entry: str) -> None:
    path = tmp_path / "asked.txt"
    path.write_text(f"# asked\nexample.com\n{entry}\n")
    submissions = Manifest("collect", "0", "made", deciding(CollectSettings()), {}, Counts(0, 0), (), {})
    for settings, place in (
        (LinkSettings(opt_out_lists=(str(path),)), f"{path}, line 3: "),
        (LinkSettings(opt_out=("example.com", entry)), "link.opt_out: "),
    ):
        with pytest.raises(InputError) as refused:
            plan.plan(Job(BY_NAME["link"], run, settings, {"collect": submissions}))
        assert str(refused.value).startswith(f"{place}{entry!r} is neither a domain")


def test_a_list_that_is_no_text_or_not_there_is_refused(tmp_path: Path, run: Folder) -> None:
    path = tmp_path / "asked.txt"
    path.write_bytes(b"example.com\n\xff\xfe\n")
    submissions = Manifest("collect", "0", "made", deciding(CollectSettings()), {}, Counts(0, 0), (), {})
    for name, message in ((path, "asked.txt, line 2 is not UTF-8"), (tmp_path / "none", "nothing is at")):
        settings = LinkSettings(opt_out_lists=(str(name),))
        with pytest.raises(InputError, match=message):
            plan.plan(Job(BY_NAME["link"], run, settings, {"collect": submissions}))


def test_an_opted_out_url_is_read_as_collect_has_read_its_own() -> None:
    settings = LinkSettings(opt_out=("https://m.example.com/page/",))
    page = parse("https://example.com/page")
    assert page is not None
    for rules, same in ((UrlSettings(), True), (UrlSettings(drop_mobile=False), False)):
        assert (read_opt_outs(settings, rules).keys.to_pylist() == [page.key]) is same


# --- from dumps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("karma", ["max", "sum"])
def test_realweb_links(realdata: Path, run: Folder, run_stage: RunStage, karma: str) -> None:
    realweb = realdata / "realweb"
    expected = json.loads((realweb / "expected.json").read_text("utf-8"))
    submissions = run_stage("collect", CollectSettings(dumps=(str(realweb / "RS_2019-12.zst"),)))
    settings = LinkSettings.model_validate({"karma": karma, "submissions_per_part": 40})
    manifest = run_stage("link", settings, collect=submissions)
    assert len(manifest.counted()) > 3
    found, domains = {}, defaultdict(set)
    for part in manifest.counted():
        for link in (run / "links").read_table(part.file(".parquet").name).to_pylist():
            found[link["canonical"]] = link
            domains[link["domain"]].add(part.name)
    assert all(len(parts) == 1 for parts in domains.values()), "a domain lives in one part"
    wikipedia = found.pop("en.wikipedia.org/wiki/Language_model")
    assert [one["id"] for one in wikipedia["submissions"]] == [expected["wikipedia"]]
    pages = {}
    for page, facts in expected["pages"].items():
        url = parse(page)
        assert url is not None
        if facts[karma] >= 3:
            pages[url.canonical] = facts
    assert found.keys() == pages.keys()
    for canonical, facts in pages.items():
        link = found[canonical]
        assert {one["id"] for one in link["submissions"]} == set(facts["submissions"])
        assert (link["karma_max"], link["karma_sum"]) == (facts["max"], facts["sum"])
        assert link["submissions"][0]["id"] == facts["min_created_first"]


def test_the_csvs_ids_count_once_over_two_dumps(tmp_path: Path, run: Folder, run_stage: RunStage) -> None:
    """A submission in two dumps counts once, and its later score is taken."""
    for month, score in (("2019-01", 2), ("2019-02", 8)):
        line = {"id": "abc", "created_utc": 1546300800, "score": score, "url": "https://example.com/"}
        (tmp_path / f"RS_{month}").write_text(json.dumps(line) + "\n")
    submissions = run_stage("collect", CollectSettings(dumps=(str(tmp_path / "RS_2019-0*"),)))
    manifest = run_stage("link", LinkSettings(), collect=submissions)
    assert manifest.counts.to_json() == {"in": 2, "kept": 1, "rejected": {"same_submission": 1}}
    (link,) = links_of(run, manifest).to_pylist()
    assert link["karma"] == 8
