"""What a GPT-2 writes: transformers with the same weights, or a plain search, writes the same."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch

from model.cache import KeyValueCache
from model.config import GPT2Config
from model.errors import ModelError
from model.evaluate import generation
from model.evaluate.language_model import LanguageModel
from model.evaluate.requests import Generation, Request
from model.gpt2 import GPT2
from tests.test_evaluate_language_model import (
    CONTEXT,
    IDS,
    LONG,
    PROMPTS,
    in_transformers,
    log_softmax,
    make_network,
    texts,
)
from tests.test_model_networks import sharpen
from tests.test_model_shards import make_vocabulary
from tokenizer.encode import Tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(make_vocabulary(IDS), "")


@pytest.fixture(scope="module")
def network(tokenizer: Tokenizer) -> GPT2:
    return make_network(tokenizer, ending=-3.0)


@pytest.fixture(scope="module")
def theirs(network: GPT2, tokenizer: Tokenizer) -> Any:
    return in_transformers(network, tokenizer)


@pytest.mark.parametrize("rows", [1, 3])
def test_greedy_texts_are_those_of_transformers(
    network: GPT2, tokenizer: Tokenizer, theirs: Any, rows: int
) -> None:
    found = LanguageModel(network, tokenizer, rows=rows).answer(
        [Generation(prompt=prompt, max_tokens=12) for prompt in PROMPTS]
    )
    for prompt, text in zip(PROMPTS, texts(found), strict=True):
        assert text == their_text(theirs, tokenizer, prompt, max_new_tokens=12)


def their_text(theirs: Any, tokenizer: Tokenizer, prompt: str, **arguments: Any) -> str:
    tokens = tokenizer.encode(prompt) or [tokenizer.eot_id]
    return tokenizer.decode(their_tokens(theirs, tokens, **arguments))


def their_tokens(theirs: Any, tokens: list[int], **arguments: Any) -> list[int]:
    """What transformers writes, without the end of the text."""
    given = {"attention_mask": torch.ones(1, len(tokens)), "do_sample": False, **arguments}
    written: list[int] = theirs.generate(torch.tensor([tokens]), **given)[0, len(tokens) :].tolist()
    return [token for token in written if token != theirs.config.eos_token_id]


def test_of_a_long_prompt_the_end_is_read(network: GPT2, tokenizer: Tokenizer, theirs: Any) -> None:
    ids = tokenizer.encode(LONG)
    for max_tokens, num_read in [(5, CONTEXT - 4), (1, CONTEXT), (12, 13)]:
        (text,) = texts(
            LanguageModel(network, tokenizer).answer([Generation(prompt=LONG, max_tokens=max_tokens)])
        )
        read = tokenizer.decode(ids[-num_read:])
        assert text == their_text(theirs, tokenizer, read, max_new_tokens=max_tokens)
    for beams in (1, 2):
        request = Generation(prompt=LONG, max_tokens=70, beams=beams)
        assert list(texts(LanguageModel(network, tokenizer).answer([request])))


def test_draws_follow_from_the_seed(network: GPT2, tokenizer: Tokenizer, theirs: Any) -> None:
    requests = [Generation(prompt="The cat", max_tokens=3, top_k=2, seed=seed) for seed in range(40)]
    found = list(texts(LanguageModel(network, tokenizer, rows=16).answer(requests)))
    assert found == list(texts(LanguageModel(network, tokenizer, rows=16).answer(requests)))
    possible = set()
    for ranks in product(range(2), repeat=3):
        tokens = tokenizer.encode("The cat")
        for rank in ranks:
            if tokens[-1] != tokenizer.eot_id:
                tokens.append(int(log_softmax(theirs, tokens)[-1].topk(2).indices[rank]))
        possible.add(
            tokenizer.decode(tokens[len(tokenizer.encode("The cat")) :]).removesuffix("<|endoftext|>")
        )
    assert set(found) == possible
    assert len(possible) > 3


def test_a_text_ends_before_its_first_stop(network: GPT2, tokenizer: Tokenizer) -> None:
    model = LanguageModel(network, tokenizer)
    (text,) = texts(model.answer([Generation(prompt="The cat", max_tokens=12)]))
    assert len(text) > 8
    stops = [(text[5:7],), ("@@", text[6:9], text[5:7]), ("o", " d"), (text[0],), (text,), ("@@",)]
    found = model.answer([Generation(prompt="The cat", max_tokens=12, stop=stop) for stop in stops])
    for stop, cut in zip(stops, texts(found), strict=True):
        ends = [at for one in stop if (at := text.find(one)) >= 0]
        assert cut == text[: min(ends, default=len(text))]


def test_a_stopped_text_computes_no_longer(
    network: GPT2, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[torch.Size] = []
    encode = network.encode

    def watched(tokens: torch.Tensor, cache: KeyValueCache) -> torch.Tensor:
        read.append(tokens.shape)
        return encode(tokens, cache)

    monkeypatch.setattr(network, "encode", watched)
    model = LanguageModel(network, tokenizer)
    (text,) = texts(model.answer([Generation(prompt="The cat", max_tokens=12)]))
    read.clear()
    list(model.answer([Generation(prompt="The cat", max_tokens=12, stop=(text[:1],))]))
    assert len(read) == 1


def test_the_first_token_may_be_forbidden(network: GPT2, tokenizer: Tokenizer, theirs: Any) -> None:
    tokens = tokenizer.encode("The cat")
    ranked = log_softmax(theirs, tokens)[-1].argsort(descending=True).tolist()
    banned = tuple(tokenizer.decode([token]) for token in ranked[:2])
    assert [tokenizer.encode(text) for text in banned] == [[token] for token in ranked[:2]]
    whole = tokenizer.decode(ranked[2:3]) + "cat"
    assert len(tokenizer.encode(whole)) > 1
    for beams, max_tokens in [(1, 1), (1, 6), (3, 1)]:
        request = Generation(prompt="The cat", max_tokens=max_tokens, not_first=(*banned, whole), beams=beams)
        (text,) = texts(LanguageModel(network, tokenizer, rows=2).answer([request]))
        written = [ranked[2]]
        if max_tokens > 1:
            written += their_tokens(theirs, [*tokens, *written], max_new_tokens=max_tokens - 1)
        assert text == tokenizer.decode(written)


@pytest.mark.parametrize("stop", [(), ("e",), ("@", "t ")])
@pytest.mark.parametrize("beams", [2, 4])
def test_beams_find_what_those_of_transformers_find(
    network: GPT2,
    tokenizer: Tokenizer,
    theirs: Any,
    beams: int,
    stop: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its penalty has another form, so both have none."""
    monkeypatch.setattr(generation, "LENGTH_PENALTY", 0.0)
    requests = [Generation(prompt=prompt, max_tokens=10, beams=beams, stop=stop) for prompt in PROMPTS]
    found = texts(LanguageModel(network, tokenizer).answer(requests))
    for prompt, text in zip(PROMPTS, found, strict=True):

        def stops(
            rows: torch.Tensor, _: object, num_read: int = len(tokenizer.encode(prompt)) or 1
        ) -> torch.Tensor:
            written = [tokenizer.decode(row[num_read:]) for row in rows.tolist()]
            return torch.tensor([any(one in text for one in stop) for text in written])

        theirs_text = their_text(
            theirs,
            tokenizer,
            prompt,
            max_new_tokens=10,
            num_beams=beams,
            length_penalty=0.0,
            early_stopping="never",
            stopping_criteria=[stops],
        )
        ends = [at for one in stop if (at := theirs_text.find(one)) >= 0]
        assert text == theirs_text[: min(ends, default=len(theirs_text))]


