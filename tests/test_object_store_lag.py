"""Runs on a store whose listings are old: what was just written is not in them, and what is gone is."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.config import FetchSettings
from pipeline.engines.sign import Sign
from pipeline.errors import InputError
from pipeline.export.export import export
from pipeline.export.source import check_sizes
from pipeline.export.target import UNFINISHED
from pipeline.fetch.retry import reopen
from pipeline.fetch.spool import discard
from pipeline.inspector.judging.labels import Labelled, Labels
from pipeline.records import Reason
from pipeline.remove import staged
from pipeline.remove.request import Kind
from pipeline.remove.staged import pending, staging
from pipeline.remove.tombstones import next_name, table_names
from pipeline.report.files import FILES
from pipeline.runs import MANIFEST, Counts, File, Folder, PartWriter, finished, read_manifest, read_sidecar
from pipeline.stages import STAGES, Job, forget
from pipeline.status import require_run
from pipeline.verify import verify
from tests.lagging_store import SCHEME, LaggingStore, lagging
from tests.pipeline_fetch_site import Site, make_job, page, serving
from tests.pipeline_fetch_site import build as fetch
from tests.removal_run import FEW, NEAR
from webtext.build import build, remove
from webtext.settings import load

FOREVER = 1_000_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=[2, FOREVER])
def remote(request: pytest.FixtureRequest) -> Iterator[tuple[LaggingStore, Folder]]:
    """An empty run directory, and the store that it is in."""
    with lagging(request.param) as opened:
        yield opened


@pytest.fixture
def built(small_built: Path, remote: tuple[LaggingStore, Folder]) -> tuple[LaggingStore, Folder]:
    """The same run as the local one, of which nothing is listed yet, and the store that it is in."""
    store, run = remote
    root = small_built / "run"
    for path in root.rglob("*"):
        if path.is_file() and path.name != ".lock":
            store.put(f"bucket/run/{path.relative_to(root)}", path.read_bytes())
    return store, run


def build_on(folder: Path, run: Folder, force: str | None = None) -> list[str]:
    """Builds; the names of the stages."""
    done: list[str] = []
    build(
        load(folder / "webtext.toml"),
        run,
        force=force,
        watch=lambda *_: contextlib.nullcontext(),
        on_stage=lambda manifest: done.append(manifest.stage),
    )
    return done


def manifests(run: Folder) -> dict[str, bytes]:
    return {stage.name: (run / stage.folder).read(MANIFEST) for stage in STAGES}


def test_a_part_that_is_not_listed_yet_is_done(remote: tuple[LaggingStore, Folder]) -> None:
    _, run = remote
    writer = PartWriter(run, "part-00000", "print")
    with writer.open("txt") as sink:
        sink.write(b"text")
    part = writer.commit(Counts(1, 1), seconds=0)
    assert finished(run, {"part-00000": "print"}) == {"part-00000": part}
    run.remove(["part-00000.json"])
    assert finished(run, {"part-00000": "print"}) == {}


def test_a_file_that_is_not_listed_yet_is_not_missing(remote: tuple[LaggingStore, Folder]) -> None:
    _, run = remote
    run.write("file", b"text")
    with pytest.raises(InputError, match="file has 4 bytes, and 5 by its manifest"):
        check_sizes(run, [File("file", 5, 0, "")])


def test_a_whole_build_is_right(small_built: Path, remote: tuple[LaggingStore, Folder]) -> None:
    store, run = remote
    build_on(small_built, run)
    assert manifests(run) == manifests(Folder(str(small_built / "run")))
    assert verify(run) == []
    require_run(run)
    before = dict(store.objects)
    build_on(small_built, run)
    assert store.objects == before


def test_what_is_forced_is_done_again(small_built: Path, built: tuple[LaggingStore, Folder]) -> None:
    store, run = built
    sidecar = "bucket/run/corpus/part-00000.json"
    before = store.objects[sidecar]
    build_on(small_built, run, force="dedupe")
    assert store.objects[sidecar] != before  # it tells other seconds
    assert manifests(run) == manifests(Folder(str(small_built / "run")))


def test_an_export_is_right(built: tuple[LaggingStore, Folder]) -> None:
    _, run = built
    out = Folder(f"{SCHEME}bucket/out")
    first, is_new = export(run, "nanogpt", out)
    assert is_new
    assert export(run, "nanogpt", out) == (first, False)


def test_an_export_that_was_stopped_is_begun_anew(built: tuple[LaggingStore, Folder]) -> None:
    store, run = built
    out = Folder(f"{SCHEME}bucket/out")
    store.objects["bucket/out/val.bin"] = b"half of it, which is listed before the mark"
    out.write(UNFINISHED, b"{}")
    assert export(run, "nanogpt", out)[1]
    assert out.size(UNFINISHED) is None


def test_a_sign_of_work_is_seen_at_once(remote: tuple[LaggingStore, Folder]) -> None:
    _, run = remote
    sign = Sign(run / "links", "a-job")
    assert not sign.is_there()
    sign.show()
    assert sign.is_there()
    sign.clear()
    assert not sign.is_there()


def test_a_removal_misses_nothing(
    small_built: Path, built: tuple[LaggingStore, Folder], tmp_path: Path
) -> None:
    _, run = built
    urls = tmp_path / "urls.txt"
    urls.write_text(NEAR)
    assert len(remove(run, Kind.URLS, urls).links) == 2
    assert pending(run) is None
    assert table_names(run) == ["removal-00001.parquet"]
    assert next_name(run) == "removal-00002"
    assert verify(run) == []
    before = manifests(run)
    build_on(small_built, run)
    assert manifests(run) == before


def test_a_removal_that_was_begun_keeps_builds_out(
    small_built: Path, built: tuple[LaggingStore, Folder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of the moves, it ends as if it had not been."""
    store, run = built
    urls = tmp_path / "urls.txt"
    urls.write_text(NEAR)
    copied: list[str] = []
    copy = LaggingStore.copy_file

    def stopping(self: LaggingStore, src: str, dest: str) -> None:
        if len(copied) == 5:
            raise KeyboardInterrupt
        copied.append(dest)
        copy(self, src, dest)

    with monkeypatch.context() as patch:
        patch.setattr(LaggingStore, "copy_file", stopping)
        with pytest.raises(KeyboardInterrupt):
            remove(run, Kind.URLS, urls)
    with pytest.raises(InputError, match="a removal was begun and is not finished"):
        build_on(small_built, run)
    remove(run, Kind.URLS, urls)
    assert pending(run) is None
    assert verify(run) == []
    assert not [path for path in store.objects if "/staging/" in path]


