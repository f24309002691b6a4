"""The order of training data, and what ALBERT's segments and masks are made of."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data import GPT2Data, open_shards
from model.masked import (
    NO_TARGET,
    AlbertBatch,
    AlbertData,
    Vocabulary,
    mask_words,
    plan_chunks,
    split_pair,
    truncate_pair,
)
from tests.test_model_shards import make_documents, make_vocabulary, write_run
from tokenizer.encode import Tokenizer
from tokenizer.files import write_tokenizer

CONTEXT = 64


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(run: Path) -> Tokenizer:
    return Tokenizer.load(run / "tokenizer")


def gpt2_data(run: Path, seed: int = 0, context: int = CONTEXT) -> GPT2Data:
    return GPT2Data(open_shards(run).documents("train"), context, seed)


def albert_data(run: Path, seed: int = 0, context: int = CONTEXT) -> AlbertData:
    tokenizer = Tokenizer.load(run / "tokenizer")
    return AlbertData(open_shards(run).sentences("train"), tokenizer, context, seed)


def epoch_stream(data: GPT2Data, epoch: int) -> list[int]:
    """An epoch's sequences put back into the order that they were cut in."""
    batch = data.batch(epoch * data.num_sequences, data.num_sequences)
    cut_order = data._epoch(epoch).sequences.argsort()
    flat: list[int] = batch.tokens[cut_order].flatten().tolist()
    return flat


def documents_of(tokens: list[int], end_of_text: int) -> list[tuple[int, ...]]:
    ends = [-1, *(i for i, token in enumerate(tokens) if token == end_of_text)]
    return [tuple(tokens[start + 1 : end + 1]) for start, end in pairwise(ends)]


def test_each_document_is_read_once_an_epoch(run: Path, tokenizer: Tokenizer) -> None:
    data = gpt2_data(run)
    stored = Counter(
        tuple(file[i].tolist()) for file in open_shards(run).documents("train") for i in range(len(file))
    )
    epochs = []
    for epoch in (0, 1):
        stream = epoch_stream(data, epoch)
        assert 0 < data.num_tokens - len(stream) <= CONTEXT, "only the stream's end is left out"
        whole = documents_of(stream, tokenizer.eot_id)
        missing = stored - Counter(whole)
        assert not Counter(whole) - stored
        assert sum(len(document) for document in missing.elements()) == data.num_tokens - sum(map(len, whole))
        epochs.append(whole)
    assert epochs[0] != epochs[1]


def test_sequences_of_one_document_are_spread_over_the_epoch(run: Path) -> None:
    order = gpt2_data(run)._epoch(0).sequences
    assert sorted(order) == list(range(len(order)))
    neighbours = sum(abs(one - other) == 1 for one, other in pairwise(order.tolist()))
    assert neighbours < len(order) / 5


def test_targets_are_the_next_tokens(run: Path) -> None:
    data = gpt2_data(run)
    batch = data.batch(0, data.num_sequences)
    assert torch.equal(batch.targets[:, :-1], batch.tokens[:, 1:])
    cut_order = data._epoch(0).sequences.argsort()
    last, first = batch.targets[cut_order][:-1, -1], batch.tokens[cut_order][1:, 0]
    assert torch.equal(last, first), "a sequence's last target is the next one's first token"


@settings(deadline=None, max_examples=20)
@given(first=st.integers(0, 2000), count=st.integers(1, 9), cut=st.integers(0, 9))
def test_a_gpt2_sequence_depends_on_its_number_alone(run: Path, first: int, count: int, cut: int) -> None:
    cut = min(cut, count)
    whole = gpt2_data(run).batch(first, count).tokens
    data = gpt2_data(run)
    pieces = [data.batch(first + i, n).tokens for i, n in ((cut, count - cut), (0, cut)) if n]
    assert torch.equal(whole, torch.cat(pieces[::-1]))


def test_another_seed_gives_another_order(run: Path) -> None:
    assert not torch.equal(gpt2_data(run, 0).batch(0, 4).tokens, gpt2_data(run, 1).batch(0, 4).tokens)


@settings(deadline=None, max_examples=20)
@given(first=st.integers(0, 2000), count=st.integers(1, 9))
def test_an_albert_sequence_depends_on_its_number_alone(run: Path, first: int, count: int) -> None:
    whole = albert_data(run).batch(first, count)
    last = albert_data(run).batch(first + count - 1, 1)
    for name in ("tokens", "segments", "present", "positions", "labels", "swapped"):
        assert torch.equal(getattr(whole, name)[-1:], getattr(last, name))


def restored(batch: AlbertBatch) -> list[list[int]]:
    """The sequences with the labels put back where they stood, without padding."""
    tokens = batch.tokens.clone()
    for row, at, label in zip(tokens, batch.positions, batch.labels, strict=True):
        row[at[label != NO_TARGET]] = label[label != NO_TARGET]
    return [row[present].tolist() for row, present in zip(tokens, batch.present, strict=True)]


