"""A small run directory for the other tests, and what is refused where one is not as it should be."""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from model.config import ModelSettings, TrainSettings
from model.data.sequences import open_shards
from model.data.workload import open_workload
from model.errors import ModelError
from model.training.recipe import resolve_recipe
from tokenizer.encode import Tokenizer
from tokenizer.files import write_tokenizer
from tokenizer.sentences import token_spans
from tokenizer.tokenfile import Index, document_index, index_bytes, token_dtype
from tokenizer.train import train
from tokenizer.vocabulary import Vocabulary

Document = list[str]

_ANIMALS = ("cat", "dog", "horse", "sparrow", "whale", "hedgehog")
_VERBS = ("sees", "follows", "remembers", "outruns", "ignores")
_PLACES = ("garden", "harbour", "library", "mountain", "kitchen")


def make_documents(count: int, seed: int = 0) -> list[Document]:
    """Documents of one to twelve simple sentences, from a grammar that a tiny model can learn."""
    rng = np.random.default_rng(seed)

    def sentence() -> str:
        first, second = rng.choice(_ANIMALS, 2)
        return f"The {first} {rng.choice(_VERBS)} a {second} in the {rng.choice(_PLACES)}."

    return [[sentence() for _ in range(rng.integers(1, 13))] for _ in range(count)]


@cache
def make_vocabulary(vocab_size: int = 320) -> Vocabulary:
    return train([" ".join(document) for document in make_documents(60)], vocab_size)


def write_run(run: Path, splits: dict[str, list[list[Document]]] | None = None) -> Tokenizer:
    """Writes `run`'s tokenizer and shards; `splits` are documents by file by split."""
    if splits is None:
        documents = make_documents(220)
        splits = {"train": [documents[:120], documents[120:200]], "val": [documents[200:]]}
    write_tokenizer(make_vocabulary(), run / "tokenizer")
    tokenizer = Tokenizer.load(run / "tokenizer")
    shards = run / "shards"
    shards.mkdir()
    tokens = {}
    for split, files in splits.items():
        tokens[split] = sum(
            _write_shard(shards, f"{split}-{number:05d}", documents, tokenizer)
            for number, documents in enumerate(files)
        )
    _write_manifest(shards, tokenizer, tokens)
    return tokenizer


def _write_shard(folder: Path, name: str, documents: Sequence[Document], tokenizer: Tokenizer) -> int:
    dtype = token_dtype(tokenizer.vocab_size)
    ids: list[int] = []
    lengths, starts, sizes, bounds = [], [], [], [0]
    for document in documents:
        tokens = tokenizer.encode(" ".join(document))
        ends = np.cumsum([len(s) + 1 for s in document]) - np.array([0] * (len(document) - 1) + [1])
        spans = token_spans(tokenizer.token_lengths[tokens], ends)
        starts += [len(ids) + start for start in spans[:-1].tolist()]
        sizes += np.diff(spans).tolist()
        bounds.append(len(starts))
        ids += [*tokens, tokenizer.eot_id]
        lengths.append(len(tokens) + 1)
    (folder / f"{name}.bin").write_bytes(np.array(ids, dtype).tobytes())
    (folder / f"{name}.idx").write_bytes(index_bytes(document_index(dtype, lengths)))
    sentences = Index(
        dtype=dtype,
        lengths=np.array(sizes, np.int32),
        pointers=np.array(starts, np.int64) * dtype.itemsize,
        documents=np.array(bounds, np.int64),
    )
    (folder / f"{name}.sentences.idx").write_bytes(index_bytes(sentences))
    return len(ids)


def _write_manifest(folder: Path, tokenizer: Tokenizer, tokens: dict[str, int]) -> None:
    files = [
        {
            "name": path.name,
            "bytes": path.stat().st_size,
            "rows": 0,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.iterdir())
    ]
    facts = {
        "vocab_size": tokenizer.vocab_size,
        "dtype": str(token_dtype(tokenizer.vocab_size)),
        "tokenizer": tokenizer.digest,
        "tokens": tokens,
    }
    parts = [{"name": "part-00000", "files": files}]
    manifest = {"stage": "shard", "parts": parts, "facts": facts}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _open(run: Path, model: ModelSettings, train_settings: TrainSettings) -> None:
    open_workload(run, model, resolve_recipe(model, train_settings), train_settings.seed)


TINY = ModelSettings(preset="tiny")


def test_a_sound_run_opens(tmp_path: Path) -> None:
    tokenizer = write_run(tmp_path)
    shards = open_shards(tmp_path)
    assert shards.vocab_size == tokenizer.vocab_size
    assert sum(int(f.index.lengths.sum()) for f in shards.documents("train")) == shards.tokens["train"]
    assert [len(f.index.documents) - 1 for f in shards.sentences("train")] == [120, 80]
    last = shards.documents("val")[0][-1]
    assert last[-1] == tokenizer.eot_id


def test_only_listed_files_are_read(tmp_path: Path) -> None:
    write_run(tmp_path)
    for suffix in (".bin", ".idx"):
        shards = tmp_path / "shards"
        (shards / f"train-00007{suffix}").write_bytes((shards / f"train-00000{suffix}").read_bytes())
    assert len(open_shards(tmp_path).documents("train")) == 2


def test_no_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no token shards .*run the shard stage"):
        open_shards(tmp_path)


def test_a_strange_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "manifest.json").write_text('{"stage": "dedupe", "parts": []}')
    with pytest.raises(ModelError, match=r"manifest\.json is not a manifest of token shards"):
        open_shards(tmp_path)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "shards" / "train-00001.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ModelError, match=r"train-00001\.bin has [\d,]+ bytes, the manifest says"):
        open_shards(tmp_path)


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_tokenizer(make_vocabulary(310), tmp_path / "tokenizer")
    with pytest.raises(ModelError, match="made by another tokenizer"):
        _open(tmp_path, TINY, TrainSettings())


def test_a_missing_tokenizer_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        _open(tmp_path, TINY, TrainSettings())


@pytest.mark.parametrize("architecture", ["gpt2", "albert"])
def test_too_few_tokens_are_refused(tmp_path: Path, architecture: str) -> None:
    write_run(tmp_path, {"train": [make_documents(3)], "val": [make_documents(1)]})
    model = ModelSettings.model_validate({"architecture": architecture, "preset": "tiny"})
    with pytest.raises(ModelError, match=r"not enough tokens for one batch: .*lower"):
        _open(tmp_path, model, TrainSettings())


def test_a_batch_under_one_sequence_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    with pytest.raises(ModelError, match=r"train\.batch_tokens: 100 tokens hold no whole sequence"):
        _open(tmp_path, TINY, TrainSettings(batch_tokens=100))


@pytest.mark.parametrize("architecture", ["gpt2", "albert"])
def test_files_without_documents_change_nothing(tmp_path: Path, architecture: str) -> None:
    model = ModelSettings.model_validate({"architecture": architecture, "preset": "tiny"})
    recipe = resolve_recipe(model, TrainSettings())
    read: list[object] = []
    documents = make_documents(100)
    for name, files in {"with": [[], documents[:60], [], documents[60:], []], "without": [documents]}.items():
        (tmp_path / name).mkdir()
        write_run(tmp_path / name, {"train": files, "val": [[]]})
        workload = open_workload(tmp_path / name, model, recipe, seed=0)
        assert workload.val is None
        if architecture == "gpt2":
            read.append(workload.train.batch(0, 40).tokens.tolist())
        else:
            read.append(workload.train.num_sequences)
    assert read[0] == read[1]
