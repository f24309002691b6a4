"""Shards, tables and tokenizers as other programs open them: Megatron, nanoGPT's way, Hugging Face's, DuckDB.

Megatron's own reader and its own data sets for GPT and for BERT read the shards of a run; what they give is
held against the tokenizer's plain encoding of the corpus.
"""

import contextlib
import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pytest
import torch

from pipeline.config import Section, ShardSettings
from pipeline.records import CORPUS
from pipeline.runs import Counts, Folder, Manifest, PartWriter
from pipeline.stages import BY_NAME, Job, execute
from tests.document_parts import document, table, write_parts
from tokenizer.encode import Tokenizer
from tokenizer.files import MERGES_TXT, TOKENIZER_JSON, VOCAB_JSON, file_contents
from tokenizer.train import train
from tokenizer.vocabulary import Vocabulary

WORDS = [
    "the",
    "ship",
    "left",
    "Café",
    "Ærø",
    "😀",
    "これは文",
    "3.50",
    "<|endoftext|>",
    "[MASK]",
    "don't",
    "\u2028",
]
NUM_DOCUMENTS = 90


@dataclass(frozen=True)
class Built:
    """A run with a corpus, a tokenizer and shards."""

    folder: Path
    manifest: Manifest
    tokenizer: Tokenizer
    texts: dict[str, str]  # by id

    @property
    def dtype(self) -> str:
        """Of the tokens."""
        return "uint16" if self.tokenizer.vocab_size < 65_500 else "int32"

    def shards(self) -> list[str]:
        """Paths of all shards, without their ends."""
        names = [file.name for part in self.manifest.parts for file in part.files]
        return [str(self.folder / "shards" / name[:-4]) for name in names if name.endswith(".bin")]

    def documents(self, shard: str) -> list[list[int]]:
        """What a shard has to hold, in order, by the document table and the tokenizer."""
        split, number = Path(shard).name.rsplit("-", 1)
        with duckdb.connect() as connection:
            rows = connection.execute(
                "select id from read_parquet(?) where split = ? and shard = ? order by sequence",
                [str(self.folder / "shards" / "*.documents.parquet"), split, int(number)],
            ).fetchall()
        return [[*self.tokenizer.encode(self.texts[name]), self.tokenizer.eot_id] for (name,) in rows]


def make_text(generator: random.Random) -> str:
    sentences = [
        " ".join(generator.choices(WORDS, k=generator.randint(3, 9)))
        + generator.choice([". ", "! ", ".\n\n"])
        for _ in range(generator.choice([0, 1, 2, 5, 12]))
    ]
    return "".join(sentences)


def two_byte_vocabulary() -> Vocabulary:
    """A vocabulary that needs int32: every pair of bytes is a token."""
    return Vocabulary(tuple((bytes([a]), bytes([b])) for a in range(256) for b in range(256)))


def write_vocabulary(run: Folder, vocabulary: Vocabulary) -> Manifest:
    """Writes a vocabulary as the finished tokenizer stage of a run."""
    writer = PartWriter(run / "tokenizer", "vocabulary", "by hand")
    contents = file_contents(vocabulary)
    for name, data in contents.items():
        with writer.open_named(name) as sink:
            sink.write(data)
    facts = {
        "vocab_size": vocabulary.vocab_size + 5,
        "tokenizer": hashlib.sha256(contents[TOKENIZER_JSON]).hexdigest(),
    }
    part = writer.commit(Counts(1, 1), seconds=0, facts=facts)
    manifest = Manifest("tokenizer", "0", "by hand", {}, {}, Counts(1, 1), (part,), facts)
    (run / "tokenizer").write("manifest.json", manifest.encode())
    return manifest


def run_shard(run: Folder, settings: Section, **inputs: Manifest) -> Manifest:
    job = Job(BY_NAME["shard"], run, settings, inputs)
    return execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())


