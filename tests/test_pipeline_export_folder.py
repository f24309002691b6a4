"""What an export refuses, and what it leaves in its folder: whole files, and nothing of others replaced."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import InputError, RunError
from pipeline.export.documents import documents
from pipeline.export.export import export
from pipeline.export.source import open_source
from pipeline.export.target import UNFINISHED
from pipeline.runs import Folder, read_manifest
from tests.command import webtext
from tests.export_run import build, names, shard_tokens
from tokenizer.files import MERGES_TXT, TOKENIZER_JSON, file_contents
from tokenizer.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A run that no test changes."""
    return build(Folder(str(tmp_path_factory.mktemp("built") / "run")))


@pytest.fixture
def spoilt(built: Folder, tmp_path: Path) -> Folder:
    """The same run, for a test to spoil."""
    shutil.copytree(built.path(), tmp_path / "run")
    return Folder(str(tmp_path / "run"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize("form", ["nanogpt", "llmc", "jsonl", "parquet"])
def test_an_export_that_is_there_is_left_as_it_is(built: Folder, out: Path, form: str) -> None:
    first, was_new = export(built, form, Folder(str(out)))
    before = {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in out.iterdir()}
    second, is_new = export(built, form, Folder(str(out)))
    assert (was_new, is_new) == (True, False)
    assert first == second
    assert {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in out.iterdir()} == before
    export(built, form, Folder(f"file://{out}-again"))
    again = Path(f"{out}-again")
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in out.iterdir()
    }


DIES = """
import os, sys
from pipeline.export.export import export
from pipeline.export.source import Source
from pipeline.runs import Folder
blocks = Source.token_blocks
def dying(source, split):
    for number, block in enumerate(blocks(source, split)):
        if split == "val" and number:
            os._exit(9)
        yield block
Source.token_blocks = dying
export(Folder(sys.argv[1]), "nanogpt", Folder(sys.argv[2]))
"""


def test_a_kill_leaves_no_half_and_the_same_command_does_it_again(built: Folder, out: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", DIES, built.path(), str(out)], cwd=ROOT, check=False)
    assert dead.returncode == 9
    left = names(out)
    assert {name for name in left if not name.endswith(".tmp")} == {"train.bin", UNFINISHED}
    assert any(name.startswith("val.bin.") for name in left)
    (out / "notes.txt").write_text("mine")
    _, is_new = export(built, "nanogpt", Folder(str(out)))
    assert is_new
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    clean = out.parent / "clean"
    export(built, "nanogpt", Folder(str(clean)))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in clean.iterdir()
    }


def test_another_form_may_take_the_place_of_an_unfinished_export(built: Folder, out: Path) -> None:
    subprocess.run([sys.executable, "-c", DIES, built.path(), str(out)], cwd=ROOT, check=False)
    export(built, "parquet", Folder(str(out)))
    assert "train.bin" not in names(out)
    assert UNFINISHED not in names(out)


def test_what_is_not_an_exports_own_is_never_replaced(built: Folder, out: Path) -> None:
    out.mkdir()
    (out / "train.bin").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"is not empty \(it has train.bin\): name a new or an empty folder"):
        export(built, "nanogpt", Folder(str(out)))
    assert names(out) == {"train.bin"}
    with pytest.raises(InputError, match="is not empty"):
        export(built, "nanogpt", built / "shards")  # with a manifest.json of another kind
    with pytest.raises(InputError, match="is a file: name a folder"):
        export(built, "nanogpt", Folder(str(out / "train.bin")))


def test_a_finished_export_is_never_replaced(built: Folder, out: Path) -> None:
    export(built, "nanogpt", Folder(str(out)))
    with pytest.raises(InputError, match=r"holds another export \(nanogpt, train, val, test of run\)"):
        export(built, "llmc", Folder(str(out)))
    with pytest.raises(InputError, match="holds another export"):
        export(built, "nanogpt", Folder(str(out)), ["train"])
    (out / "val.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"val.bin is missing or is not as this export has written it"):
        export(built, "nanogpt", Folder(str(out)))


def give_tokenizer(run: Folder, vocabulary: Vocabulary, *, to_shards: bool) -> None:
    """Puts another tokenizer into a run, as its stage would; and into what its shards say, if asked to."""
    folder, shards = run / "tokenizer", read_manifest(run / "shards")
    manifest = read_manifest(folder)
    assert manifest is not None
    assert shards is not None
    contents = file_contents(vocabulary)
    files = tuple(
        folder.write(name, contents[name]) for name in (file.name for file in manifest.parts[0].files)
    )
    folder.write(
        "manifest.json", replace(manifest, parts=(replace(manifest.parts[0], files=files),)).encode()
    )
    if to_shards:
        (digest,) = (file.sha256 for file in files if file.name == TOKENIZER_JSON)
        facts = {**shards.facts, "tokenizer": digest}
        (run / "shards").write("manifest.json", replace(shards, facts=facts).encode())


def test_a_tokenizer_that_did_not_make_the_shards_is_refused(spoilt: Folder, out: Path) -> None:
    give_tokenizer(spoilt, Vocabulary(()), to_shards=False)
    for form in ("nanogpt", "jsonl"):
        with pytest.raises(
            InputError, match=r"tokenizer.json is not the tokenizer of the run's shards: .*SHA-256"
        ):
            export(spoilt, form, Folder(str(out)))
    assert not out.exists()


def test_a_tokenizer_whose_file_was_edited_is_refused(spoilt: Folder, out: Path) -> None:
    path = Path(spoilt.path("tokenizer"), MERGES_TXT)
    path.write_bytes(path.read_bytes().replace(b"0.2", b"0.3"))
    with pytest.raises(InputError, match=r"merges.txt is missing or is not as its stage has written it"):
        export(spoilt, "nanogpt", Folder(str(out)))


def test_wide_tokens_are_refused_by_the_forms_of_two_bytes(spoilt: Folder, out: Path) -> None:
    pairs = ((bytes([a]), bytes([b])) for a in range(256) for b in range(256))
    many = Vocabulary(tuple(pair for pair, _ in zip(pairs, range(65_494 - 256), strict=False)))
    assert many.vocab_size + 5 == 65_500
    give_tokenizer(spoilt, many, to_shards=True)
    for form in ("nanogpt", "llmc"):
        with pytest.raises(InputError, match=rf"65,500 here.*and {form} reads uint16 only. Export jsonl or"):
            export(spoilt, form, Folder(str(out)))
    assert not out.exists()
    exported, _ = export(spoilt, "parquet", Folder(str(out)))
    assert exported.vocab_size == 65_500


def test_a_damaged_shard_is_not_copied(spoilt: Folder, out: Path) -> None:
    path = sorted(Path(spoilt.path("shards")).glob("val-*.bin"))[-1]
    path.write_bytes(path.read_bytes()[:-2] + b"\0\0")
    with pytest.raises(RunError, match=rf"{path.name} is damaged .* `webtext verify` tells"):
        export(spoilt, "nanogpt", Folder(str(out)))
    assert names(out) == {"train.bin", UNFINISHED}
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match=rf"{path.name} has .* bytes, and .* by its manifest"):
        export(spoilt, "nanogpt", Folder(str(out)))
    path.unlink()
    with pytest.raises(InputError, match=rf"{path.name} is missing: run `webtext build`"):
        export(spoilt, "nanogpt", Folder(str(out)))


