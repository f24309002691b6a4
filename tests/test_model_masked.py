"""What ALBERT's segments and masks are made of."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from model.data.draws import make_keys
from model.data.masked import NO_TARGET, AlbertBatch, AlbertData
from model.data.masking import MaskingVocabulary, _lay_out, _take, choose_words
from model.data.pairs import Splits, draw_pairs, draw_splits, excess, plan_chunks
from model.data.prefetch import Span, micro_batches
from model.data.sequences import open_shards
from model.errors import ModelError
from tests.test_model_shards import make_vocabulary, write_run
from tokenizer.encode import Tokenizer
from tokenizer.files import write_tokenizer
from tokenizer.tokenfile import Index, TokenFile

CONTEXT = 64


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(run: Path) -> Tokenizer:
    return Tokenizer.load(run / "tokenizer")


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> MaskingVocabulary:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(make_vocabulary(), folder)
    return MaskingVocabulary(Tokenizer.load(folder))


def albert_data(run: Path, seed: int = 0, context: int = CONTEXT) -> AlbertData:
    tokenizer = Tokenizer.load(run / "tokenizer")
    return AlbertData(open_shards(run).sentences("train"), tokenizer, context, seed)


def same(one: AlbertBatch, other: AlbertBatch) -> bool:
    return all(torch.equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(AlbertBatch))


def joined(batches: Sequence[AlbertBatch]) -> AlbertBatch:
    return AlbertBatch(*(torch.cat([getattr(b, f.name) for b in batches]) for f in fields(AlbertBatch)))


def restored(batch: AlbertBatch) -> list[list[int]]:
    """The sequences with the labels put back where they stood, without padding."""
    tokens = batch.tokens.clone()
    for row, at, label in zip(tokens, batch.positions, batch.labels, strict=True):
        row[at[label != NO_TARGET]] = label[label != NO_TARGET]
    return [row[present].tolist() for row, present in zip(tokens, batch.present, strict=True)]


def segments_of(batch: AlbertBatch, tokenizer: Tokenizer) -> list[tuple[list[int], list[int]]]:
    """Segments A and B of each sequence; checks its frame on the way."""
    cls, sep = tokenizer.specials["[CLS]"], tokenizer.specials["[SEP]"]
    pairs = []
    for tokens, segments in zip(restored(batch), batch.segments.tolist(), strict=True):
        middle = tokens.index(sep)
        assert tokens[0] == cls
        assert [i for i, token in enumerate(tokens) if token == sep] == [middle, len(tokens) - 1]
        rest = len(tokens) - middle - 1
        assert segments == [0] * (middle + 1) + [1] * rest + [0] * (len(segments) - len(tokens))
        pairs.append((tokens[1:middle], tokens[middle + 1 : -1]))
    return pairs


@settings(deadline=None, max_examples=20)
@given(
    world=st.integers(1, 4), each=st.integers(1, 6), micro_batch=st.integers(1, 7), step=st.integers(0, 300)
)
def test_a_sequence_depends_on_its_number_alone(
    run: Path, world: int, each: int, micro_batch: int, step: int
) -> None:
    span = Span(step * world * each, world * each)
    parts = [part for rank in range(world) for part in micro_batches(span, micro_batch, rank, world)]
    pieces = [albert_data(run).batch(part.first, part.count) for part in reversed(parts)]
    assert same(joined(pieces[::-1]), albert_data(run).batch(span.first, span.count))


def test_each_chunk_is_read_once_an_epoch(run: Path) -> None:
    data = albert_data(run)
    orders = data._chunk_numbers(np.arange(2 * data.num_sequences)).reshape(2, -1)
    assert all(sorted(order) == list(range(data.num_sequences)) for order in orders)
    assert not np.array_equal(*orders)


def test_an_epoch_draws_its_sequences_anew(run: Path) -> None:
    data = albert_data(run)
    places = data._chunk_numbers(np.arange(2 * data.num_sequences)).reshape(2, -1).argsort()
    first, second = data.batch(places[0, 0], 1), data.batch(data.num_sequences + places[1, 0], 1)
    assert not same(first, second)


def test_sequences_frame_two_segments_of_one_document(run: Path, tokenizer: Tokenizer) -> None:
    data = albert_data(run)
    batch = data.batch(0, data.num_sequences)
    stored = [
        file.tokens[a.item() // 2 : b.item() // 2].tolist()
        for file in open_shards(run).documents("train")
        for a, b in pairwise([*file.index.pointers, np.int64(file.index.end)])
    ]
    texts = [f" {' '.join(map(str, document))} " for document in stored]
    for pair, swapped in zip(segments_of(batch, tokenizer), batch.swapped.tolist(), strict=True):
        assert all(pair)
        assert len(pair[0]) + len(pair[1]) + 3 <= CONTEXT
        early, late = (f" {' '.join(map(str, s))} " for s in (pair[::-1] if swapped else pair))
        # Both stand in one document, in the order that the label says.
        assert any(early in t and late in t[t.index(early) :] for t in texts)


def test_masks_and_orders_are_as_frequent_as_said(run: Path, tokenizer: Tokenizer) -> None:
    data = albert_data(run, context=128)
    batch = data.batch(0, 3000)
    is_label = batch.labels != NO_TARGET
    assert is_label.sum() / batch.num_tokens == pytest.approx(0.15, abs=0.003)
    assert batch.swapped.float().mean() == pytest.approx(0.5, abs=0.03)
    shown = batch.tokens.gather(1, batch.positions)[is_label]
    labels = batch.labels[is_label]
    masked = (shown == tokenizer.specials["[MASK]"]).float().mean()
    kept = (shown == labels).float().mean()
    assert masked == pytest.approx(0.8, abs=0.006)
    assert kept == pytest.approx(0.1, abs=0.006)
    special = torch.tensor(list(tokenizer.specials.values()))
    assert not torch.isin(labels, special).any()
    replaced = shown[(shown != labels) & (shown != tokenizer.specials["[MASK]"])]
    assert not torch.isin(replaced, special).any()
    ordinary = np.bincount(replaced.numpy(), minlength=tokenizer.vocab_size)[: tokenizer.eot_id]
    assert stats.chisquare(ordinary).pvalue > 1e-4, "any ordinary token takes a masked one's place"


def test_what_is_not_masked_is_as_it_was(run: Path) -> None:
    batch = albert_data(run).batch(0, 50)
    counted = (batch.labels != NO_TARGET).sum(1)
    for row, number in enumerate(counted.tolist()):
        positions = batch.positions[row]
        assert (positions[:number].diff() > 0).all()
        assert not positions[number:].any()
        assert (batch.labels[row, number:] == NO_TARGET).all()


@pytest.mark.parametrize(("context", "predictions"), [(512, 77), (128, 19), (8, 1)])
def test_predictions_follow_from_the_fraction(run: Path, context: int, predictions: int) -> None:
    data = albert_data(run, context=context)
    assert data.max_predictions == predictions
    batch = data.batch(0, 60)
    assert batch.labels.shape == (60, predictions)
    sizes = batch.present.sum(1)
    masked = (batch.labels != NO_TARGET).sum(1)
    assert (masked >= 1).all()
    assert (masked <= (0.15 * sizes).round().clamp(min=1)).all()


def write_sentences(folder: Path, documents: Sequence[Sequence[Sequence[int]]], gap: int = 0) -> TokenFile:
    """A file in int32 of documents of sentences of tokens, with `gap` tokens between sentences."""
    tokens: list[int] = []
    starts, sizes, bounds = [], [], [0]
    for document in documents:
        for sentence in document:
            starts.append(len(tokens))
            sizes.append(len(sentence))
            tokens += [*sentence, *[0] * gap]
        bounds.append(len(starts))
        tokens = tokens[: len(tokens) - gap] if document else tokens
        tokens.append(0)
    path = folder / "some.bin"
    path.write_bytes(np.array(tokens, "<i4").tobytes())
    pointers = 4 * np.array(starts, np.int64)
    index = Index(np.dtype("<i4"), np.array(sizes, np.int32), pointers, np.array(bounds, np.int64))
    return TokenFile(path, index)


def test_a_single_sentence_is_split_between_words(tmp_path: Path, tokenizer: Tokenizer) -> None:
    sentence = tokenizer.encode("The cat sees a dog in the garden")
    data = AlbertData([write_sentences(tmp_path, [[sentence], [[], sentence, []]])], tokenizer, CONTEXT, 0)
    assert data.num_sequences == 2
    batch = data.batch(0, 400)
    cuts: Counter[str] = Counter()
    for pair, swapped in zip(segments_of(batch, tokenizer), batch.swapped.tolist(), strict=True):
        early, late = pair[::-1] if swapped else pair
        assert early + late == sentence
        cuts[tokenizer.decode(late)] += 1
    words = ["The", "cat", "sees", "a", "dog", "in", "the", "garden"]
    assert set(cuts) == {" " + " ".join(words[i:]) for i in range(1, len(words))}
    assert stats.chisquare(list(cuts.values())).pvalue > 1e-4


def test_a_single_word_is_split_between_tokens(tmp_path: Path, tokenizer: Tokenizer) -> None:
    word = tokenizer.encode("qx" * 10)
    assert len(word) == 20
    data = AlbertData([write_sentences(tmp_path, [[word]])], tokenizer, CONTEXT, 0)
    batch = data.batch(0, 400)
    sizes = np.array([[len(segment) for segment in pair] for pair in segments_of(batch, tokenizer)])
    assert set(sizes[:, 0].tolist()) == set(range(1, 20))
    masked = (batch.labels != NO_TARGET).sum(1).numpy()
    # Segments of up to three tokens, the budget, are words that fit; else one token is taken of a word.
    assert masked.tolist() == np.where(sizes.min(1) <= 3, sizes.min(1), 1).tolist()


def test_a_long_sentence_is_shortened(tmp_path: Path, tokenizer: Tokenizer) -> None:
    sentence = tokenizer.encode(" cat" * 3000)
    data = AlbertData([write_sentences(tmp_path, [[sentence]])], tokenizer, CONTEXT, 0)
    assert data.num_sequences == 1
    assert data.batch(0, 30).present.all()


def test_sentences_apart_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    file = write_sentences(tmp_path, [[[1, 2]], [[1, 2, 3], [4, 5]]], gap=1)
    message = r"some\.bin: by its sentence index, sentence 2 does not begin .* run the shard stage again"
    with pytest.raises(ModelError, match=message):
        AlbertData([file], tokenizer, CONTEXT, 0)


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


some_chunks = st.lists(
    st.lists(st.integers(1, 12), min_size=1, max_size=9).filter(lambda sizes: sum(sizes) >= 2),
    min_size=1,
    max_size=8,
)


def split_chunks(chunks: Sequence[Sequence[int]], room: int, seed: int) -> Splits:
    lengths = np.array([size for chunk in chunks for size in chunk])
    counts = np.array([len(chunk) for chunk in chunks])
    return draw_splits(lengths, counts, room, make_keys(seed, 0, np.arange(len(chunks))))


@settings(deadline=None, max_examples=100)
@given(chunks=some_chunks, room=st.integers(2, 30), seed=st.integers(0, 2**32 - 1))
def test_chunks_are_split_between_sentences(chunks: list[list[int]], room: int, seed: int) -> None:
    splits = split_chunks(chunks, room, seed)
    for chunk, size, cut in zip(chunks, splits.size.tolist(), splits.cut.tolist(), strict=True):
        ends = np.cumsum(chunk).tolist()
        assert size in ends
        assert size >= 2
        before = [end for end in ends if end < size]
        assert size == ends[-1] or not before or before[-1] < room, "cut off once it was long enough"
        assert cut in before if before else cut == 0


def test_splits_and_short_sequences_are_as_frequent_as_said() -> None:
    chunks = [[3] * 8] * 8000
    splits = split_chunks(chunks, room=24, seed=0)
    whole = splits.size == 24
    # A tenth is short; of those, three lengths in 23 are reached by the last sentence only.
    assert 1 - whole.mean() == pytest.approx(0.1 * (1 - 3 / 23), abs=0.015)
    short = np.bincount(splits.size[~whole] // 3, minlength=8)[1:]
    # A length of 2 or 3 is reached by one sentence, 4 to 6 by two, and so on.
    assert stats.chisquare(short, short.sum() * np.array([2, 3, 3, 3, 3, 3, 3]) / 20).pvalue > 1e-4
    cuts = np.bincount(splits.cut[whole] // 3, minlength=8)
    assert cuts[0] == 0
    assert stats.chisquare(cuts[1:]).pvalue > 1e-4


def shorten(a: int, b: int, room: int) -> tuple[int, int]:
    """What is taken from both, token by token."""
    took = [0, 0]
    while a + b > room:
        if a > b:
            a, took[0] = a - 1, took[0] + 1
        else:
            b, took[1] = b - 1, took[1] + 1
    return took[0], took[1]


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 50))
def test_tokens_are_taken_from_the_longer_segment(a: int, b: int, room: int) -> None:
    dropped = excess(np.array([a]), np.array([b]), room)
    assert (dropped[0].item(), dropped[1].item()) == shorten(a, b, room)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 50), st.integers(0, 99))
def test_segments_are_stretches_of_both_sides_of_the_split(
    early: int, late: int, room: int, seed: int
) -> None:
    sizes = np.array([early + late] * 20), np.array([early] * 20)
    pairs = draw_pairs(Splits(*sizes), room, make_keys(seed, 0, np.arange(20)))
    for row in range(20):
        a = range(pairs.a[row], pairs.a[row] + pairs.a_length[row])
        b = range(pairs.b[row], pairs.b[row] + pairs.b_length[row])
        first, second = (b, a) if pairs.swapped[row] else (a, b)
        assert len(first) >= 1
        assert len(second) >= 1
        assert first.start >= 0
        assert first.stop <= early <= second.start
        assert second.stop <= early + late
        assert len(a) + len(b) == min(room, early + late)


def test_segments_are_shortened_at_random_ends() -> None:
    splits = Splits(np.full(4000, 60), np.full(4000, 30))
    pairs = draw_pairs(splits, 40, make_keys(0, 0, np.arange(4000)))
    for first in (pairs.a - 30 * pairs.swapped, pairs.b - 30 * (1 - pairs.swapped)):
        expected = stats.binom.pmf(np.arange(11), 10, 0.5) * 4000
        counts = np.bincount(first, minlength=11)
        assert (
            stats.chisquare(counts[1:10], expected[1:10] / expected[1:10].sum() * counts[1:10].sum()).pvalue
            > 1e-4
        )
        assert first.min() >= 0
        assert first.max() <= 10


def test_words_start_at_spaces_and_after_line_breaks(
    vocabulary: MaskingVocabulary, tokenizer: Tokenizer
) -> None:
    text = "The cat\nsees a xyz."
    tokens = np.array(tokenizer.encode(text))
    bounds = [*np.flatnonzero(vocabulary.word_starts(tokens)).tolist(), len(tokens)]
    words = [tokenizer.decode(tokens[a:b]) for a, b in pairwise(bounds)]
    assert words == ["The", " cat", "\n", "sees", " a", " xyz."]


Words = list[list[int]]  # Sizes of the words of segments A and B.
some_words = st.lists(
    st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=12), min_size=2, max_size=2),
    min_size=1,
    max_size=6,
)


def lay_words(rows: Sequence[Words], width: int = 160) -> tuple[np.ndarray, np.ndarray, list[list[range]]]:
    """Flags of the places where words start, the segments' ends, and the words: framed as sequences are."""
    starts, stops = np.zeros((len(rows), width), np.bool_), np.zeros((len(rows), 2), np.int64)
    places: list[list[range]] = []
    for row, segments in enumerate(rows):
        at, words = 1, []
        for segment, sizes in enumerate(segments):
            for size in sizes:
                starts[row, at] = True
                words.append(range(at, at + size))
                at += size
            stops[row, segment] = at
            at += 1
        places.append(words)
    return starts, stops, places