@pytest.fixture(scope="module", params=["uint16", "int32"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    run = Folder(str(tmp_path_factory.mktemp(request.param) / "run"))
    generator = random.Random(5)
    texts = {f"{i:032x}": make_text(generator) for i in range(NUM_DOCUMENTS)}
    rows = [document(name, text, karma=int(name, 16)) for name, text in texts.items()]
    corpus = write_parts(
        run, "dedupe", [table(rows[i : i + 30], CORPUS) for i in range(0, NUM_DOCUMENTS, 30)]
    )
    vocabulary = train(texts.values(), 300) if request.param == "uint16" else two_byte_vocabulary()
    settings = ShardSettings(val_fraction=0.25, tokens_per_shard=1_000)
    manifest = run_shard(run, settings, dedupe=corpus, tokenizer=write_vocabulary(run, vocabulary))
    built = Built(Path(run.path()), manifest, Tokenizer.load(Path(run.path("tokenizer"))), texts)
    assert built.dtype == manifest.facts["dtype"] == request.param
    assert len(manifest.parts) > 1
    assert {Path(one).name.split("-")[0] for one in built.shards()} == {"train", "val"}
    assert "" in texts.values()
    return built


@pytest.fixture(scope="module")
def megatron() -> ModuleType:
    """Megatron's module of indexed data sets."""
    found: ModuleType = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    return found


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """Megatron's data sets ask which of several processes they are in."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


class MegatronTokenizer:
    """What Megatron asks a tokenizer for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        specials = tokenizer.specials
        self.eod, self.pad, self.bos = tokenizer.eot_id, specials["[PAD]"], None
        self.cls, self.sep, self.mask = specials["[CLS]"], specials["[SEP]"], specials["[MASK]"]
        self.vocab_size = tokenizer.vocab_size
        self.inv_vocab = {token: str(token) for token in range(tokenizer.vocab_size)}
        self.unique_identifiers = {"digest": tokenizer.digest}


def link_sentences(shard: str, folder: Path) -> str:
    """A name under which Megatron finds a shard's tokens with the index over sentences.

    It takes the tokens' file from the index's name, and ours stands over the same tokens as the other one.
    """
    stem = folder / f"{Path(shard).name}-sentences"
    stem.with_suffix(".bin").symlink_to(f"{shard}.bin")
    stem.with_suffix(".idx").symlink_to(f"{shard}.sentences.idx")
    return str(stem)


@pytest.mark.parametrize("mmap", [True, False])
def test_megatron_reads_the_documents(built: Built, megatron: ModuleType, *, mmap: bool) -> None:
    num_tokens = 0
    for shard in built.shards():
        theirs = megatron.IndexedDataset(shard, mmap=mmap)
        ours = built.documents(shard)
        assert [theirs[i].tolist() for i in range(len(theirs))] == ours
        assert theirs.index.dtype == np.dtype(built.dtype)
        assert theirs.sequence_lengths.tolist() == [len(one) for one in ours]
        assert theirs.document_indices.tolist() == list(range(len(ours) + 1))
        assert theirs.get(len(ours) - 1, offset=1).tolist() == ours[-1][1:]
        num_tokens += int(theirs.sequence_lengths.sum())
    assert num_tokens == sum(built.manifest.facts["tokens"].values())


def test_megatron_reads_the_sentences(built: Built, megatron: ModuleType, tmp_path: Path) -> None:
    num_sentences = 0
    for shard in built.shards():
        theirs = megatron.IndexedDataset(link_sentences(shard, tmp_path))
        bounds = theirs.document_indices.tolist()
        grouped = [[theirs[i].tolist() for i in range(a, b)] for a, b in pairwise(bounds)]
        joined = [[token for sentence in one for token in sentence] for one in grouped]
        assert joined == [one[:-1] for one in built.documents(shard)]
        assert all(sentence for one in grouped for sentence in one)
        num_sentences += len(theirs)
    assert num_sentences == sum(built.manifest.facts["sentences"].values())


def test_megatron_writes_the_same_index(built: Built, megatron: ModuleType, tmp_path: Path) -> None:
    for shard in built.shards():
        stem = str(tmp_path / Path(shard).name)
        builder = megatron.IndexedDatasetBuilder(
            f"{stem}.bin", dtype=megatron.DType.optimal_dtype(built.tokenizer.vocab_size)
        )
        for tokens in built.documents(shard):
            builder.add_item(torch.tensor(tokens))
            builder.end_document()
        builder.finalize(f"{stem}.idx")
        for end in (".bin", ".idx"):
            assert Path(stem + end).read_bytes() == Path(shard + end).read_bytes()


def test_megatron_s_gpt_reads_each_document_once_an_epoch(
    built: Built, megatron: ModuleType, tmp_path: Path
) -> None:
    gpt = pytest.importorskip("megatron.core.datasets.gpt_dataset")
    shard, length = built.shards()[0], 16
    config = gpt.GPTDatasetConfig(
        random_seed=1,
        sequence_length=length,
        blend=([shard], None),
        split="1,0,0",
        tokenizer=MegatronTokenizer(built.tokenizer),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        path_to_cache=str(tmp_path),
    )
    documents = built.documents(shard)
    numbers = np.arange(len(documents), dtype=np.int32)
    theirs = gpt.GPTDataset(megatron.IndexedDataset(shard), shard, numbers, None, gpt.Split.train, config)
    assert sorted(theirs.document_index.tolist()) == numbers.tolist()
    stream = [token for i in theirs.document_index for token in documents[i]]
    assert len(theirs) == (len(stream) - 1) // length > 10
    for i, place in enumerate(theirs.shuffle_index.tolist()):
        sample, at = theirs[i], place * length
        assert sample["tokens"].tolist() == stream[at : at + length]
        assert sample["labels"].tolist() == stream[at + 1 : at + length + 1]


@pytest.mark.usefixtures("one_process")
def test_megatron_s_bert_takes_pairs_of_sentences_from_one_document(
    built: Built, megatron: ModuleType, tmp_path: Path
) -> None:
    bert = pytest.importorskip("megatron.core.datasets.bert_dataset")
    shard = built.shards()[0]
    stem, tokenizer = link_sentences(shard, tmp_path), MegatronTokenizer(built.tokenizer)
    config = bert.BERTMaskedWordPieceDatasetConfig(
        random_seed=1,
        sequence_length=128,
        blend=([stem], None),
        split="1,0,0",
        tokenizer=tokenizer,
        path_to_cache=str(tmp_path / "cache"),
        masking_probability=0.15,
        short_sequence_probability=0.1,
        masking_max_ngram=3,
        masking_do_full_word=False,
        masking_do_permutation=False,
        masking_use_longer_ngrams=False,
        masking_use_geometric_distribution=False,
        classification_head=True,
    )
    documents = [one[:-1] for one in built.documents(shard)]
    numbers = np.arange(len(documents), dtype=np.int32)
    sentences = megatron.IndexedDataset(stem)
    theirs = bert.BERTMaskedWordPieceDataset(sentences, stem, numbers, 40, bert.Split.train, config)
    assert len(theirs) >= 40
    for i in range(len(theirs)):
        first, second, swapped = segments(theirs[i], tokenizer)
        if swapped:
            first, second = second, first
        assert first
        assert second
        assert any(stands_in(first, second, one) for one in documents)


def segments(sample: dict[str, Any], tokenizer: MegatronTokenizer) -> tuple[list[int], list[int], bool]:
    """The two segments of a sample as they were before masking, and whether their order is turned round."""
    masked = sample["loss_mask"].astype(bool)
    tokens: npt.NDArray[np.int64] = np.where(masked, sample["labels"], sample["text"])
    num = int((sample["padding_mask"] == 1).sum())
    assert (tokens[0], tokens[num - 1]) == (tokenizer.cls, tokenizer.sep)
    middle = int((sample["types"][:num] == 0).sum())
    assert tokens[middle - 1] == tokenizer.sep
    return tokens[1 : middle - 1].tolist(), tokens[middle : num - 1].tolist(), bool(sample["is_random"])


def stands_in(first: Sequence[int], second: Sequence[int], document: Sequence[int]) -> bool:
    """Whether two runs of tokens stand in a document, one behind the other."""
    early, late, whole = (f" {' '.join(map(str, one))} " for one in (first, second, document))
    return early in whole and late in whole[whole.index(early) + len(early) - 1 :]


def test_numpy_reads_tokens_as_nanogpt_does(built: Built) -> None:
    for shard in built.shards():
        stream = [token for one in built.documents(shard) for token in one]
        data = np.memmap(f"{shard}.bin", dtype=built.dtype, mode="r")
        assert len(data) == len(stream)
        starts = torch.randint(len(data) - 32, (8,), generator=torch.Generator().manual_seed(1))
        batch = torch.stack([torch.from_numpy(data[i : i + 32].astype(np.int64)) for i in starts])
        assert batch.tolist() == [stream[i : i + 32] for i in starts.tolist()]


def test_transformers_opens_the_tokenizer(built: Built) -> None:
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    folder = built.folder / "tokenizer"
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / TOKENIZER_JSON))
    in_gpt2_form = transformers.GPT2TokenizerFast(
        vocab=str(folder / VOCAB_JSON), merges=str(folder / MERGES_TXT)
    )
    ids = built.tokenizer.specials
    assert {name: theirs.convert_tokens_to_ids(name) for name in ids} == dict(ids)
    assert in_gpt2_form.eos_token_id == built.tokenizer.eot_id
    for text in built.texts.values():
        own = built.tokenizer.encode(text)
        assert theirs.encode(text, split_special_tokens=True) == own
        assert in_gpt2_form.encode(text, split_special_tokens=True) == own
        assert theirs.decode(own, clean_up_tokenization_spaces=False) == text


