"""Names that come from others' files lead nowhere else: archives, indexes, manifests, intents."""

import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from deploy.flink import packages
from pipeline.errors import InputError
from pipeline.fetch.indexes import locate, source_files
from pipeline.remove.staged import carry_out, pending
from pipeline.remove.tombstones import PENDING, REMOVED
from pipeline.runs import Folder
from tests.test_security_calls import FOLDERS, ROOT

LEADING_OUT = ["../victim", "a/../../victim", "..", "/victim", "a\\b", "a\0b"]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder beside the one that is read, with a file that nothing may change."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "kept.jar").write_bytes(b"kept")
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


# --- runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_folder_has_folders_below_it_only(tmp_path: Path, name: str) -> None:
    run = Folder(str(tmp_path / "run"))
    with pytest.raises(InputError, match="do not trust this run"):
        run / name
    with pytest.raises(InputError, match="do not trust this run"):
        run.path(name)


@pytest.mark.parametrize("kind", ["moves", "gone"])
@pytest.mark.parametrize(
    ("folder", "name"), [("../victim", "kept.jar"), ("links", "../../victim/kept.jar"), ("", "/kept.jar")]
)
def test_a_removal_that_others_began_changes_nothing_outside(
    tmp_path: Path, victim: Path, kind: str, folder: str, name: str
) -> None:
    run = Folder(str(tmp_path / "run"))
    moved = tmp_path / "run" / REMOVED / "staging" / "links"
    moved.mkdir(parents=True)
    (moved / "kept.jar").write_bytes(b"changed")
    intent: dict[str, dict[str, list[str]]] = {"moves": {}, "gone": {}, "told": {}} | {kind: {folder: [name]}}
    (run / REMOVED).write(PENDING, json.dumps(intent).encode())
    begun = pending(run)
    assert begun is not None
    with pytest.raises(InputError, match="do not trust this run"):
        carry_out(run, begun)
    assert files_in(victim) == {"kept.jar": b"kept"}


# --- indexes of WARC files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../secret.warc.gz", "a/../../secret.warc.gz", "{outside}/secret.warc.gz"])
def test_an_index_names_warc_files_beside_it_only(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.warc.gz").write_bytes(b"WARC/1.1\r\n")
    (tmp_path / "indexes" / "a").mkdir(parents=True)
    index = tmp_path / "indexes" / "index.cdxj"
    fields = {"url": "http://a.example/", "filename": name.format(outside=tmp_path), "offset": 0, "length": 9}
    index.write_text(f"example,a)/ 20200101000000 {json.dumps(fields)}\n")
    with pytest.raises(InputError, match="leads out of its folder"):
        source_files(str(index))


def test_folders_below_an_index_are_fine(tmp_path: Path) -> None:
    (tmp_path / "crawl").mkdir()
    (tmp_path / "crawl" / "one.warc.gz").touch()
    assert locate(str(tmp_path / "index.cdxj"), "crawl/one.warc.gz") == str(
        tmp_path / "crawl" / "one.warc.gz"
    )


# --- archives ---------------------------------------------------------------------------------------------


def entry(name: str, kind: bytes = tarfile.REGTYPE, leads_to: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, leads_to, 7 if kind == tarfile.REGTYPE else 0
    return found


# What is in an archive, and the one file that is made of it, if any is.
ENTRIES = [
    (entry("flink/deps/lib/good.jar"), "lib/good.jar"),
    (entry("flink/deps/bin/good.jar"), "bin/good.jar"),
    (entry("flink/deps/lib/notes.txt"), None),
    (entry("alone.jar"), None),
    (entry("../../victim/kept.jar"), None),
    (entry("lib/../../victim/kept.jar"), None),
    (entry("{outside}/victim/kept.jar"), None),
    (entry("{outside}/victim/lib/absolute.jar"), "lib/absolute.jar"),
    (entry("../lib/above.jar"), "lib/above.jar"),
    (entry("lib", tarfile.SYMTYPE, "{outside}/victim"), None),
    (entry("flink/lib/fifo.jar", tarfile.FIFOTYPE), None),
    (entry("flink/lib/device.jar", tarfile.CHRTYPE), None),
    (entry("flink/lib/folder.jar", tarfile.DIRTYPE), None),
]
# These lead to nothing in the archive, which ends the unpacking.
LINKS = [
    entry("flink/lib/linked.jar", tarfile.SYMTYPE, "{outside}/victim/kept.jar"),
    entry("flink/lib/hard.jar", tarfile.LNKTYPE, "{outside}/victim/kept.jar"),
]


def pip_brings(entries: Sequence[tarfile.TarInfo], outside: Path) -> Callable[[Sequence[str], str], None]:
    """What takes the place of pip: it puts an archive where it was told to."""

    def run(command: Sequence[str], _: str) -> None:
        with tarfile.open(Path(command[command.index("--dest") + 1]) / "flink.tar.gz", "w:gz") as tar:
            for one in entries:
                written = entry(
                    one.name.format(outside=outside), one.type, one.linkname.format(outside=outside)
                )
                tar.addfile(written, io.BytesIO(b"changed"[: written.size]))

    return run


@pytest.fixture
def unpacked(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, bytes]]:
    """Gives the files that an archive of some entries is unpacked to, beside which nothing may change."""
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setattr(packages, "cache", lambda: cache)

    def unpack(*entries: tarfile.TarInfo) -> dict[str, bytes]:
        folder = Path(tempfile.mkdtemp(dir=cache))
        monkeypatch.setattr(packages, "_run", pip_brings(entries, tmp_path))
        try:
            packages._fetch_flink(folder)
        finally:
            assert files_in(victim) == {"kept.jar": b"kept"}
            assert {one.name for one in tmp_path.iterdir()} == {"cache", "victim"}
            assert list(cache.iterdir()) == [folder]
        return files_in(folder)

    return unpack


@pytest.mark.parametrize(("one", "made"), ENTRIES)
def test_flinks_archive_writes_its_jars_alone(
    unpacked: Callable[..., dict[str, bytes]], one: tarfile.TarInfo, made: str | None
) -> None:
    assert unpacked(one) == ({made: b"changed"} if made else {})


@pytest.mark.parametrize("link", LINKS)
def test_links_in_flinks_archive_lead_nowhere(
    unpacked: Callable[..., dict[str, bytes]], link: tarfile.TarInfo
) -> None:
    with pytest.raises(KeyError):
        unpacked(link)


def test_entries_of_flinks_archive_do_not_help_each_other(unpacked: Callable[..., dict[str, bytes]]) -> None:
    made = {name: b"changed" for _, name in ENTRIES if name}
    assert unpacked(*(one for one, _ in ENTRIES)) == made


def test_archives_of_files_are_opened_in_these_places_only() -> None:
    """Whoever adds one adds a test like the one above."""
    opening = {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if any(f"import {name}" in path.read_text("utf-8") for name in ("tarfile", "zipfile"))
    }
    tests = {"tests/test_pipeline_engines.py", "tests/test_security_calls.py", "tests/test_security_paths.py"}
    assert opening - tests == {"deploy/flink/packages.py"}