@settings(deadline=None, max_examples=150)
@given(rows=some_words, seed=st.integers(0, 2**32 - 1), data=st.data())
def test_whole_words_fill_the_budget(rows: list[Words], seed: int, data: st.DataObject) -> None:
    starts, stops, places = lay_words(rows)
    budgets = np.array(data.draw(st.lists(st.integers(1, 20), min_size=len(rows), max_size=len(rows))))
    chosen = choose_words(starts, stops, budgets, make_keys(seed, 0, np.arange(len(rows))))
    for flags, words, budget in zip(chosen, places, budgets.tolist(), strict=True):
        hidden = set(np.flatnonzero(flags).tolist())
        touched = [word for word in words if hidden & set(word)]
        assert hidden == {place for word in touched for place in word}, "whole words"
        left = budget - len(hidden)
        assert left >= 0
        assert all(len(word) > left for word in words if word not in touched), "nothing more would fit"


@settings(deadline=None, max_examples=50)
@given(rows=some_words, seed=st.integers(0, 99))
def test_words_of_a_sequence_do_not_depend_on_its_neighbours(rows: list[Words], seed: int) -> None:
    starts, stops, _ = lay_words(rows)
    budgets = np.full(len(rows), 9)
    keys = make_keys(seed, 0, np.arange(len(rows)))
    together = choose_words(starts, stops, budgets, keys)
    for row in range(len(rows)):
        own = slice(row, row + 1)
        assert np.array_equal(
            choose_words(starts[own], stops[own], budgets[own], keys[own])[0], together[row]
        )


