"""Removing documents from a run: nothing of them is left, all else stays as it was, none comes back."""

import contextlib
import json
import shutil
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import CORPUS
from pipeline.remove.removal import Removal
from pipeline.remove.request import Kind
from pipeline.remove.tombstones import REMOVED, read_tombstones
from pipeline.runs import Folder, read_manifest
from pipeline.stages import STAGES
from pipeline.verify import verify
from tests.removal_run import (
    Page,
    build_in,
    copy_run,
    counts,
    files_with,
    mark_of,
    pages,
    remove_in,
    text_of,
    write_sources,
)
from tokenizer.train import sampled
from webtext.build import build
from webtext.settings import load


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, for reading."""
    folder = tmp_path_factory.mktemp("removal")
    write_sources(folder, pages())
    build_in(folder)
    return folder


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Folder:
    """A copy of it, with its settings and sources, to be changed."""
    return copy_run(built, tmp_path / "copy")


def state(run: Folder) -> dict[str, tuple[int, int]]:
    """The inode and the time of every file."""
    root = Path(run.path())
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def files_of(run: Folder) -> dict[str, bytes]:
    root = Path(run.path())
    files = [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def corpus(run: Folder) -> dict[str, str]:
    """URL → id."""
    parts = run.path("corpus/part-*[0-9].parquet")
    return dict(duckdb.read_parquet(parts).select("url, id").fetchall())


def id_of(run: Folder, url: str) -> str:
    parts = run.path("links/part-*[0-9].parquet")
    (row,) = duckdb.read_parquet(parts).filter(f"url = '{url}'").select("id").fetchall()
    return str(row[0])


def rebuild(run: Folder) -> None:
    """The same build again."""
    build(load(Path(run.path()).parent / "webtext.toml"), run, watch=_quietly, on_stage=lambda _: None)


def _quietly(*_: object) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def manifests(run: Folder) -> list[bytes]:
    return [(run / stage.folder).read("manifest.json") for stage in STAGES]


ALONE = "https://alone.example/page"


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        (Kind.URLS, "http://www.alone.example/page?utm_source=x"),
        (Kind.DOMAINS, "alone.example"),
        (Kind.SUBMISSIONS, "t3_al2"),
        (Kind.DOCUMENTS, None),
    ],
)
def test_each_kind_takes_the_document_out_of_everything(run: Folder, kind: Kind, entry: str | None) -> None:
    name = id_of(run, ALONE)
    where = files_with(run, mark_of("alone"), "alone.example", name)
    assert {path.split("/")[0] for path in where} == {
        "submissions",
        "links",
        "pages",
        "documents",
        "filtered",
        "corpus",
        "shards",
    }
    before, num_before = state(run), counts(run)
    removal = remove_in(run, kind, entry or name)
    assert [link["id"] for link in removal.links] == [name]
    assert not removal.unmatched
    assert not files_with(run, mark_of("alone"), "alone.example")
    left = files_with(run, name)
    assert left <= {"removed/removal-00001.json", "removed/removal-00001.parquet", "links/manifest.json"}
    assert verify(run) == []
    num_after = counts(run)
    assert num_after["collect"] == (num_before["collect"][0], num_before["collect"][1] - 3)
    assert all(num_after[stage][1] == num_before[stage][1] - 1 for stage in num_after if stage != "collect")
    after = state(run)
    rewritten = {f"{folder}/{file}" for folder, files in removal.files.items() for file in files}
    data = {path for path in before if not path.endswith(".json")}
    assert {path for path in data if after.get(path) != before[path]} == rewritten
    assert rewritten < data


def test_building_again_does_nothing(run: Folder) -> None:
    remove_in(run, Kind.URLS, ALONE)
    before = state(run)
    rebuild(run)
    changed = {path for path, at in state(run).items() if before[path] != at}
    assert changed == {"webtext.toml"}


def test_near_duplicates_go_too(run: Folder) -> None:
    removal = remove_in(run, Kind.URLS, "https://near-copy.example/other")
    assert {link["why"] for link in removal.links} == {"asked", "near_duplicate"}
    assert not files_with(run, mark_of("near"), "near.example", "near-copy.example")
    clusters = run.path("corpus/clusters.parquet")
    assert len(duckdb.read_parquet(clusters).fetchall()) == 2  # the twins
    assert verify(run) == []


def test_near_duplicates_may_stay(run: Folder) -> None:
    removal = remove_in(run, Kind.URLS, "https://near.example/best", near_duplicates=False)
    assert len(removal.links) == 1
    assert not files_with(run, "near.example")
    filtered = run.path("filtered/part-*[0-9].parquet")
    assert len(duckdb.read_parquet(filtered).filter("url like '%near-copy%'").fetchall()) == 1
    assert "https://near-copy.example/other" not in corpus(run)  # it was left out for the removed one
    assert verify(run) == []
    assert read_tombstones(run)["signature"].null_count == 1


def test_the_very_same_text_goes_always(run: Folder) -> None:
    removal = remove_in(run, Kind.URLS, "https://twin-a.example/same", near_duplicates=False)
    assert {link["why"] for link in removal.links} == {"asked", "same_text"}
    assert not files_with(run, mark_of("twin"))
    assert verify(run) == []


@pytest.mark.parametrize("url", ["https://short.example/x1", "https://long.example/the-page"])
def test_whatever_leads_to_the_page_goes_with_it(run: Folder, url: str) -> None:
    removal = remove_in(run, Kind.URLS, url, near_duplicates=False)
    assert {link["why"] for link in removal.links} == {"asked", "same_page"}
    assert not files_with(run, mark_of("long"), "short.example", "long.example")
    assert verify(run) == []


def test_a_domain_goes_with_its_subdomains_and_what_redirects_there(run: Folder) -> None:
    removal = remove_in(run, Kind.DOMAINS, "gone.example")
    assert len(removal.links) == 3
    marks = [mark_of(f"gone {n}") for n in (1, 2, 3)]
    assert not files_with(run, *marks, "gone.example", "links.example")
    assert verify(run) == []
    assert removal.refused["domains"] == 1
    assert "gone" not in (run / REMOVED).read("removal-00001.json").decode()


def test_a_link_of_low_karma_goes_too(run: Folder) -> None:
    remove_in(run, Kind.SUBMISSIONS, "t3_lk")
    assert not files_with(run, "low.example")
    assert verify(run) == []


def test_shards_are_as_a_build_without_the_document_makes_them(run: Folder) -> None:
    """The stage, done again from the corpus and the tokenizer that are left, writes the same bytes."""
    remove_in(run, Kind.URLS, ALONE)
    before = files_of(run / "shards")
    rebuild_stage(run, "shard")
    after = files_of(run / "shards")
    times = {name for name in before if name.endswith(".json") and name != "manifest.json"}
    assert {name: after[name] for name in after.keys() - times} == {
        name: before[name] for name in before.keys() - times
    }


@pytest.mark.parametrize("stage", ["link", "fetch", "extract", "filter", "shard"])
def test_a_stage_done_again_gives_the_same(run: Folder, stage: str) -> None:
    """What was rewritten is what the stage's own code makes of what is left before it."""
    remove_in(run, Kind.URLS, ALONE, "https://near.example/best", "https://site3.example/1")
    before = read_manifest(run / folder_of(stage))
    rebuild_stage(run, stage)
    after = read_manifest(run / folder_of(stage))
    assert before is not None
    assert after is not None
    assert after.counts == before.counts
    if stage == "fetch":  # other places: nothing stands any more where the removed were
        return
    assert [part.counts for part in after.parts] == [part.counts for part in before.parts]
    files = [file for part in before.parts for file in part.files if not file.name.startswith("contam")]
    assert {file for part in after.parts for file in part.files} >= set(files)


