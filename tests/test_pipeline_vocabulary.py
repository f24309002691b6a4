"""The stage that trains the tokenizer on the corpus."""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.records import CORPUS
from pipeline.runs import Folder, Manifest
from pipeline.stages import BY_NAME, Job, Planned
from pipeline.tokenizer.progress import Training, read_training
from pipeline.tokenizer.train import _train
from tests.conftest import RunStage
from tests.document_parts import document, table, write_parts
from tokenizer.config import TokenizerSettings
from tokenizer.encode import Tokenizer
from tokenizer.files import TOKENIZER_JSON, read_gpt2
from tokenizer.train import sampled, train
from tokenizer.vocabulary import Vocabulary

TEXTS = [f"the cat number {i} sat on the mat; there were {i * i} other cats then\n" for i in range(200)]


def corpus(run: Folder) -> Manifest:
    rows = [document(f"{i:032x}", text, cluster=f"{i:032x}") for i, text in enumerate(TEXTS)]
    return write_parts(run, "dedupe", [table(rows[:70], CORPUS), table(rows[70:], CORPUS)])


def test_a_small_corpus_is_used_whole(run: Folder, run_stage: RunStage) -> None:
    manifest = run_stage("tokenizer", TokenizerSettings(vocab_size=300), dedupe=corpus(run))
    assert manifest.counts.to_json() == {"in": 200, "kept": 200, "rejected": {}}
    folder = Path((run / "tokenizer").path())
    tokenizer = Tokenizer.load(folder)
    vocabulary = train(TEXTS, 300)
    assert read_gpt2(folder / "vocab.json", folder / "merges.txt") == vocabulary
    digest = hashlib.sha256((folder / TOKENIZER_JSON).read_bytes()).hexdigest()
    assert manifest.facts == {"vocab_size": tokenizer.vocab_size, "merges": 43, "tokenizer": digest}
    assert tokenizer.digest == digest


def test_the_manifest_lists_all_files(run: Folder, run_stage: RunStage) -> None:
    manifest = run_stage("tokenizer", TokenizerSettings(vocab_size=300), dedupe=corpus(run))
    (part,) = manifest.parts
    folder = Path((run / "tokenizer").path())
    assert {one.name: one.rows for one in part.files} == {
        "tokenizer.json": 305,
        "tokenizer_config.json": 1,
        "tokenizer.tiktoken": 299,
        "vocab.json": 300,
        "merges.txt": 43,
    }
    for one in part.files:
        assert hashlib.sha256((folder / one.name).read_bytes()).hexdigest() == one.sha256
    written = {path.name for path in folder.iterdir()} - {one.name for one in part.files}
    assert written == {"manifest.json", "vocabulary.json"}


def test_a_training_is_seen_in_its_folder_while_it_goes_on(
    run: Folder, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Training] = []

    def watched(
        texts: Iterable[str], vocab_size: int, *, on_progress: Callable[[int, bool], None]
    ) -> Vocabulary:
        def look(num_bytes: int, is_all: bool) -> None:
            on_progress(num_bytes, is_all)
            training = read_training(run / "tokenizer")
            assert training is not None
            seen.append(training)

        return train(texts, vocab_size, on_progress=look)

    monkeypatch.setattr("pipeline.tokenizer.train.train", watched)
    run_stage("tokenizer", TokenizerSettings(vocab_size=300), dedupe=corpus(run))
    num_bytes = sum(map(len, TEXTS))
    assert (seen[0].num_bytes, seen[0].of_bytes, seen[0].num_merges) == (len(TEXTS[0]), num_bytes, 43)
    assert seen[0].learning_since is None
    assert seen[-1].num_bytes == num_bytes
    assert seen[-1].learning_since is not None
    assert seen[-1].learning_since >= seen[-1].began
    assert read_training(run / "tokenizer") is None


def test_a_torn_word_of_a_training_is_none(run: Folder) -> None:
    assert read_training(run / "tokenizer") is None
    for data in (b"", b"{", b"[]", b'{"num_bytes": 1}'):
        (run / "tokenizer").write("training.json", data)
        assert read_training(run / "tokenizer") is None


def test_a_large_corpus_is_sampled_by_id(run: Folder, run_stage: RunStage) -> None:
    num_bytes = sum(len(text) for text in TEXTS)
    settings = TokenizerSettings(vocab_size=270, sample_bytes=num_bytes // 4)
    manifest = run_stage("tokenizer", settings, dedupe=corpus(run))
    fraction = settings.sample_bytes / num_bytes
    chosen = [text for i, text in enumerate(TEXTS) if sampled(f"{i:032x}", fraction)]
    assert 20 < len(chosen) < 90
    assert manifest.counts.kept == len(chosen)
    assert manifest.counts.rejected == {"not_sampled": 200 - len(chosen)}
    folder = Path((run / "tokenizer").path())
    assert read_gpt2(folder / "vocab.json", folder / "merges.txt") == train(chosen, 270)


def test_training_again_gives_the_same_bytes(run: Folder, run_stage: RunStage) -> None:
    def build() -> bytes:
        return run_stage("tokenizer", TokenizerSettings(vocab_size=300), dedupe=corpus(run)).encode()

    first = build()
    (run / "tokenizer").remove(["manifest.json", "vocabulary.json"])
    assert build() == first


def test_a_vocabulary_too_large_for_the_corpus_names_the_largest(run: Folder, run_stage: RunStage) -> None:
    manifest = corpus(run)
    with pytest.raises(InputError, match=r"^\[tokenizer\] .* set vocab_size to \d+ or less") as error:
        run_stage("tokenizer", TokenizerSettings(vocab_size=50257), dedupe=manifest)
    most = int(str(error.value).split("set vocab_size to ")[1].split()[0])
    assert run_stage("tokenizer", TokenizerSettings(vocab_size=most), dedupe=manifest)


def test_an_empty_corpus_is_an_error_that_says_where_to_look(run: Folder, run_stage: RunStage) -> None:
    empty = write_parts(run, "dedupe", [table([], CORPUS)])
    with pytest.raises(InputError, match="nothing to train a tokenizer on: webtext status"):
        run_stage("tokenizer", TokenizerSettings(vocab_size=300), dedupe=empty)
    remote = Folder("s3://bucket/run?endpoint_override=localhost:9000&scheme=http")
    job = Job(BY_NAME["tokenizer"], remote, TokenizerSettings(), {"dedupe": empty})
    with pytest.raises(InputError, match=re.escape(f"webtext status '{remote.address}' shows")):
        _train(job, Planned("vocabulary", "print"))
