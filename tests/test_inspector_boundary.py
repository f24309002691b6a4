"""No path leaves the run directory, whatever its manifests, its tables and its links say."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.inspector.boundary import refuse_links_out
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.runs import Folder, read_manifest, read_sidecar
from tests.resealed import resealed
from tests.synthetic_run import write_run


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "..", "a/../../b", "sub/file", "", "a\\b", "a\0b"]
)
def test_manifests_and_sidecars_name_files_in_their_folder_only(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run", upto="link")
    (tmp_path / "secret").write_text("not for you")
    manifest = Path(run.path("links/manifest.json"))
    sidecar = Path(run.path("links/part-00000.json"))
    whole = manifest.read_bytes(), sidecar.read_bytes()

    def rename_part(value: dict[str, Any]) -> None:
        value.get("parts", [value])[0]["name"] = name

    def rename_file(value: dict[str, Any]) -> None:
        value.get("parts", [value])[0]["files"][0]["name"] = name

    for change in (rename_part, rename_file):
        for path, data in zip((manifest, sidecar), whole, strict=True):
            path.write_bytes(resealed(data, change))
        with pytest.raises(InputError, match=r"manifest\.json is damaged"):
            read_manifest(run / "links")
        with pytest.raises(InputError, match=r"manifest\.json is damaged"):
            Catalogue(run)
        assert read_sidecar(run / "links", "part-00000") is None


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "a/../../../secret", "a//b", ".", "a\0b"])
def test_names_from_tables_lead_nowhere_else_either(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("not for you")
    run = Folder(str(tmp_path / "run"))
    run.write("within", b"yours")
    assert Folder(str(tmp_path)).read("run/within") == b"yours"
    for read in (run.read, run.open, run.read_table):
        with pytest.raises(InputError, match="is not the name of a file in it: do not trust this run"):
            read(name)


def test_links_that_lead_out_of_the_run_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link")
    (tmp_path / "secret").write_text("not for you")
    file = Path(run.path("links/part-00000.parquet"))
    refuse_links_out(run)
    file.rename(tmp_path / "elsewhere.parquet")
    file.symlink_to("../../elsewhere.parquet")
    with pytest.raises(
        InputError, match=r"part-00000\.parquet is a link to .*elsewhere\.parquet, out of the run"
    ):
        refuse_links_out(run)
    file.unlink()
    (tmp_path / "elsewhere.parquet").rename(file)
    within = Path(run.path("links/same.parquet"))
    within.symlink_to(file.name)
    refuse_links_out(run)


def test_a_stage_may_lie_on_another_disk(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link")
    folder = Path(run.path("links"))
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    refuse_links_out(run)
    (tmp_path / "elsewhere" / "out").symlink_to(tmp_path)
    with pytest.raises(InputError, match="out of the run"):
        refuse_links_out(run)
