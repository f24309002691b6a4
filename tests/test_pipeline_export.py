"""Exports, read back as the programs that they are for read them."""

import gzip
import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.export import documents as export_documents
from pipeline.export import tokens as export_tokens
from pipeline.export.documents import EXPORTED
from pipeline.export.export import export
from pipeline.export.source import open_source
from pipeline.export.target import OURS
from pipeline.export.tokens import even_sizes, nanogpt_meta
from pipeline.records import CORPUS
from pipeline.runs import Folder, read_manifest
from tests.document_parts import document, table
from tests.export_run import SPLITS, build, names, shard_documents, shard_tokens
from tokenizer.encode import Tokenizer
from tokenizer.files import file_contents, read_gpt2


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A run that no test changes."""
    return build(Folder(str(tmp_path_factory.mktemp("built") / "run")))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def manifest_of(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return value


def test_the_run_has_shards_that_share_a_file_of_the_corpus_and_shards_of_several(built: Folder) -> None:
    def ids(pattern: str, **columns: str) -> list[set[str]]:
        paths = sorted(Path(built.path()).glob(pattern))
        filters = [(name, "=", value) for name, value in columns.items()] or None
        return [set(pq.read_table(path, filters=filters)["id"].to_pylist()) for path in paths]

    shards, files = ids("shards/*.documents.parquet", split="train"), ids("corpus/part-*.parquet")
    assert max(sum(not shard.isdisjoint(file) for shard in shards) for file in files) > 1
    assert max(sum(not shard.isdisjoint(file) for file in files) for shard in shards) > 2


def test_nanogpt_maps_all_tokens_of_the_shards(built: Folder, out: Path) -> None:
    export(built, "nanogpt", Folder(str(out)))
    tokenizer = Tokenizer.load(out)  # the folder needs nothing beside it
    for split in SPLITS:
        data = np.memmap(out / f"{split}.bin", dtype=np.uint16, mode="r")
        assert np.array_equal(data, shard_tokens(built, split))
        ends = np.flatnonzero(data == tokenizer.eot_id)
        pieces = np.split(np.asarray(data), ends + 1)
        assert [tokenizer.decode(piece[:-1]) for piece in pieces[:-1]] == [
            row["text"] for row in shard_documents(built, split)
        ]
        assert len(pieces[-1]) == 0
        # As its get_batch does.
        generator, block = np.random.default_rng(1), 64
        for i in generator.integers(0, len(data) - block, 8):
            x, y = data[i : i + block].astype(np.int64), data[i + 1 : i + 1 + block].astype(np.int64)
            assert len(x) == len(y) == block
            assert 0 <= x.min() <= max(x.max(), y.max()) < 300


def test_nanogpt_learns_the_vocabulary_from_meta_pkl(built: Folder, out: Path) -> None:
    export(built, "nanogpt", Folder(str(out)))
    meta = pickle.loads((out / "meta.pkl").read_bytes())  # noqa: S301 (ours)
    assert meta["vocab_size"] == 320  # 300, rounded up
    tokenizer = Tokenizer.load(out)
    decoded = "".join(meta["itos"][i] for i in tokenizer.encode("A nice word\n"))
    assert decoded == "A nice word\n"
    assert tokenizer.decode([meta["stoi"][c] for c in "\nword"]) == "\nword"
    assert "".join(meta["itos"][i] for i in range(meta["vocab_size"])).endswith("<|endoftext|>")


def test_nanogpt_needs_no_meta_pkl_for_the_vocabulary_of_gpt2(built: Folder, realdata: Path) -> None:
    vocabulary = read_gpt2(realdata / "text" / "encoder.json", realdata / "text" / "vocab.bpe")
    source = replace(open_source(built), tokenizer_files=file_contents(vocabulary), vocabulary=vocabulary)
    assert nanogpt_meta(source) == {}


def load_llmc(path: Path) -> npt.NDArray[np.uint16]:
    """The tokens of a file for llm.c, from the layout's description, with what its loaders ask for."""
    data = path.read_bytes()
    header = np.frombuffer(data[:1024], dtype="<i4")
    assert header.tolist() == [20240520, 1, header[2], *[0] * 253]
    tokens = np.frombuffer(data[1024:], dtype="<u2")
    assert len(tokens) == header[2] > 0
    assert len(data) == 256 * 4 + 2 * header[2]
    return tokens