def test_albert_frames_two_segments_of_one_document(run: Path, tokenizer: Tokenizer) -> None:
    data = albert_data(run)
    batch = data.batch(0, data.num_sequences)
    cls, sep = tokenizer.specials["[CLS]"], tokenizer.specials["[SEP]"]
    stored = [
        file.tokens[a.item() // 2 : b.item() // 2].tolist()
        for file in open_shards(run).documents("train")
        for a, b in pairwise([*file.index.pointers, np.int64(file.index.end)])
    ]
    texts = [f" {' '.join(map(str, document))} " for document in stored]
    for tokens, segments, swapped in zip(restored(batch), batch.segments, batch.swapped, strict=True):
        assert len(tokens) <= CONTEXT
        middle = tokens.index(sep)
        assert tokens[0] == cls
        assert [i for i, token in enumerate(tokens) if token == sep] == [middle, len(tokens) - 1]
        assert segments.tolist()[: len(tokens)] == [0] * (middle + 1) + [1] * (len(tokens) - middle - 1)
        pair = tokens[1:middle], tokens[middle + 1 : -1]
        assert all(pair)
        early, late = (f" {' '.join(map(str, s))} " for s in (pair[::-1] if swapped else pair))
        # Both stand in one document, in the order that the label says.
        assert any(early in t and late in t[t.index(early) :] for t in texts)


def test_albert_reads_each_chunk_once_an_epoch(run: Path) -> None:
    data = albert_data(run)
    for epoch in range(2):
        chunks = [int(data._epoch(epoch)[i]) for i in range(data.num_sequences)]
        assert sorted(chunks) == list(range(data.num_sequences))


def test_masks_orders_and_short_sequences_are_as_frequent_as_said(run: Path, tokenizer: Tokenizer) -> None:
    data = albert_data(run, context=128)
    batch = data.batch(0, 1500)
    is_label = batch.labels != NO_TARGET
    assert is_label.sum() / batch.num_tokens == pytest.approx(0.15, abs=0.01)
    assert batch.swapped.float().mean() == pytest.approx(0.5, abs=0.04)
    shown = batch.tokens.gather(1, batch.positions)[is_label]
    labels = batch.labels[is_label]
    masked = (shown == tokenizer.specials["[MASK]"]).float().mean()
    kept = (shown == labels).float().mean()
    assert masked == pytest.approx(0.8, abs=0.02)
    assert kept == pytest.approx(0.1, abs=0.02)
    special = torch.tensor(list(tokenizer.specials.values()))
    assert not torch.isin(labels, special).any()


def test_predictions_follow_from_the_fraction(run: Path) -> None:
    assert albert_data(run, context=512).max_predictions == 77


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(make_vocabulary(), folder)
    return Vocabulary(Tokenizer.load(folder))


def test_words_start_at_spaces_and_after_line_breaks(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    text = "The cat\nsees a xyz."
    tokens = np.array(tokenizer.encode(text))
    bounds = [*vocabulary.word_starts(tokens).tolist(), len(tokens)]
    words = [tokenizer.decode(tokens[a:b]) for a, b in pairwise(bounds)]
    assert words == ["The", " cat", "\n", "sees", " a", " xyz."]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), size_a=st.integers(1, 4), size_b=st.integers(1, 4))
def test_only_whole_words_are_masked(
    vocabulary: Vocabulary, tokenizer: Tokenizer, seed: int, size_a: int, size_b: int
) -> None:
    sentences = [s for document in make_documents(5) for s in document][:8]
    a = np.array(tokenizer.encode(" ".join(sentences[:size_a])))
    b = np.array(tokenizer.encode(" ".join(sentences[4 : 4 + size_b])))
    _, places, _ = mask_words(a, b, vocabulary, np.random.default_rng(seed))
    chosen = set(places.tolist())
    budget = max(1, round(0.15 * (len(a) + len(b) + 3)))
    assert 1 <= len(chosen) <= budget
    words = []
    for segment, offset in ((a, 1), (b, len(a) + 2)):
        bounds = [*vocabulary.word_starts(segment).tolist(), len(segment)]
        words += [set(range(start + offset, end + offset)) for start, end in pairwise(bounds)]
    touched = [word for word in words if word & chosen]
    assert all(word <= chosen for word in touched) or len(chosen) == 1


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 30), st.integers(0, 99))
def test_truncation_takes_from_the_longer_segment(length_a: int, length_b: int, room: int, seed: int) -> None:
    a, b = np.arange(length_a), 100 + np.arange(length_b)
    short_a, short_b = truncate_pair(a, b, room, np.random.default_rng(seed))
    assert len(short_a) + len(short_b) == min(room, length_a + length_b)
    assert min(len(short_a), len(short_b)) >= 1
    for short, whole in ((short_a, a), (short_b, b)):
        assert short.tolist() == whole[short[0] - whole[0] :][: len(short)].tolist()
        if len(short) < len(whole):
            assert len(short) >= room // 2


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 12), max_size=9), max_size=6), st.integers(2, 20))
def test_chunks_cover_each_documents_sentences_in_order(documents: list[list[int]], target: int) -> None:
    lengths = np.array([n for document in documents for n in document], np.int32)
    bounds = np.cumsum([0, *map(len, documents)], dtype=np.int64)
    chunks = plan_chunks(lengths, bounds, target)
    document_of = [number for number, document in enumerate(documents) for _ in document]
    covered = 0
    for first, last in zip(chunks.first.tolist(), chunks.last.tolist(), strict=True):
        assert (lengths[covered:first] <= 1).all()  # What cannot be split is left out.
        assert len(set(document_of[first:last])) == 1
        assert lengths[first:last].sum() >= 2
        assert lengths[first : last - 1].sum() < target
        covered = last
    assert (lengths[covered:] <= 1).all()


def test_a_single_sentence_is_split_between_words(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    sentence = np.array(tokenizer.encode("The cat sees a dog"))
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = split_pair([sentence], vocabulary, rng)
        assert [*a, *b] == sentence.tolist()
        assert tokenizer.decode(b).startswith(" ")