def test_runs_of_n_words_have_a_share_of_one_nth() -> None:
    # Few of many words, so that hardly any two runs touch.
    starts, stops, _ = lay_words([[[1] * 2500, [1] * 2500]] * 200, 5003)
    chosen = choose_words(starts, stops, np.full(200, 60), make_keys(0, 0, np.arange(200)))
    assert (chosen.sum(1) == 60).all()
    edges = np.diff(chosen.astype(np.int8), axis=1, prepend=0, append=0)
    sizes = np.bincount(np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1])
    assert sizes[0] == 0
    assert sizes[1:4] / sizes.sum() == pytest.approx(np.array([6, 3, 2]) / 11, abs=0.02)
    assert sizes[4:].sum() / sizes.sum() < 0.03


def test_every_word_is_as_likely_to_be_masked() -> None:
    rows = 10_000
    starts, stops, _ = lay_words([[[1] * 60, [1] * 40]] * rows, 103)
    chosen = choose_words(starts, stops, np.full(rows, 15), make_keys(1, 0, np.arange(rows)))
    assert (chosen.sum(1) == 15).all()
    rates = chosen.mean(0)[starts[0]]
    inner = np.r_[3:57, 63:97]
    assert rates[inner] == pytest.approx(np.full(len(inner), 0.15), abs=0.016)
    # Runs at a segment's ends are shorter, and short ones fit more often into what is left at last.
    assert rates == pytest.approx(np.full(100, 0.15), abs=0.03)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=12), min_size=1, max_size=6))