def folder_of(stage: str) -> str:
    return next(one.folder for one in STAGES if one.name == stage)


def rebuild_stage(run: Folder, stage: str) -> None:
    """A stage done again from nothing."""
    settings = load(Path(run.path()).parent / "webtext.toml")
    build(settings, run, until=stage, force=stage, watch=_quietly, on_stage=lambda _: None)


def test_what_was_removed_does_not_come_back(run: Folder) -> None:
    """Not with other settings, not by another URL in a new dump, not by a redirect."""
    folder = Path(run.path()).parent
    remove_in(run, Kind.URLS, ALONE, "https://near.example/best", "https://short.example/x1")
    remove_in(run, Kind.DOMAINS, "gone.example")
    new = [
        Page("https://mirror.example/alone", text_of("alone"), ids=("m1",)),
        Page("https://mirror2.example/near", text_of("near", changed=3), ids=("m2",)),
        Page("https://way.example/long", leads_to="https://long.example/the-page", ids=("m3",)),
        Page("https://way2.example/gone", leads_to="https://gone.example/2", ids=("m4",)),
        Page("https://gone.example/new", text_of("gone new"), ids=("m5",)),
        Page(ALONE, text_of("alone"), ids=("m6",)),
        Page("https://fresh.example/1", text_of("fresh"), ids=("m7",)),
    ]
    write_sources(folder, [*new, *pages()], dump="RS_2019-07.ndjson")
    build_in(
        folder,
        **{"karma": "karma", "min_words = 50": "min_words = 40", "vocab_size = 500": "vocab_size = 550"},
    )
    assert verify(run) == []
    urls = corpus(run)
    assert "https://fresh.example/1" in urls
    assert {page.url for page in new[:-1]} & urls.keys() == set()
    marks = [mark_of(name) for name in ("alone", "near", "long", "gone 1", "gone 2", "gone new")]
    texts = {path for path in files_with(run, *marks) if path.startswith(("corpus", "shards"))}
    assert not texts
    assert not files_with(run, "alone.example", "near.example/", "short.example")


