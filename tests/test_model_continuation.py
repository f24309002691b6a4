"""GPT-2 goes on from many token sequences at once as from each alone, with a cache as without."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from model.cache import KeyValueCache
from model.config import GPT2Config
from model.errors import ModelError
from model.exchange.convert import gpt2_to_hf
from model.generation.continuation import Limits, Start, continue_tokens
from model.generation.sampling import Sampling
from model.gpt2 import GPT2

CONFIG = GPT2Config(vocab_size=31, context=16, layers=3, width=16, heads=2)
CPU = torch.device("cpu")
STARTS = [Start([i % 31 for i in range(1, 1 + length)], (length,)) for length in (3, 1, 16, 7, 15, 2, 40, 3)]

pytestmark = pytest.mark.usefixtures("one_thread")


def lively(config: GPT2Config = CONFIG) -> GPT2:
    """A network with large random weights, whose answers hang on all that it reads."""
    network = GPT2(config).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator))
    return network


def alone(network: GPT2, start: Start, sampling: Sampling, num_tokens: int, end: int | None) -> list[int]:
    """What follows a start, by reading all of it anew for each token."""
    context = network.config.context
    rng = np.random.default_rng(np.random.SeedSequence(start.seed))
    read, drawn = list(start.tokens[-context:]), list[int]()
    while len(drawn) < num_tokens and end not in drawn[-1:]:
        with torch.no_grad():
            logits = network(torch.tensor([read]))[:, -1]
        uniform = torch.tensor([rng.random()], dtype=torch.float64)
        drawn.append(int(sampling.draw(logits, uniform)))
        read = [*read, drawn[-1]] if len(read) < context else [*read, drawn[-1]][-(context // 2) :]
    return drawn


def together(
    network: GPT2, starts: Sequence[Start], sampling: Sampling, limits: Limits
) -> tuple[list[list[int]], list[int]]:
    """The tokens of each start, and the starts in the order of their ends."""
    drawn: list[list[int]] = [[] for _ in starts]
    ends = []
    for one in continue_tokens(network, starts, sampling, limits):
        assert one.start not in ends
        drawn[one.start].append(one.token)
        if one.is_last:
            ends.append(one.start)
    return drawn, ends


@pytest.mark.parametrize("rows", [1, 3, 20])
@pytest.mark.parametrize("band", [None, 4])
@pytest.mark.parametrize(
    ("sampling", "end"), [(Sampling(temperature=2.0, top_k=20), None), (Sampling(temperature=8.0), 12)]
)
def test_a_batch_gives_what_each_gives_alone(
    rows: int, band: int | None, sampling: Sampling, end: int | None
) -> None:
    network = lively(GPT2Config(vocab_size=31, context=16, layers=3, width=16, heads=2, band=band))
    drawn, ends = together(network, STARTS, sampling, Limits(max_tokens=30, end=end, rows=rows))
    assert drawn == [alone(network, start, sampling, 30, end) for start in STARTS]
    assert sorted(ends) == list(range(len(STARTS)))
    lengths = {len(tokens) for tokens in drawn}
    assert lengths == {30} if end is None else len(lengths) > 3


def test_the_most_likely_tokens_are_those_of_transformers() -> None:
    import transformers

    config = GPT2Config(vocab_size=61, context=32, layers=3, width=32, heads=4)
    ours = lively(config)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=61, n_positions=32, n_embd=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=60
        )
    ).train(mode=False)
    theirs.load_state_dict(gpt2_to_hf(ours.state_dict()))
    starts = STARTS[:6]
    drawn, _ = together(ours, starts, Sampling(temperature=0), Limits(max_tokens=16, end=60, rows=4))
    for start, tokens in zip(starts, drawn, strict=True):
        prompt = torch.tensor([start.tokens])
        expected = theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=16,
            pad_token_id=60,
        )
        assert [*start.tokens, *tokens] == expected[0].tolist()


def test_sequences_of_several_lengths_are_read_as_they_stand() -> None:
    network = lively()
    rows = torch.randint(31, (3, 12), generator=torch.Generator().manual_seed(1))
    lengths = [5, 1, 8]
    cache = KeyValueCache(CONFIG, 3, CPU, torch.float32)
    with torch.no_grad():
        network(rows[:, :8], cache)  # the tokens behind a row's length are rubbish
        cache.lengths = list(lengths)
        read = torch.stack([row[length : length + 3] for row, length in zip(rows, lengths, strict=True)])
        found = network(read, cache)  # (3, 3, V)
        for row, length, logits in zip(rows, lengths, found, strict=True):
            expected = network(row[None, : length + 3])[0, length:]
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert cache.lengths == [8, 4, 11]


@pytest.mark.parametrize("band", [None, 1, 3])
def test_the_mask_shows_what_each_token_may_read(band: int | None) -> None:
    cache = KeyValueCache(CONFIG, 2, CPU, torch.float32)
    cache.begin(4)
    assert cache.mask(band) is None
    cache.lengths = [2, 5]
    assert cache.begin(2).tolist() == [[2, 3], [5, 6]]
    mask = cache.mask(band)
    assert mask is not None
    for row, places in enumerate([[2, 3], [5, 6]]):
        for new, place in enumerate(places):
            first = 0 if band is None else max(0, place - band + 1)
            assert mask[row, 0, new].tolist() == [first <= slot <= place for slot in range(7)]


def test_a_dropped_sequence_leaves_the_others_as_they_are() -> None:
    cache = KeyValueCache(CONFIG, 3, CPU, torch.float32)
    cache.keys += torch.arange(3.0)[:, None, None, None]
    cache.values -= torch.arange(3.0)[:, None, None, None]
    cache.lengths = [2, 4, 3]
    cache.drop(0)
    assert cache.lengths == [3, 4]
    assert set(cache.keys[:, 0, :, :3].flatten().tolist()) == {2}
    assert set(cache.values[:, 0, :, :3].flatten().tolist()) == {-2}
    cache.drop(1)
    assert cache.lengths == [3]


def test_tokens_that_are_never_drawn_are_not() -> None:
    limits = Limits(max_tokens=200, never={7, 30}, rows=2)
    drawn, _ = together(lively(), STARTS[:3], Sampling(temperature=50.0), limits)
    assert set().union(*drawn) == set(range(31)) - {7, 30}


def test_a_context_of_one_token_goes_on() -> None:
    network = lively(GPT2Config(vocab_size=31, context=1, layers=1, width=16, heads=2))
    drawn, _ = together(network, STARTS[:2], Sampling(), Limits(max_tokens=5))
    assert [len(tokens) for tokens in drawn] == [5, 5]


def test_no_start_gives_no_token() -> None:
    assert together(lively(), [], Sampling(), Limits(max_tokens=5)) == ([], [])


def test_a_network_whose_training_failed_is_refused() -> None:
    network = lively()
    with torch.no_grad():
        network.norm.bias.fill_(torch.nan)
    with pytest.raises(ModelError, match="NaN or infinity: its training has failed"):
        list(continue_tokens(network, STARTS, Sampling(), Limits(max_tokens=5)))