def test_runs_are_laid_out_one_behind_another(segments: list[list[int]]) -> None:
    expected, first = [], 0
    for sizes in segments:
        at = 0
        for size in sizes:
            if at < len(sizes):
                expected.append(first + at)
            at += size
        first += len(sizes)
    numbers = np.repeat(np.arange(len(segments)), [len(sizes) for sizes in segments])
    flat = np.array([size for sizes in segments for size in sizes])
    assert _lay_out(flat, numbers).tolist() == expected


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(st.lists(st.integers(1, 9), max_size=15), min_size=1, max_size=6),
    budget=st.integers(0, 25),
    seed=st.integers(0, 99),
)
def test_runs_are_taken_as_one_by_one(rows: list[list[int]], budget: int, seed: int) -> None:
    numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    sizes = np.array([size for row in rows for size in row], np.int64)
    order = make_keys(seed, 0, np.arange(len(sizes)))
    expected, left = [], [budget] * len(rows)
    for run in np.argsort(order).tolist():
        if sizes[run] <= left[numbers[run]]:
            expected.append(run)
            left[numbers[run]] -= sizes[run]
    taken, rest = _take(sizes, numbers, order, np.full(len(rows), budget))
    assert sorted(taken.tolist()) == sorted(expected)
    assert rest.tolist() == left
