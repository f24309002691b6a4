"""Token shards: read back by a reader of their own, against the tokenizer's plain encoding."""

import random
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from model.data.sequences import open_shards
from pipeline.config import ShardSettings
from pipeline.errors import InputError
from pipeline.records import CORPUS, SHARD_DOCUMENTS
from pipeline.runs import Folder, Manifest, Part
from pipeline.shard.plan import groups
from pipeline.shard.split import SPLITS
from tests.conftest import RunStage
from tests.document_parts import document, table, write_parts
from tokenizer.config import TokenizerSettings
from tokenizer.encode import Tokenizer
from tokenizer.files import write_tokenizer
from tokenizer.train import train

TEXTS = [
    "Hello there. This is Dr. Smith's café — how nice! Was it?\n\nA new paragraph here.",
    "",
    " \n ",
    "これは文です。これも文です。",
    "It cost 3.50 at J.\u00a0R. Tolkien's. Mr\u00a0B. knew\u2028nothing. <|endoftext|> is text here.",
    "\ufeff nul \0 and 😀😀. Right? Yes!",
    "word " * 400,
]


def corpus(run: Folder, num: int = 60, num_parts: int = 3) -> Manifest:
    generator = random.Random(1)
    rows = []
    for i in range(num):
        text = " ".join(generator.sample(TEXTS, 2)) if i >= len(TEXTS) else TEXTS[i]
        rows.append(
            document(f"{i:032x}", text, cluster=f"{i // 3:032x}", language=generator.choice(["en", "ja"]))
        )
    size = -(-num // num_parts)
    return write_parts(run, "dedupe", [table(rows[i : i + size], CORPUS) for i in range(0, num, size)])


def shard(run_stage: RunStage, corpus: Manifest, **settings: Any) -> Manifest:
    tokenizer = run_stage("tokenizer", TokenizerSettings(vocab_size=300), dedupe=corpus)
    return run_stage("shard", ShardSettings.model_validate(settings), dedupe=corpus, tokenizer=tokenizer)


def read_idx(data: bytes) -> tuple[list[int], list[int], list[int]]:
    """Lengths, pointers and documents of an index, straight from the layout's description."""
    magic, version, code, num_sequences, num_bounds = struct.unpack_from("<9sQBQQ", data)
    assert (magic, version, code) == (b"MMIDIDX\0\0", 1, 8)
    numbers = struct.unpack_from(f"<{num_sequences}i{num_sequences}q{num_bounds}q", data, 34)
    assert len(data) == 34 + 12 * num_sequences + 8 * num_bounds
    return (
        list(numbers[:num_sequences]),
        list(numbers[num_sequences : 2 * num_sequences]),
        list(numbers[2 * num_sequences :]),
    )


def rows_of(run: Folder, manifest: Manifest) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for part in manifest.parts:
        found = (run / "shards").read_table(part.file(".documents.parquet").name)
        assert found.schema.equals(SHARD_DOCUMENTS)
        rows += found.to_pylist()
    return rows


def texts_of(run: Folder, manifest: Manifest) -> dict[str, dict[str, Any]]:
    tables = [(run / "corpus").read_table(part.file(".parquet").name) for part in manifest.counted()]
    return {row["id"]: row for one in tables for row in one.to_pylist()}


def test_shards_hold_what_the_tokenizer_encodes(run: Folder, run_stage: RunStage) -> None:
    documents = corpus(run)
    manifest = shard(run_stage, documents, val_fraction=0.3, tokens_per_shard=1_000)
    tokenizer = Tokenizer.load(Path((run / "tokenizer").path()))
    texts = texts_of(run, documents)
    folder = run / "shards"
    rows = rows_of(run, manifest)
    assert sorted(row["id"] for row in rows) == sorted(texts)
    assert len(manifest.parts) > 1
    for row in rows:
        name = f"{row['split']}-{row['shard']:05d}"
        tokens = array("H", folder.read(f"{name}.bin"))
        lengths, pointers, _ = read_idx(folder.read(f"{name}.idx"))
        start = pointers[row["sequence"]] // 2
        assert start == row["first_token"]
        assert lengths[row["sequence"]] == row["num_tokens"]
        own = tokens[start : start + row["num_tokens"]].tolist()
        assert own == [*tokenizer.encode(texts[row["id"]]["text"]), tokenizer.eot_id]

        lengths, pointers, bounds = read_idx(folder.read(f"{name}.sentences.idx"))
        sentences = range(bounds[row["sequence"]], bounds[row["sequence"] + 1])
        assert len(sentences) == row["num_sentences"]
        joined = [tokens[pointers[i] // 2 : pointers[i] // 2 + lengths[i]].tolist() for i in sentences]
        assert [token for sentence in joined for token in sentence] == own[:-1]
        assert all(joined)
    assert {row["num_tokens"] for row in rows if not texts[row["id"]]["text"]} == {1}


def test_the_manifest_adds_up(run: Folder, run_stage: RunStage) -> None:
    documents = corpus(run)
    manifest = shard(run_stage, documents, val_fraction=0.3, tokens_per_shard=1_000)
    rows = rows_of(run, manifest)
    assert manifest.counts.num_in == manifest.counts.kept == len(rows) == 60
    tokenizer = Tokenizer.load(Path((run / "tokenizer").path()))
    assert manifest.facts == {
        "tokens": {s: sum(r["num_tokens"] for r in rows if r["split"] == s) for s in SPLITS},
        "documents": {s: sum(r["split"] == s for r in rows) for s in SPLITS},
        "sentences": {s: sum(r["num_sentences"] for r in rows if r["split"] == s) for s in SPLITS},
        "vocab_size": tokenizer.vocab_size,
        "dtype": "uint16",
        "tokenizer": tokenizer.digest,
    }
    files = {file.name: file for part in manifest.parts for file in part.files}
    for split in ("train", "val"):
        num_tokens = sum(
            file.rows for name, file in files.items() if name.startswith(split) and ".bin" in name
        )
        assert num_tokens == manifest.facts["tokens"][split]
    assert all(file.bytes == file.rows * 2 for name, file in files.items() if name.endswith(".bin"))


def test_no_cluster_straddles_the_splits(run: Folder, run_stage: RunStage) -> None:
    documents = corpus(run, num=120)
    texts = texts_of(run, documents)
    manifest = shard(run_stage, documents, val_fraction=0.3)
    splits: dict[str, set[str]] = {}
    for row in rows_of(run, manifest):
        splits.setdefault(texts[row["id"]]["cluster"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} == {"train", "val"}


def test_a_split_without_documents_has_no_files(run: Folder, run_stage: RunStage) -> None:
    manifest = shard(run_stage, corpus(run), val_fraction=0)
    names = {file.name for part in manifest.parts for file in part.files}
    assert names == {
        "train-00000.bin", "train-00000.idx", "train-00000.sentences.idx", "part-00000.documents.parquet",
    }  # fmt: skip
    assert manifest.facts["tokens"]["val"] == 0


def test_a_test_split_has_files_of_its_own_and_changes_no_other_but_train(
    run: Folder, run_stage: RunStage
) -> None:
    documents = corpus(run, num=120)
    folder = run / "shards"
    without = shard(run_stage, documents, val_fraction=0.2)
    val = {name: folder.read(name) for name in ("val-00000.bin", "val-00000.idx", "val-00000.sentences.idx")}
    manifest = shard(run_stage, documents, val_fraction=0.2, test_fraction=0.3)
    assert {name: folder.read(name) for name in val} == val
    for kind in ("tokens", "documents", "sentences"):
        before, after = without.facts[kind], manifest.facts[kind]
        assert before == {"train": after["train"] + after["test"], "val": after["val"], "test": 0}
        assert after["test"] > 0
    shards = open_shards(Path(run.path()))  # what a model learns from
    assert shards.tokens == manifest.facts["tokens"]
    for split in ("train", "val", "test"):
        (file,) = shards.documents(split)
        assert len(file) == manifest.facts["documents"][split]


def test_redone_and_resumed_work_gives_the_same_bytes(run: Folder, run_stage: RunStage) -> None:
    documents = corpus(run)
    folder = Path((run / "shards").path())

    def build() -> dict[str, bytes]:
        manifest = shard(run_stage, documents, val_fraction=0.3, tokens_per_shard=1_000)
        names = ["manifest.json", *(file.name for part in manifest.parts for file in part.files)]
        return {name: (folder / name).read_bytes() for name in names}

    first = build()
    for lost in (["part-00001.json"], ["train-00000.idx"], sorted(path.name for path in folder.iterdir())):
        (run / "shards").remove(["manifest.json", *lost])
        assert build() == first


def test_a_new_tokenizer_makes_the_shards_stale(run: Folder, run_stage: RunStage) -> None:
    documents = corpus(run)
    first = shard(run_stage, documents)
    tokenizer = run_stage("tokenizer", TokenizerSettings(vocab_size=280), dedupe=documents)
    second = run_stage("shard", ShardSettings(), dedupe=documents, tokenizer=tokenizer)
    assert second.facts["vocab_size"] == first.facts["vocab_size"] - 20
    assert second.facts["tokens"]["train"] > first.facts["tokens"]["train"]


def test_another_tokenizer_than_the_stage_s_is_refused(run: Folder, run_stage: RunStage) -> None:
    documents = corpus(run)
    tokenizer = run_stage("tokenizer", TokenizerSettings(vocab_size=300), dedupe=documents)
    write_tokenizer(train(TEXTS, 290), Path((run / "tokenizer").path()))
    with pytest.raises(InputError, match="is not the tokenizer that the run's stage has made"):
        run_stage("shard", ShardSettings(), dedupe=documents, tokenizer=tokenizer)


def test_duckdb_reads_the_documents(run: Folder, run_stage: RunStage) -> None:
    manifest = shard(run_stage, corpus(run), tokens_per_shard=1_000)
    with duckdb.connect() as connection:
        connection.from_parquet(str(Path((run / "shards").path(), "*.documents.parquet"))).create_view("rows")
        found = connection.sql("select split, sum(num_tokens)::bigint from rows group by split").fetchall()
    assert dict(found) == {split: num for split, num in manifest.facts["tokens"].items() if num}


def test_a_large_part_is_sliced_into_shards_of_about_the_size(run: Folder, run_stage: RunStage) -> None:
    documents = corpus(run, num=400, num_parts=1)
    (part,) = documents.parts
    manifest = shard(run_stage, documents, tokens_per_shard=part.facts["text_bytes"] // 4 // 4)
    rows = rows_of(run, manifest)
    assert sorted(row["id"] for row in rows) == sorted(texts_of(run, documents))
    assert len(manifest.parts) == 5
    sizes = [one.counts.num_in for one in manifest.parts if one.counts]
    assert min(sizes) > 40
    assert max(sizes) < 130


def part_of(num_bytes: int) -> Part:
    return Part("part", "", None, (), {"text_bytes": num_bytes}, 0)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([0], [1]),
        ([10, 10, 10], [3]),
        ([40, 1, 39, 5], [1, 2, 1]),
        ([39, 39], [1, 1]),
        ([0, 0, 40, 0], [4]),
        ([41], [1, 1]),  # in two slices of 20 bytes, each a shard of its own
        ([10, 90, 10], [2, 1, 2]),
    ],
)
def test_parts_are_grouped_in_order(sizes: Sequence[int], expected: list[int]) -> None:
    assert [
        len(group) for group in groups([part_of(size) for size in sizes], tokens_per_shard=10)
    ] == expected