def test_another_extractor_finds_nothing_of_it(run: Folder) -> None:
    remove_in(run, Kind.URLS, ALONE)
    folder = Path(run.path()).parent
    build_in(folder, **{"[filter]": '[extract]\nextractor = "trafilatura-fast"\n[filter]'})
    assert not files_with(run, mark_of("alone"), "alone.example")
    assert verify(run) == []


def test_a_second_removal_adds_up(run: Folder) -> None:
    remove_in(run, Kind.URLS, ALONE)
    first = files_of(run / REMOVED)
    again = remove_in(run, Kind.URLS, ALONE)
    assert not again.links
    assert not again.unmatched
    assert files_of(run / REMOVED) == first
    remove_in(run, Kind.URLS, "https://near.example/best")
    assert first.items() < files_of(run / REMOVED).items()
    assert verify(run) == []
    assert not files_with(run, mark_of("alone"), mark_of("near"))
    rebuild(run)
    assert len(read_tombstones(run)) == 3


def test_what_is_not_there_yet_is_refused_when_it_comes(run: Folder) -> None:
    later = Page("https://later.example/1", text_of("later"), ids=("l1",))
    removal = remove_in(run, Kind.URLS, later.url)
    assert [one.rpartition(", ")[2] for one in removal.unmatched] == ["line 1"]
    assert not removal.files
    assert verify(run) == []
    before = manifests(run)
    rebuild(run)
    assert manifests(run) == before
    write_sources(Path(run.path()).parent, [later, *pages()], dump="RS_2019-07.ndjson")
    rebuild(run)
    assert not files_with(run, "later.example")


def test_a_dry_run_changes_nothing(run: Folder) -> None:
    before = state(run)
    told = remove_in(run, Kind.URLS, ALONE, dry_run=True)
    assert state(run) == {**before, ".lock": state(run)[".lock"]}
    done = remove_in(run, Kind.URLS, ALONE)
    assert told == done


def test_a_part_that_lost_everything_is_empty_and_whole(run: Folder) -> None:
    urls = [page.url for page in pages()[1:]]
    remove_in(run, Kind.URLS, *urls)
    assert list(corpus(run)) == [pages()[0].url]
    assert verify(run) == []
    table = (run / "corpus").read_table("part-00000.parquet")
    assert table.schema.equals(CORPUS)
    before = manifests(run)
    rebuild(run)
    assert manifests(run) == before  # in the same parts and shards


def test_what_the_tokenizer_was_learnt_from_is_counted_again(run: Folder) -> None:
    build_in(Path(run.path()).parent, **{"vocab_size = 500": "vocab_size = 300\nsample_bytes = 20000"})
    ids = corpus(run)
    manifest = read_manifest(run / "corpus")
    assert manifest is not None
    is_sampled = {name: sampled(name, 20000 / manifest.facts["text_bytes"]) for name in ids.values()}
    assert len(set(is_sampled.values())) == 2
    before = (run / "tokenizer").read("tokenizer.json")
    for url in [url for url in ids if url.startswith(("https://site1", "https://site2"))]:
        remove_in(run, Kind.URLS, url)
        del is_sampled[ids[url]]
        assert counts(run)["tokenizer"] == (len(is_sampled), sum(is_sampled.values()))
    assert (run / "tokenizer").read("tokenizer.json") == before
    assert verify(run) == []


def test_the_report_and_traces_go(run: Folder) -> None:
    (run / "report").write("index.html", b"a quotation")
    run.write("extract-error.txt", b"a trace")
    (run / "checkpoints").write("model", b"a model")
    removal = remove_in(run, Kind.URLS, ALONE)
    assert removal.has_report
    assert removal.has_checkpoints
    assert not (run / "report").sizes()
    assert "extract-error.txt" not in run.sizes()
    assert (run / "checkpoints").sizes()