def test_llmc_reads_all_tokens_of_the_shards(
    built: Folder, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_tokens, "TOKENS_PER_FILE", 300)
    exported, _ = export(built, "llmc", Folder(str(out)))
    numbers = []
    for split in ("val", "train", "test"):
        files = sorted(out.glob(f"webtext_{split}_*.bin"))
        assert len(files) > 1
        tokens = [load_llmc(path) for path in files]
        assert np.array_equal(np.concatenate(tokens), shard_tokens(built, split))
        sizes = {len(one) for one in tokens}
        assert max(sizes) <= 300
        assert max(sizes) - min(sizes) <= 1
        numbers += [int(path.stem[-6:]) for path in files]
    assert numbers == list(range(len(numbers)))
    assert sum(
        file.rows for file in exported.files if "_" in file.name and file.name.endswith(".bin")
    ) == sum(exported.tokens.values())


def test_llmc_names_files_as_its_own_script(built: Folder, out: Path) -> None:
    export(built, "llmc", Folder(str(out)), ["train"])
    assert names(out) >= {"webtext_train_000001.bin"}
    assert not any("val" in name for name in names(out) - {"vocab.json"})
    export(built, "llmc", Folder(str(out / "all")))
    assert {path.name for path in (out / "all").glob("*.bin")} == {
        "webtext_val_000000.bin", "webtext_train_000001.bin", "webtext_test_000002.bin",
    }  # fmt: skip