def test_transformers_decodes_a_shard(built: Built) -> None:
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(built.folder / "tokenizer" / TOKENIZER_JSON)
    )
    shard = built.shards()[0]
    tokens = np.fromfile(f"{shard}.bin", built.dtype)
    expected = [built.tokenizer.decode(one) for one in built.documents(shard)]
    assert theirs.decode(tokens, clean_up_tokenization_spaces=False) == "".join(expected)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket opens a connection."""

    def refuse(*_: object) -> None:
        raise AssertionError("a reader of local files asks the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
def test_datasets_opens_the_tables(built: Built, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    opened = {}
    for name, pattern in (("corpus", "part-*.parquet"), ("shards", "*.documents.parquet")):
        files = sorted(map(str, (built.folder / name).glob(pattern)))
        opened[name] = datasets.load_dataset(
            "parquet", data_files=files, split="train", cache_dir=str(tmp_path)
        )
    assert dict(zip(opened["corpus"]["id"], opened["corpus"]["text"], strict=True)) == built.texts
    assert sorted(opened["shards"]["id"]) == sorted(built.texts)
    assert sum(opened["shards"]["num_tokens"]) == sum(built.manifest.facts["tokens"].values())


def test_duckdb_joins_documents_with_the_corpus(built: Built) -> None:
    with duckdb.connect() as connection:
        for name, pattern in (("corpus", "part-*.parquet"), ("shards", "*.documents.parquet")):
            connection.from_parquet(str(built.folder / name / pattern)).create_view(name)
        joined = connection.sql(
            "select s.id, s.num_tokens, c.text, c.karma from shards s join corpus c using (id)"
        ).fetchall()
        followed = connection.sql(
            "select s.first_token = coalesce(lag(s.first_token + s.num_tokens) over files, 0) from shards s "
            "window files as (partition by s.split, s.shard order by s.sequence)"
        ).fetchall()
    assert len(joined) == NUM_DOCUMENTS
    for name, num_tokens, text, karma in joined:
        assert text == built.texts[name]
        assert karma == int(name, 16)
        assert num_tokens == len(built.tokenizer.encode(text)) + 1
    assert len(followed) == NUM_DOCUMENTS
    assert all(follows for (follows,) in followed)