@pytest.mark.parametrize("stage", ["link", "fetch", "dedupe"])
def test_a_run_that_is_built_in_part(run: Folder, stage: str) -> None:
    """Whatever is not begun yet has nothing to lose, and the build goes on."""
    keep = [one.name for one in STAGES].index(stage)
    for one in STAGES[keep + 1 :]:
        shutil.rmtree(run.path(one.folder))
    removal = remove_in(run, Kind.URLS, ALONE)
    assert removal.has_clusters == (stage == "dedupe")
    assert verify(run) == []
    rebuild(run)
    assert ALONE not in corpus(run)
    assert not files_with(run, mark_of("alone"), "alone.example")


@pytest.mark.parametrize("stage", ["extract", "filter", "dedupe", "shard"])
def test_a_stage_that_is_in_the_middle(run: Folder, stage: str) -> None:
    """Its finished parts are kept without what goes; what lies behind is left to the build."""
    folder = run / folder_of(stage)
    torn = next(name for name in folder.sizes() if name.startswith(("part-", "vocabulary")))
    folder.remove(["manifest.json", torn])
    (folder).write(f"{torn}.0123.tmp", text_of("alone").encode())
    removal = remove_in(run, Kind.URLS, ALONE)
    assert removal.left[0] == stage
    assert not files_with(run, "alone.example")
    rebuild(run)
    assert not files_with(run, mark_of("alone"), "alone.example")
    assert verify(run) == []


@pytest.mark.parametrize("stage", ["link", "fetch"])
def test_what_would_lose_pages_is_refused(run: Folder, stage: str) -> None:
    (run / folder_of(stage)).remove(["manifest.json"])
    before = files_of(run)
    with pytest.raises(InputError, match=f"{stage} is not finished"):
        remove_in(run, Kind.URLS, ALONE)
    assert files_of(run) == before


def test_no_run_and_no_finished_collect(tmp_path: Path, run: Folder) -> None:
    with pytest.raises(InputError, match="no run here"):
        remove_in(Folder(str(tmp_path / "nothing")), Kind.URLS, ALONE)
    assert not (tmp_path / "nothing").exists()
    (run / "submissions").remove(["manifest.json"])
    with pytest.raises(InputError, match="collect is not finished"):
        remove_in(run, Kind.URLS, ALONE)


def test_verify_finds_what_is_left(run: Folder, built: Path) -> None:
    remove_in(run, Kind.URLS, ALONE)
    manifest = json.loads((run / "corpus").read("manifest.json"))
    name = next(
        file["name"]
        for part in manifest["parts"]
        for file in part["files"]
        if (built / "run" / "corpus" / file["name"]).read_bytes() != (run / "corpus").read(file["name"])
    )
    shutil.copy(built / "run" / "corpus" / name, run.path(f"corpus/{name}"))
    shutil.copy(built / "run" / "links" / "dealt-00000.arrow", run.path("links/dealt-00000.arrow"))
    found = [str(problem) for problem in verify(run)]
    assert any("links/dealt-00000.arrow" in problem for problem in found)
    assert any(f"corpus/{name}" in problem for problem in found)


def test_verify_looks_for_ids_in_whole_files(run: Folder) -> None:
    """A stage that was done from what another had before, and is right in itself."""
    old = {name: (run / "filtered").read(name) for name in (run / "filtered").sizes()}
    remove_in(run, Kind.URLS, ALONE)
    for name, data in old.items():
        (run / "filtered").write(name, data)
    found = [str(problem) for problem in verify(run)]
    assert any("of what was removed" in problem and "--force filter" in problem for problem in found)


@pytest.mark.parametrize(
    "name", ["pages/part-*.warc.gz", "corpus/part-*.parquet", "submissions/part-*.parquet"]
)
def test_damage_is_not_written_over(run: Folder, name: str) -> None:
    """A byte that has changed would have a right checksum afterwards."""
    for path in Path(run.path()).glob(name):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    before = files_of(run)
    with pytest.raises(RunError, match="webtext verify"):
        remove_in(run, Kind.URLS, ALONE)
    assert files_of(run) == before


def told(removal: Removal) -> str:
    from webtext.removing import render

    return render(removal, "run", dry_run=False)


def test_the_words(run: Folder) -> None:
    words = told(remove_in(run, Kind.URLS, "https://twin-b.example/same", "https://nowhere.example/"))
    assert words.splitlines()[0] == "2 links with 2 documents removed: 1 asked for, 1 near-duplicates of them"
    assert "entries.txt, line 2" in words
    assert "shard 1" in words
