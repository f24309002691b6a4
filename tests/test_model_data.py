"""The order of GPT-2's training data, and how processes share it."""

from collections import Counter
from collections.abc import Sequence
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.attention_masks import document_mask
from model.config import GPT2Config
from model.data.prefetch import Span, micro_batches
from model.data.sequences import GPT2Batch, GPT2Data, open_shards
from model.errors import ModelError
from model.gpt2 import GPT2
from tests.test_model_shards import write_run
from tokenizer.encode import Tokenizer
from tokenizer.tokenfile import TokenFile, document_index

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


def cut_order(data: GPT2Data, epoch: int) -> npt.NDArray[np.int64]:
    """An epoch's sequences, as they are read, in the order that they were cut in."""
    return np.argsort(data._epoch(epoch).sequences(np.arange(data.num_sequences)))


def epoch_stream(data: GPT2Data, epoch: int) -> list[int]:
    """An epoch's sequences put back into the order that they were cut in."""
    batch = data.batch(epoch * data.num_sequences, data.num_sequences)
    flat: list[int] = batch.tokens[cut_order(data, epoch)].flatten().tolist()
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
    order = cut_order(gpt2_data(run), 0)
    assert sorted(order) == list(range(len(order)))
    neighbours = sum(abs(one - other) == 1 for one, other in pairwise(order.tolist()))
    assert neighbours < len(order) / 5


def test_targets_are_the_next_tokens(run: Path) -> None:
    data = gpt2_data(run)
    batch = data.batch(0, data.num_sequences)
    assert torch.equal(batch.targets[:, :-1], batch.tokens[:, 1:])
    order = cut_order(data, 0)
    last, first = batch.targets[order][:-1, -1], batch.tokens[order][1:, 0]
    assert torch.equal(last, first), "a sequence's last target is the next one's first token"


@settings(deadline=None, max_examples=20)
@given(first=st.integers(0, 2000), number=st.integers(1, 9), cut=st.integers(0, 9))
def test_a_gpt2_sequence_depends_on_its_number_alone(run: Path, first: int, number: int, cut: int) -> None:
    cut = min(cut, number)
    whole = gpt2_data(run).batch(first, number).tokens
    data = gpt2_data(run)
    pieces = [data.batch(first + i, n).tokens for i, n in ((cut, number - cut), (0, cut)) if n]
    assert torch.equal(whole, torch.cat(pieces[::-1]))


def test_another_seed_gives_another_order(run: Path) -> None:
    assert not torch.equal(gpt2_data(run, 0).batch(0, 4).tokens, gpt2_data(run, 1).batch(0, 4).tokens)


Lengths = Sequence[Sequence[int]]
_folders = count()


def numbered_tokens(folder: Path, lengths: Lengths) -> list[TokenFile]:
    """Files of documents of `lengths` whose tokens are all different: their own numbers, in int32."""
    files, first = [], 0
    for documents in lengths:
        path = folder / f"{next(_folders)}.bin"
        tokens = np.arange(first, first + sum(documents), dtype="<i4")
        path.write_bytes(tokens.tobytes())
        files.append(TokenFile(path, document_index("<i4", documents)))
        first += len(tokens)
    return files


def reference(data: GPT2Data, lengths: Lengths, epoch: int, context: int) -> npt.NDArray[np.int64]:
    """All sequences of an epoch, each with the token after it, from the whole stream at once."""
    sizes = [length for documents in lengths for length in documents]
    tokens = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    order = data._epoch(epoch)
    stream = np.concatenate([tokens[i] for i in order.documents(np.arange(len(sizes)))])
    starts = order.sequences(np.arange(data.num_sequences)) * context
    return np.stack([stream[start : start + context + 1] for start in starts])


some_lengths = st.lists(
    st.lists(st.one_of(st.integers(0, 9), st.integers(30, 90)), max_size=90), min_size=1, max_size=3
).filter(lambda lengths: sum(map(sum, lengths)) > 20)


@settings(deadline=None, max_examples=40)
@given(lengths=some_lengths, context=st.integers(1, 20), seed=st.integers(0, 5), data=st.data())
def test_an_epoch_is_the_stream_of_all_documents_cut_up(
    tmp_path_factory: pytest.TempPathFactory, lengths: Lengths, context: int, seed: int, data: st.DataObject
) -> None:
    gpt2 = GPT2Data(numbered_tokens(tmp_path_factory.getbasetemp(), lengths), context, seed)
    epochs = [reference(gpt2, lengths, epoch, context) for epoch in range(3)]
    for rows in epochs:
        read = rows[:, :-1].flatten()
        assert len(set(read.tolist())) == len(read), "no token is read twice in an epoch"
        assert 1 <= gpt2.num_tokens - len(read) <= context
    row = np.concatenate(epochs)
    first = data.draw(st.integers(0, len(row) - 1))
    number = data.draw(st.integers(1, len(row) - first))
    batch = gpt2.batch(first, number)
    assert np.array_equal(batch.tokens.numpy(), row[first : first + number, :-1])
    assert np.array_equal(batch.targets.numpy(), row[first : first + number, 1:])
    assert batch.documents is None