@pytest.mark.parametrize("not_first", [(), (" do", "t")])
def test_beams_find_what_a_plain_search_finds(
    network: GPT2, tokenizer: Tokenizer, theirs: Any, not_first: tuple[str, ...]
) -> None:
    requests = [Generation(prompt=p, max_tokens=8, beams=3, not_first=not_first) for p in PROMPTS]
    found = list(texts(LanguageModel(network, tokenizer).answer(requests)))
    assert any(" do do" in text for text in found)
    banned = [token for text in not_first for token in tokenizer.encode(text)]
    assert len(banned) == len(not_first)
    for prompt, text in zip(PROMPTS, found, strict=True):
        start = tokenizer.encode(prompt) or [tokenizer.eot_id]
        tokens = search_plainly(theirs, start, banned, num_beams=3, max_tokens=8, end=tokenizer.eot_id)
        assert text == tokenizer.decode([token for token in tokens if token != tokenizer.eot_id])


def search_plainly(
    theirs: Any, start: list[int], not_first: Sequence[int], num_beams: int, max_tokens: int, end: int
) -> list[int]:
    """Beam search to the very end, with Wu et al.'s penalty, each beam read anew at each step."""
    going: list[tuple[float, list[int]]] = [(0.0, [])]
    over: list[tuple[float, list[int]]] = []
    for num_tokens in range(1, max_tokens + 1):
        candidates = [
            (so_far + more, [*tokens, token])
            for so_far, tokens in going
            for token, more in enumerate(log_softmax(theirs, [*start, *tokens])[-1].tolist())
            if num_tokens > 1 or token not in not_first
        ]
        best = sorted(candidates, reverse=True)[: 2 * num_beams]
        ended = [beam for beam in best[:num_beams] if beam[1][-1] == end or num_tokens == max_tokens]
        over += [(so_far / ((5 + num_tokens) / 6) ** 0.6, tokens) for so_far, tokens in ended]
        going = [beam for beam in best if beam[1][-1] != end][:num_beams]
    return max(over)[1]