def test_what_goes_need_not_be_listed(built: tuple[LaggingStore, Folder], tmp_path: Path) -> None:
    """All pages go, and so files that no part has any more; a report quotes them, and so may a trace."""
    store, run = built
    before = {path for path in store.objects if path.startswith("bucket/run/shards/")}
    for name in FILES:
        (run / "report").write(name, b"a quotation")
    run.write("extract-error.txt", b"a trace")
    (document, *_) = (run / "corpus").read_table("part-00000.parquet", ["id"])["id"].to_pylist()
    Labels(run).put(Labelled(document, note="a quotation"))
    urls = tmp_path / "urls.txt"
    urls.write_text("\n".join(page.url for page in FEW))
    assert remove(run, Kind.URLS, urls).has_report
    for stage in STAGES:
        manifest = read_manifest(run / stage.folder)
        assert manifest is not None
        files = {file.name for part in manifest.parts for file in part.files}
        known = {MANIFEST} | files | {f"{part.name}.json" for part in manifest.parts}
        here = f"bucket/run/{stage.folder}/"
        assert {path.removeprefix(here) for path in store.objects if path.startswith(here)} == known
    assert before - store.objects.keys()
    assert not [path for path in store.objects if "/report/" in path or path.endswith("-error.txt")]
    assert not [path for path in store.objects if "/labels/" in path]


def test_what_would_be_removed_leaves_nothing(built: tuple[LaggingStore, Folder], tmp_path: Path) -> None:
    """The new files that it is told from quote what stays."""
    store, run = built
    before = set(store.objects)
    urls = tmp_path / "urls.txt"
    urls.write_text(NEAR)
    assert remove(run, Kind.URLS, urls, dry_run=True).links
    assert set(store.objects) == before


@pytest.mark.parametrize("listed", [{1, 3}, {2}, {1, 2}, set()])
def test_tombstones_are_found_between_those_that_are_listed_and_behind_them(listed: set[int]) -> None:
    with lagging(FOREVER) as (store, run):
        paths = [f"bucket/run/removed/removal-{number:05d}.parquet" for number in (1, 2, 3)]
        for number, path in enumerate(paths, 1):
            if number in listed:
                store.objects[path] = b""
            else:
                store.put(path, b"")
        assert [f"bucket/run/removed/{name}" for name in table_names(run)] == paths
        assert next_name(run) == "removal-00004"