@settings(deadline=None, max_examples=40)
@given(lengths=some_lengths, context=st.integers(1, 20), seed=st.integers(0, 5))
def test_end_of_text_is_of_the_document_that_follows(
    tmp_path_factory: pytest.TempPathFactory, lengths: Lengths, context: int, seed: int
) -> None:
    files = numbered_tokens(tmp_path_factory.getbasetemp(), lengths)
    gpt2 = GPT2Data(files, context, seed, separate=True)
    sizes = np.array([length for documents in lengths for length in documents])
    ends = set((np.cumsum(sizes) - 1)[sizes > 0].tolist())
    batch = gpt2.batch(0, 2 * gpt2.num_sequences)
    assert batch.documents is not None
    assert batch.documents.dtype == torch.int32
    for tokens, documents in zip(batch.tokens.tolist(), batch.documents.tolist(), strict=True):
        rises = [token in ends for token in tokens]
        assert np.diff(documents).tolist() == [int(rise) for rise in rises[1:]]


def test_a_token_attends_to_what_came_before_in_its_document() -> None:
    documents = torch.tensor([[0, 0, 1, 1, 1, 2], [4, 5, 5, 5, 5, 5]], dtype=torch.int32)
    mask = document_mask(documents)
    assert mask.shape == (2, 1, 6, 6)
    for row, numbers in zip(mask[:, 0].tolist(), documents.tolist(), strict=True):
        for i, reads in enumerate(row):
            assert reads == [j <= i and numbers[j] == numbers[i] for j in range(6)]


def test_what_other_documents_say_changes_nothing(run: Path, tokenizer: Tokenizer) -> None:
    files = open_shards(run).documents("train")
    batch = GPT2Data(files, CONTEXT, 0, separate=True).batch(0, 30)
    assert batch.documents is not None
    several = batch.documents[:, 0] != batch.documents[:, -1]
    tokens, documents = batch.tokens[several], batch.documents[several]
    assert len(tokens) > 5
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=tokenizer.vocab_size, context=CONTEXT, layers=2, width=16, heads=2)
    network = GPT2(config).eval()
    last = documents == documents[:, -1:]
    others = torch.where(last, tokens, 1)
    with torch.inference_mode():
        apart = [network(some, documents=documents)[last] for some in (tokens, others)]
        mixed = [network(some)[last] for some in (tokens, others)]
    assert torch.allclose(apart[0], apart[1], atol=1e-6)
    assert not torch.allclose(mixed[0], mixed[1], atol=1e-3)
    begin = tokens[torch.arange(len(tokens)), last.int().argmax(1)]
    assert (begin == tokenizer.eot_id).all(), "a document begins with the end-of-text before it"


@settings(deadline=None, max_examples=30)
@given(
    world=st.integers(1, 5),
    each=st.integers(1, 7),
    micro_batch=st.integers(1, 8),
    step=st.integers(0, 60),
    separate=st.booleans(),
)
def test_processes_read_what_one_would(
    run: Path, world: int, each: int, micro_batch: int, step: int, separate: bool
) -> None:
    files = open_shards(run).documents("train")
    alone = GPT2Data(files, CONTEXT, 3, separate=separate)
    span = Span(step * world * each, world * each)
    shares = [micro_batches(span, micro_batch, rank, world) for rank in range(world)]
    assert len({tuple(part.count for part in share) for share in shares}) == 1, "as many passes, as large"
    assert max(part.count for part in shares[0]) <= micro_batch
    batches: list[GPT2Batch] = []
    for share in shares:
        own = GPT2Data(files, CONTEXT, 3, separate=separate)
        batches += [own.batch(part.first, part.count) for part in share]
    whole = alone.batch(span.first, span.count)
    assert torch.equal(torch.cat([batch.tokens for batch in batches]), whole.tokens)
    assert torch.equal(torch.cat([batch.targets for batch in batches]), whole.targets)
    if whole.documents is not None:
        documents = [batch.documents for batch in batches if batch.documents is not None]
        assert torch.equal(torch.cat(documents), whole.documents)


@pytest.mark.parametrize(("sequences", "world"), [(7, 2), (0, 1), (3, 4)])
def test_a_step_that_does_not_divide_is_refused(sequences: int, world: int) -> None:
    message = rf"{sequences} sequences does not divide among {world} processes.*multiple of {world} sequences"
    with pytest.raises(ModelError, match=message):
        micro_batches(Span(0, sequences), 4, 0, world)