@pytest.mark.parametrize(("ratio", "expected"), [(1.55, "A" * 8), (1.62, "")])
def test_a_long_text_may_be_less_likely_by_the_penalty(
    tokenizer: Tokenizer, ratio: float, expected: str
) -> None:
    """The end at once, or eight tokens: these may have ((5 + 8) / 6) ** 0.6 = 1.59 times its logarithm."""
    network = GPT2(GPT2Config(vocab_size=IDS, context=CONTEXT, layers=1, width=32, heads=1))
    first, later = torch.zeros(2, 32)
    first[:2] = later[2:4] = torch.tensor([1.0, -1.0])
    (letter,) = tokenizer.encode("A")
    end, other = 0.2, (1 - 0.2 - 0.2**ratio) / (IDS - 2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(float(name == "norm.weight"))
        # Where a token stands decides what follows: normalised, the two are 4 and -4 where they are not 0.
        network.positions.weight[:] = 1e6 * later
        network.positions.weight[0] = 1e6 * first
        network.tokens.weight[tokenizer.eot_id] = math.log(end / other) / 8 * first
        network.tokens.weight[letter] = math.log(end**ratio / other) / 8 * first + 20 / 8 * later
    request = Generation(prompt="", max_tokens=8, beams=2)
    assert list(texts(LanguageModel(network, tokenizer).answer([request]))) == [expected]


def test_enough_beams_find_the_best_of_all_texts(tokenizer: Tokenizer) -> None:
    """By Wu et al.'s penalty, of all texts of two tokens, or of none: the end alone."""
    network = make_network(tokenizer, ending=-1.0)
    theirs = in_transformers(network, tokenizer)
    requests = [Generation(prompt=prompt, max_tokens=2, beams=IDS) for prompt in PROMPTS]
    found = list(texts(LanguageModel(network, tokenizer).answer(requests)))
    best: dict[float, list[str]] = {0.0: [], 0.6: [], 1.0: []}
    for prompt in PROMPTS:
        start = tokenizer.encode(prompt) or [tokenizer.eot_id]
        first = log_softmax(theirs, start)[-1]
        with torch.no_grad():
            logits = theirs(torch.tensor([[*start, token] for token in range(IDS)])).logits[:, -1]
        both = first[:, None] + logits.double().log_softmax(-1)
        both[tokenizer.eot_id] = -torch.inf
        tokens = [token for token in divmod(int(both.argmax()), IDS) if token != tokenizer.eot_id]
        for penalty, chosen in best.items():
            is_empty = first[tokenizer.eot_id] > both.max() / ((5 + 2) / 6) ** penalty
            chosen.append("" if is_empty else tokenizer.decode(tokens))
    assert found == best[0.6]
    assert best[0.0] != best[0.6] != best[1.0]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Generation(prompt="", max_tokens=0), "max_tokens must be at least 1, got 0"),
        (Generation(prompt="", max_tokens=1, top_k=0), "top_k must be at least 1"),
        (Generation(prompt="", max_tokens=1, seed=-1), "seed must be at least 0"),
        (Generation(prompt="", max_tokens=1, beams=2, top_k=2), "leave one of them at 1"),
    ],
)
def test_what_cannot_be_written_is_told(
    network: GPT2, tokenizer: Tokenizer, request_: Request, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        LanguageModel(network, tokenizer).answer([request_])


def test_rows_without_an_id_are_not_written(tokenizer: Tokenizer) -> None:
    """GPT-2s may have more rows than their tokenizer has ids, for speed."""
    wide = GPT2(GPT2Config(vocab_size=400, context=16, layers=1, width=8, heads=1))
    sharpen(wide)
    replies = LanguageModel(wide, tokenizer).answer(
        [
            Generation(prompt=prompt, max_tokens=16, top_k=k, beams=beams)
            for prompt in PROMPTS
            for k, beams in [(1, 1), (100, 1), (1, 3)]
        ]
    )
    assert not any(name in text for text in texts(replies) for name in ("[PAD]", "[MASK]", "[CLS]"))