def test_a_removal_does_not_read_what_an_earlier_one_left(remote: tuple[LaggingStore, Folder]) -> None:
    store, run = remote
    (run / "corpus").write("part", b"the run's")
    folder = staging(run) / "corpus"
    store.put("bucket/run/removed/staging/corpus/part", b"left, and not listed")
    assert folder.read("part") == b"the run's"
    with folder.open("part") as file:
        assert file.read() == b"the run's"
    folder.write("part", b"new")
    assert folder.read("part") == b"new"
    with folder.open("part") as file:
        assert file.read() == b"new"


def test_what_is_too_large_to_be_copied_is_sent(
    built: tuple[LaggingStore, Folder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = built
    copy = LaggingStore.copy_file
    copied: list[str] = []

    def limited(self: LaggingStore, src: str, dest: str) -> None:
        assert len(self.objects[src]) <= 1000
        copied.append(dest)
        copy(self, src, dest)

    monkeypatch.setattr(LaggingStore, "copy_file", limited)
    monkeypatch.setattr(staged, "_COPIED_BYTES", 1000)
    urls = tmp_path / "urls.txt"
    urls.write_text(NEAR)
    remove(run, Kind.URLS, urls)
    assert copied
    assert pending(run) is None
    assert verify(run) == []


# --- fetch ------------------------------------------------------------------------------------------------

HOST = "a.example.com"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as served:
        served.pages = {f"{HOST}/good": page("<p>good"), f"{HOST}/down": page("sorry", 500)}
        yield served


def job_on(site: Site, run: Folder) -> Job:
    """To fetch a page that is there and one that is not."""
    settings = FetchSettings(
        delay_s=0.0, tries=1, retry_wait_s=0.0, connections=4, resolve=site.resolve(HOST)
    )
    return make_job(run.uri, [[f"http://{HOST}/good", f"http://{HOST}/down"]], settings)


def test_a_retry_goes_on_on_another_machine(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its open parts are on a local disk, and gone with it; the pages from before are not."""
    with lagging(FOREVER) as (store, run):
        job = job_on(site, run)
        fetch(job)
        before = store.objects["bucket/run/pages/part-00000.warc.gz"]
        asked = len(site.log)
        site.pages[f"{HOST}/down"] = page("<p>up again")
        assert reopen(job.folder, [Reason.HTTP_5XX]) == 1
        assert read_manifest(job.folder) is None
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache.with_name("another")))
        manifest = fetch(replace(job))
        assert [one.path for one in site.log[asked:]] == ["/robots.txt", "/down"]
        assert manifest.counts.kept == 2
        assert store.objects["bucket/run/pages/part-00000.warc.gz"] == before
        part = read_sidecar(job.folder, "part-00000")
        assert part is not None
        assert {"part-00000.warc.gz", "part-00000.2.warc.gz"} <= {file.name for file in part.files}
        assert not [path for path in store.objects if path.startswith("bucket/run/pages/open/")]


def test_a_retry_that_another_machine_has_finished_is_over(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this one has of it builds on files that are gone: the part, once it is missing, begins anew."""
    with lagging(FOREVER) as (_, run):
        job = job_on(site, run)
        fetch(job)
        site.pages[f"{HOST}/down"] = page("<p>up again")
        reopen(job.folder, [Reason.HTTP_5XX])
        with monkeypatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(cache.with_name("another")))
            fetch(replace(job))
        job.folder.remove([MANIFEST, "part-00000.json"])
        assert fetch(replace(job)).counts.kept == 2


def test_a_fetch_that_is_forced_goes_on_with_no_retry(site: Site) -> None:
    with lagging(FOREVER) as (_, run):
        job = job_on(site, run)
        fetch(job)
        reopen(job.folder, [Reason.HTTP_5XX])
        forget(job.folder)
        discard(job.folder)
        asked = len(site.log)
        fetch(replace(job))
        assert {one.path for one in site.log[asked:]} == {"/robots.txt", "/good", "/down"}


def test_a_store_that_is_away_between_parts_costs_a_crawl_its_figures_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, refused = LaggingStore.open_output_stream, []

    def away(self: LaggingStore, path: str, metadata: object) -> pa.NativeFile:
        if "/open/" in path:
            refused.append(path)
            raise OSError("the store is away")
        return opened(self, path, metadata)

    monkeypatch.setattr(LaggingStore, "open_output_stream", away)
    with lagging() as (_, run):
        assert fetch(job_on(site, run)).counts.kept == 1
    assert refused
