"""What a GPT-2 answers: transformers with the same weights, asked plainly one at a time, says the same."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import transformers

from model.config import GPT2Config
from model.errors import ModelError
from model.evaluate.language_model import LanguageModel
from model.evaluate.requests import Generation, Likelihood, Likely, Request, TextLikelihood, Written
from model.exchange.convert import gpt2_to_hf
from model.gpt2 import GPT2
from tests.in_transformers import gpt2_config
from tests.test_model_networks import sharpen
from tests.test_model_shards import make_vocabulary
from tokenizer.encode import Tokenizer
from tokenizer.vocabulary import Vocabulary

IDS, CONTEXT = 320, 24
LONG = "The cat sees a dog in the garden, and a whale follows the horse. " * 3
PAIRS = [
    ("The cat sees", " a dog."),
    ("", "A whale"),
    ("The ca", "t sees"),  # a token has characters of both
    ("T", "he"),  # the first token is the continuation's
    ("naïve 日", "本 🙂"),
    (LONG, " the end"),
    (LONG[:40], LONG[40:90]),
    ("The cat", "\n"),
    ("The cat sees", " a horse."),
]
PROMPTS = ["The cat", "", "A whale follows", "🙂", "The dog sees a horse in"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(make_vocabulary(IDS), "")


@pytest.fixture(scope="module")
def network(tokenizer: Tokenizer) -> GPT2:
    return make_network(tokenizer, ending=-3.0)


def make_network(tokenizer: Tokenizer, ending: float) -> GPT2:
    """A network of random weights; `ending` says how it likes to end texts."""
    torch.manual_seed(0)
    network = GPT2(GPT2Config(vocab_size=IDS, context=CONTEXT, layers=2, width=32, heads=4)).eval()
    sharpen(network)
    others = [i for i in range(IDS) if not tokenizer.token_bytes(i).isascii()]
    with torch.no_grad():
        network.tokens.weight[others] *= 0.2  # so that what is written can be read
        network.tokens.weight[tokenizer.eot_id] = ending * network.norm.bias
    return network


@pytest.fixture(scope="module")
def theirs(network: GPT2, tokenizer: Tokenizer) -> Any:
    return in_transformers(network, tokenizer)


def in_transformers(network: GPT2, tokenizer: Tokenizer) -> Any:
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eot_id)
    config = gpt2_config(network.config, **ends)
    theirs = transformers.GPT2LMHeadModel(config).train(mode=False)
    theirs.load_state_dict(gpt2_to_hf(network.state_dict()))
    return theirs


def log_softmax(theirs: Any, tokens: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = theirs(torch.tensor([list(tokens)])).logits[0]
    return logits.double().log_softmax(-1)


def split(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[list[int], int]:
    """All tokens, and how many of the last ones end in the continuation; found token by token."""
    tokens = tokenizer.encode(context + continuation)
    border = len(context.encode())
    num_before = sum(len(tokenizer.decode_bytes(tokens[: i + 1])) <= border for i in range(len(tokens)))
    return ([] if num_before else [tokenizer.eot_id]) + tokens, len(tokens) - num_before


def expected_likelihood(theirs: Any, tokens: Sequence[int], num_asked: int) -> Likely:
    """Of a request that one window holds."""
    read = tokens[-1 - CONTEXT : -1]
    found = log_softmax(theirs, read)[-num_asked:]
    asked = torch.tensor(tokens[-num_asked:])
    total = found[torch.arange(num_asked), asked].sum()
    return Likely(float(total), num_asked, bool((found.argmax(-1) == asked).all()))


def expected_text(theirs: Any, tokens: Sequence[int], stride: int) -> float:
    """Of tokens behind the first one, one window after another."""
    total, done, last = 0.0, 0, len(tokens) - 1
    end = min(CONTEXT, last)
    while done < last:
        begin = max(0, end - CONTEXT)
        found = log_softmax(theirs, tokens[begin:end])
        for place in range(done, end):
            total += float(found[place - begin, tokens[place + 1]])
        done, end = end, min(end + stride, last)
    return total


def likely(replies: Sequence[object]) -> Iterator[Likely]:
    for reply in replies:
        assert isinstance(reply, Likely)
        yield reply


def texts(replies: Sequence[object]) -> Iterator[str]:
    for reply in replies:
        assert isinstance(reply, Written)
        yield reply.text


@pytest.mark.parametrize("rows", [1, 3, 16])
def test_likelihoods_are_those_of_transformers(
    network: GPT2, tokenizer: Tokenizer, theirs: Any, rows: int
) -> None:
    found = LanguageModel(network, tokenizer, rows=rows).answer([Likelihood(*pair) for pair in PAIRS])
    for pair, reply in zip(PAIRS, likely(found), strict=True):
        expected = expected_likelihood(theirs, *split(tokenizer, *pair))
        assert reply.log_probability == pytest.approx(expected.log_probability, abs=1e-4), pair
        assert (reply.num_tokens, reply.is_likeliest) == (expected.num_tokens, expected.is_likeliest), pair


def test_what_is_likeliest_is_told(network: GPT2, tokenizer: Tokenizer, theirs: Any) -> None:
    told = []
    for context in PROMPTS[2:]:
        tokens = tokenizer.encode(context)
        best = int(log_softmax(theirs, tokens)[-1].argmax())
        every = {token: tokenizer.decode([token]) for token in range(IDS - 1)}
        whole = {i: text for i, text in every.items() if tokenizer.encode(context + text) == [*tokens, i]}
        requests = [Likelihood(context, text) for text in whole.values()]
        found = likely(LanguageModel(network, tokenizer, rows=100).answer(requests))
        told += [(token == best, reply.is_likeliest) for token, reply in zip(whole, found, strict=True)]
    assert all(expected == given for expected, given in told)
    assert {expected for expected, _ in told} == {True, False}


def test_a_token_is_the_continuations_where_it_ends_in_it() -> None:
    """Tokens of one and a half characters: the border of the texts is inside of one."""
    last, first = "日".encode()[-1:], "本".encode()[:1]
    tokenizer = Tokenizer(Vocabulary(((last, first), (b"a", b"b"), (b"c", b"ab"))), "")
    network = GPT2(GPT2Config(vocab_size=tokenizer.vocab_size, context=16, layers=1, width=8, heads=1)).eval()
    sharpen(network)
    theirs = in_transformers(network, tokenizer)
    assert len(tokenizer.encode("日本")) == 5
    for context, continuation, num_tokens in [
        ("日", "本", 3),
        ("日本", "b", 1),
        ("x\ud800", "b", 1),
        ("xa", "b", 1),
        ("xca", "b", 1),
        ("c", "ab", 1),
        ("", "ab", 1),
        ("ca", "b日", 4),
    ]:
        (reply,) = likely(LanguageModel(network, tokenizer).answer([Likelihood(context, continuation)]))
        assert reply.num_tokens == num_tokens, (context, continuation)
        if "\ud800" not in context:
            expected = expected_likelihood(theirs, *split(tokenizer, context, continuation))
            assert reply.log_probability == pytest.approx(expected.log_probability, abs=1e-4)


@pytest.mark.parametrize(("stride", "rows"), [(None, 2), (1, 7), (5, 1), (CONTEXT, 3)])
def test_a_long_text_slides(
    network: GPT2, tokenizer: Tokenizer, theirs: Any, stride: int | None, rows: int
) -> None:
    several = [LONG, "The", "", LONG[:90], tokenizer.decode(tokenizer.encode(LONG)[:CONTEXT])]
    model = LanguageModel(network, tokenizer, stride=stride, rows=rows)
    for text, reply in zip(several, likely(model.answer([TextLikelihood(t) for t in several])), strict=True):
        tokens = [tokenizer.eot_id, *tokenizer.encode(text)]
        assert reply.num_tokens == len(tokens) - 1
        expected = expected_text(theirs, tokens, stride or CONTEXT // 2)
        assert reply.log_probability == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("stride", [5, CONTEXT])
def test_a_continuation_longer_than_the_window_slides_behind_its_context(
    network: GPT2, tokenizer: Tokenizer, theirs: Any, stride: int
) -> None:
    context, continuation = LONG[:100], LONG[100:]
    tokens, num_asked = split(tokenizer, context, continuation)
    assert num_asked > CONTEXT
    (reply,) = likely(
        LanguageModel(network, tokenizer, stride=stride).answer([Likelihood(context, continuation)])
    )
    # The same as a text that begins with the end of the context, less what that end itself is worth.
    before = CONTEXT - stride
    tokens = tokens[-num_asked - 1 - before :]
    end = log_softmax(theirs, tokens[:CONTEXT])[range(before), tokens[1 : before + 1]].sum()
    assert reply.num_tokens == num_asked
    expected = expected_text(theirs, tokens, stride) - float(end)
    assert reply.log_probability == pytest.approx(expected, abs=1e-4)


def mixed_requests() -> list[Request]:
    return [
        *(Likelihood(*pair) for pair in PAIRS),
        TextLikelihood(LONG),
        Generation(prompt="The cat", max_tokens=9, top_k=40, seed=3),
        *(Generation(prompt=prompt, max_tokens=9) for prompt in PROMPTS),
        TextLikelihood("The cat"),
        Generation(prompt="The cat", max_tokens=7, beams=3),
        *(Generation(prompt=prompt, max_tokens=9, top_k=40) for prompt in PROMPTS),
    ]


@pytest.mark.parametrize("rows", [3, 16])
def test_replies_hang_on_their_requests_alone(network: GPT2, tokenizer: Tokenizer, rows: int) -> None:
    requests = mixed_requests()
    alone = LanguageModel(network, tokenizer, rows=1).answer(requests)
    model = LanguageModel(network, tokenizer, rows=rows)
    shuffled = model.answer([*requests[::-1], *requests[::2]])
    for reply, other in zip(shuffled, [*alone[::-1], *alone[::2]], strict=True):
        if isinstance(reply, Likely) and isinstance(other, Likely):
            assert reply.log_probability == pytest.approx(other.log_probability, abs=1e-5)
            assert reply.num_tokens == other.num_tokens
            assert reply.is_likeliest == other.is_likeliest
        else:
            assert reply == other


def test_equal_requests_are_computed_once(network: GPT2, tokenizer: Tokenizer) -> None:
    told: list[tuple[int, int]] = []
    again: list[Request] = [Likelihood("The cat", " sees"), Generation(prompt="The", max_tokens=2)]
    model = LanguageModel(network, tokenizer)
    replies = model.answer([*again * 3, TextLikelihood(LONG)], lambda done, of: told.append((done, of)))
    assert replies[:2] * 3 == replies[:6]
    windows = 1 + math.ceil((len(tokenizer.encode(LONG)) - CONTEXT) / (CONTEXT // 2))
    assert told == [(done, windows + 2) for done in range(1, windows + 3)]
    assert model.answer([]) == []


def test_rows_and_stride_must_be_in_range(network: GPT2, tokenizer: Tokenizer) -> None:
    with pytest.raises(ModelError, match="rows must be at least 1, got 0"):
        LanguageModel(network, tokenizer, rows=0)
    for stride in (0, CONTEXT + 1):
        with pytest.raises(ModelError, match=f"stride must be from 1 to .*24.*, got {stride}"):
            LanguageModel(network, tokenizer, stride=stride)


def test_a_network_that_answers_no_numbers_is_told(tokenizer: Tokenizer) -> None:
    broken = GPT2(GPT2Config(vocab_size=IDS, context=8, layers=1, width=8, heads=1))
    torch.nn.init.constant_(broken.norm.bias, torch.nan)
    for request in (
        Likelihood("The", " cat"),
        Generation(prompt="The", max_tokens=2),
        Generation(prompt="The", max_tokens=2, beams=2),
    ):
        with pytest.raises(ModelError, match="its training has failed"):
            LanguageModel(broken, tokenizer).answer([request])