@given(st.integers(0, 10_000), st.integers(1, 500))
def test_sizes_are_even(total: int, most: int) -> None:
    sizes = even_sizes(total, most)
    assert sum(sizes) == total
    assert len(sizes) == -(-total // most)
    assert all(total // len(sizes) <= size <= most for size in sizes)


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """A document as a line of JSON should have it."""
    times = {
        name: row[name].strftime("%Y-%m-%dT%H:%M:%S.") + f"{row[name].microsecond // 1000:03d}Z"
        if row[name]
        else ""
        for name in ("created", "fetched")
    }
    return row | times | {name: row[name] or "" for name in ("title", "license")}


def test_json_lines_hold_documents_with_where_they_came_from(
    built: Folder, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_documents, "BYTES_PER_FILE", 4_000)
    monkeypatch.setattr(export_documents, "_DOCUMENTS_AT_ONCE", 8)
    exported, _ = export(built, "jsonl", Folder(str(out)))
    tokenizer = Tokenizer.load(out)
    for split in SPLITS:
        files = sorted(out.glob(f"{split}-*.jsonl.gz"))
        assert [path.name for path in files] == [f"{split}-{i:05d}.jsonl.gz" for i in range(len(files))]
        lines = [line for path in files for line in gzip.decompress(path.read_bytes()).decode().split("\n")]
        rows = [json.loads(line) for line in lines if line]
        assert rows == [as_json(row) for row in shard_documents(built, split)]
        assert all(len(tokenizer.encode(row["text"])) + 1 == row["num_tokens"] for row in rows)
        assert exported.documents[split] == len(rows)
    assert len(list(out.glob("train-*"))) > 1


def test_duckdb_reads_json_lines(built: Folder, out: Path) -> None:
    export(built, "jsonl", Folder(str(out)))
    with duckdb.connect() as connection:
        found = connection.execute(
            "select id, text, karma, nullif(created, '')::timestamptz is null from read_json($files)",
            {"files": str(out / "val-*.jsonl.gz")},
        ).fetchall()
    assert found == [
        (row["id"], row["text"], row["karma"], row["created"] is None)
        for row in shard_documents(built, "val")
    ]


def test_parquet_holds_documents_with_where_they_came_from(
    built: Folder, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_documents, "BYTES_PER_FILE", 8_000)
    monkeypatch.setattr(export_documents, "BYTES_PER_ROW_GROUP", 2_000)
    monkeypatch.setattr(export_documents, "_DOCUMENTS_AT_ONCE", 8)
    exported, _ = export(built, "parquet", Folder(str(out)))
    for split in SPLITS:
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            found = connection.read_parquet(str(out / f"{split}-*.parquet")).to_arrow_table().to_pylist()
        assert found == shard_documents(built, split)
    train = sorted(out.glob("train-*.parquet"))
    assert len(train) > 1
    for path in train:
        metadata = pq.read_metadata(path)
        assert pq.read_schema(path).equals(EXPORTED)
        assert metadata.num_row_groups > 1
        assert metadata.row_group(0).column(1).compression == "ZSTD"
    rows = {file.name: file.rows for file in exported.files}
    assert {path.name: pq.read_metadata(path).num_rows for path in train} == {
        path.name: rows[path.name] for path in train
    }


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_hugging_face_datasets_loads_the_folder(
    built: Folder, tmp_path: Path, out: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    export(built, form, Folder(str(out)))
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    for split, theirs in zip(SPLITS, ("train", "validation", "test"), strict=True):
        rows = shard_documents(built, split)
        assert loaded[theirs].column_names == EXPORTED.names
        assert loaded[theirs].to_list() == (rows if form == "parquet" else [as_json(row) for row in rows])


def test_hugging_face_datasets_reads_a_column_that_is_empty_for_long(tmp_path: Path) -> None:
    """It takes a column's type from its first 10 MB, and fails where a null or a time misleads it."""
    datasets = pytest.importorskip("datasets")
    late = {"title": "T", "license": "L", "created": datetime(2019, 1, 1, tzinfo=UTC)}
    rows = [document("1", "x" * 11_000_000, license=None, created=None), document("2", "x", **late)]
    whole = table(rows, CORPUS).append_column("split", pa.array(["train"] * 2))
    whole = whole.append_column("num_tokens", pa.array([1, 1], pa.int32())).select(EXPORTED.names)
    (tmp_path / "train.jsonl").write_bytes(export_documents.json_lines(whole))
    files = str(tmp_path / "train.jsonl")
    loaded = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded["license"][:] == ["", "L"]
    assert loaded["created"][:] == ["", "2019-01-01T00:00:00.000Z"]


def test_a_split_by_itself(built: Folder, out: Path) -> None:
    exported, _ = export(built, "parquet", Folder(str(out)), ["val"])
    assert exported.tokens == {"val": len(shard_tokens(built, "val"))}
    assert sorted(path.name for path in out.glob("*.parquet")) == ["val-00000.parquet"]


def test_the_manifest_says_what_is_there_and_what_it_is_made_from(built: Folder, out: Path) -> None:
    shards = read_manifest(built / "shards")
    assert shards is not None
    export(built, "nanogpt", Folder(str(out)))
    value = manifest_of(out)
    assert value["shards"] == shards.digest()
    assert value["tokenizer"] == Tokenizer.load(out).digest
    assert (value["vocab_size"], value["end_of_text"]) == (305, 299)
    assert {file["name"] for file in value["files"]} == names(out) - {"manifest.json"}
    for file in value["files"]:
        assert Folder(str(out)).sizes()[file["name"]] == file["bytes"]
    assert all(OURS.fullmatch(name) for name in names(out))
    assert names(out) >= names(Path(built.path("tokenizer"))) - {"manifest.json", "vocabulary.json"}
    assert str(out.parent) not in (out / "manifest.json").read_text()
