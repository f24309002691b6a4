"""A bit that a disk has flipped in a finished file: noticed before anything is made of it, and mended."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from pipeline.errors import InputError, RunError
from pipeline.held import held
from pipeline.runs import MANIFEST, Counts, Folder, Manifest, PartWriter, read_manifest, read_sidecar
from pipeline.seal import seal, unseal
from pipeline.stages import BY_NAME, forget
from tests.test_build_realweb import digests
from webtext.build import build
from webtext.settings import load


def flip(path: Path, at: int | None = None) -> None:
    """Makes one bit of a file another."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(data)


def test_what_is_sealed_comes_back_and_no_bit_of_it_may_be_another() -> None:
    value = {"counts": {"in": 3, "kept": 3}, "name": "part-00000"}
    data = seal(value)
    assert data == seal(dict(reversed(value.items())))
    assert unseal(data, value) == value
    assert unseal(json.dumps(value).encode(), value) == value  # from before there were checksums
    for at in range(len(data)):
        for bit in range(8):
            other = bytearray(data)
            other[at] ^= 1 << bit
            with pytest.raises(ValueError):  # noqa: PT011  # JSON's, UTF-8's or ours
                unseal(bytes(other), value)


@pytest.mark.parametrize("data", [b"[]", b"7", b"null", b'"checksum"', b"", b'{"checksum": 1}'])
def test_what_is_no_sealed_object_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # JSON's or ours
        unseal(data, [])


def write_part(folder: Folder) -> None:
    writer = PartWriter(folder, "part-00000", "f")
    with writer.open("bin") as sink:
        sink.write(bytes(3_000_000))
    writer.commit(Counts(1, 1), seconds=1.0)


def test_a_changed_file_is_not_opened(run: Folder) -> None:
    write_part(run)
    path = Path(run.path("part-00000.bin"))
    flip(path)
    for read in (lambda: held(run).read(path.name), lambda: held(run).open(path.name)):
        with pytest.raises(RunError, match=r"part-00000\.bin: its bytes have changed .*; delete it, and run"):
            read()
    flip(path)
    assert held(run).read(path.name) == bytes(3_000_000)
    assert (held(run) / "below").uri == (run / "below").uri


@pytest.mark.parametrize("harm", [flip, Path.unlink], ids=["damaged", "gone"])
def test_where_its_sidecar_tells_nothing_a_file_is_held_against_the_manifest(
    run: Folder, harm: Callable[[Path], None]
) -> None:
    write_part(run)
    part = read_sidecar(run, "part-00000")
    assert part is not None
    run.write(MANIFEST, Manifest("link", "1", "f", {}, {}, Counts(1, 1), (part,), {}).encode())
    harm(Path(run.path("part-00000.json")))
    flip(Path(run.path("part-00000.bin")))
    with pytest.raises(RunError, match=r"part-00000\.bin: its bytes have changed"):
        held(run).read("part-00000.bin")
    flip(Path(run.path("part-00000.bin")))
    assert held(run).read("part-00000.bin") == bytes(3_000_000)


def test_files_of_no_part_are_read_as_they_are(run: Folder) -> None:
    run.write("plan.json", b"{}")
    run.write("training.json", b"{}")
    assert held(run).read("plan.json") == b"{}"
    assert read_sidecar(held(run), "part-00000") is None


def build_in(folder: Path, until: str = "shard") -> None:
    settings = load(folder / "webtext.toml")
    run = Folder(settings.run.dir)
    build(settings, run, until=until, watch=lambda *_: nullcontext(), on_stage=lambda _: None)


@pytest.fixture
def copy(small_built: Path, tmp_path: Path) -> Path:
    """A run that is built, to do harm to."""
    shutil.copytree(small_built, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize(
    ("damaged", "force"),
    [
        ("submissions/part-00000.parquet", "link"),
        ("links/part-00000.parquet", "fetch"),
        ("pages/part-00000.warc.gz", "extract"),
        ("pages/part-00000.ledger.parquet", "extract"),
        ("documents/part-00000.parquet", "filter"),
        ("filtered/part-00000.parquet", "dedupe"),
        ("corpus/part-00000.parquet", "tokenizer"),
    ],
)
def test_nothing_is_made_of_a_damaged_file(copy: Path, small_built: Path, damaged: str, force: str) -> None:
    """It passes for finished, by its size; and mending it alone would leave what was made of it."""
    path = copy / "run" / damaged
    flip(path)
    forget(Folder(str(copy / "run" / BY_NAME[force].folder)))
    with pytest.raises(RunError, match=rf"{damaged}: its bytes have changed"):
        build_in(copy)
    path.unlink()
    build_in(copy)
    assert digests(copy / "run") == digests(small_built / "run")


def test_a_sidecar_that_is_gone_is_written_again_from_the_manifest(copy: Path) -> None:
    pages = Folder(str(copy / "run" / "pages"))
    before = Path(pages.path("part-00000.warc.gz")).stat()
    sidecar = read_sidecar(pages, "part-00000")
    Path(pages.path("part-00000.json")).unlink()
    build_in(copy)
    found = read_sidecar(pages, "part-00000")
    assert sidecar is not None
    assert found is not None
    assert (found.files, found.counts, found.facts) == (sidecar.files, sidecar.counts, sidecar.facts)
    assert Path(pages.path("part-00000.warc.gz")).stat() == before, "no page is taken anew"


def test_a_damaged_manifest_costs_nothing(copy: Path, small_built: Path) -> None:
    path = copy / "run" / "pages" / MANIFEST
    flip(path)
    with pytest.raises(InputError, match="is damaged"):
        read_manifest(Folder(str(path.parent)))
    build_in(copy)
    assert digests(copy / "run") == digests(small_built / "run")