@pytest.mark.parametrize("name", ["corpus/part-00001.parquet", "shards/part-00001.documents.parquet"])
def test_a_damaged_table_is_named(spoilt: Folder, out: Path, name: str) -> None:
    path = Path(spoilt.path(name))
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    path.write_bytes(data)
    with pytest.raises(RunError, match=rf"{path.name} cannot be read .* `webtext verify` tells"):
        export(spoilt, "parquet", Folder(str(out)))
    assert "manifest.json" not in names(out)


def test_a_corpus_that_did_not_make_the_shards_is_refused_for_documents_only(
    spoilt: Folder, out: Path
) -> None:
    corpus = read_manifest(spoilt / "corpus")
    assert corpus is not None
    (spoilt / "corpus").write("manifest.json", replace(corpus, version="another").encode())
    with pytest.raises(InputError, match="is not the corpus that the run's shards were made from"):
        export(spoilt, "jsonl", Folder(str(out)))
    (spoilt / "corpus").remove(["manifest.json"])
    with pytest.raises(InputError, match=r"dedupe is not finished.*webtext build FILE --until dedupe"):
        export(spoilt, "jsonl", Folder(str(out)))
    export(spoilt, "nanogpt", Folder(str(out)))


def test_documents_that_are_not_in_the_corpus_in_the_shards_order_are_told(built: Folder) -> None:
    source = open_source(built)
    backwards = replace(source, shards=replace(source.shards, parts=source.shards.parts[::-1]))
    with pytest.raises(RunError, match=r"document \w{32} is not where the shards' tables have it"):
        list(documents(backwards, "train"))


def test_shards_must_be_finished(spoilt: Folder, out: Path, tmp_path: Path) -> None:
    (spoilt / "shards").remove(["manifest.json"])
    with pytest.raises(InputError, match=r"shard is not finished.*webtext build FILE --until shard"):
        export(spoilt, "nanogpt", Folder(str(out)))
    with pytest.raises(InputError, match="there is no run here"):
        export(Folder(str(tmp_path / "nothing")), "nanogpt", Folder(str(out)))
    assert not out.exists()


def forget_split(run: Folder, split: str) -> None:
    manifest = read_manifest(run / "shards")
    assert manifest is not None
    parts = tuple(
        replace(part, files=tuple(file for file in part.files if not file.name.startswith(split)))
        for part in manifest.parts
    )
    (run / "shards").write("manifest.json", replace(manifest, parts=parts).encode())


def test_a_split_that_holds_nothing(spoilt: Folder, out: Path) -> None:
    forget_split(spoilt, "test")
    with pytest.raises(InputError, match="has no test split, only train, val"):
        export(spoilt, "nanogpt", Folder(str(out)), ["test"])
    exported, _ = export(spoilt, "nanogpt", Folder(str(out)))
    assert list(exported.tokens) == ["train", "val"]
    for split in ("train", "val"):
        forget_split(spoilt, split)
    with pytest.raises(InputError, match="hold no token"):
        export(spoilt, "nanogpt", Folder(str(out)))


def test_the_command(built: Folder, out: Path) -> None:
    num = len(shard_tokens(built, "val"))
    arguments = ("export", built.path(), "--format", "nanogpt", "--out", str(out), "--split", "val")
    answer = webtext(*arguments)
    assert answer.returncode == 0, answer.stderr
    assert f"val: {num:,} tokens of" in answer.stdout
    assert f"wrote {out}" in answer.stdout
    assert "has this export already" in webtext(*arguments).stdout
    refused = webtext("export", built.path(), "--format", "jsonl", "--out", str(out))
    assert refused.returncode == 2
    assert "holds another export" in refused.stderr
