"""Texts that a GPT-2 writes behind prompts: token by token, many at once, or the best that beams find."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from model.cache import KeyValueCache
from model.errors import ModelError
from model.evaluate.likelihoods import log_probabilities
from model.evaluate.requests import Generation, Written
from model.generation.continuation import Limits, Start, continue_tokens, ids_without_text
from model.generation.sampling import Sampling
from model.gpt2 import GPT2
from tokenizer.encode import Tokenizer

LENGTH_PENALTY = 0.6
"""GPT-3's: a beam's score is its log-probability over ((5 + tokens) / 6) ** LENGTH_PENALTY.

Sources: Brown et al. 2020, section 2.4; the formula is that of Wu et al. 2016, section 7.
"""


@dataclass(slots=True)
class _Draft:
    """A text on its way.

    Attributes:
        place: Its request's place among the requests.
        request: What is asked for.
        prompt: Token ids to go on from.
        written: Token ids behind them.
        is_over: Whether nothing follows.
    """

    place: int
    request: Generation
    prompt: list[int]
    written: list[int] = field(default_factory=list)
    is_over: bool = False


class _Beam(NamedTuple):
    """A text that a search goes through: its log-probability, and its token ids behind the prompt."""

    log_probability: float
    tokens: list[int]

    @property
    def score(self) -> float:
        return self.log_probability / _penalty(len(self.tokens))


def _penalty(num_tokens: int) -> float:
    return float(((5 + num_tokens) / 6) ** LENGTH_PENALTY)


def write(
    network: GPT2, tokenizer: Tokenizer, requests: Sequence[Generation], rows: int
) -> Iterator[tuple[int, Written]]:
    """Yields each request's place in `requests` and what was written, in no order.

    A text ends before the first of its `stop`, where the model ends it, or after `max_tokens`. A text
    that is drawn follows from its prompt and its seed, and not from the texts computed beside it. An
    empty prompt is the end of the text before. Of a prompt that leaves no room for `max_tokens` the end is
    read, half of the context at least; a text that even so fills the context goes on from its last half,
    and one that is searched for with beams ends there.

    Raises:
        ModelError: A request is out of range, or the network's answers are no numbers.
    """
    for request in requests:
        _check(request)
    drafts = [_begin(place, request, network, tokenizer) for place, request in enumerate(requests)]
    drafts.sort(key=lambda draft: (_kind(draft), -len(draft.prompt)))
    for (beams, *_), group in groupby(drafts, _kind):
        alike = list(group)
        for start in range(0, len(alike), rows):
            batch = alike[start : start + rows]
            if beams == 1:
                _draw(network, tokenizer, batch)
            for draft in batch:
                if beams > 1:
                    draft.written = _search(network, tokenizer, draft)
                yield draft.place, _read(draft, tokenizer)


def _check(request: Generation) -> None:
    for name in ("max_tokens", "top_k", "beams"):
        if getattr(request, name) < 1:
            raise ModelError(f"{name} must be at least 1, got {getattr(request, name)}")
    if request.seed < 0:
        raise ModelError(f"seed must be at least 0, got {request.seed}")
    if request.beams > 1 and request.top_k > 1:
        raise ModelError("beams search for the likeliest text and top_k draws one: leave one of them at 1")


def _begin(place: int, request: Generation, network: GPT2, tokenizer: Tokenizer) -> _Draft:
    context = network.config.context
    read = max(context - request.max_tokens + 1, context // 2, 1)
    return _Draft(place, request, (tokenizer.encode(request.prompt) or [tokenizer.eot_id])[-read:])


def _kind(draft: _Draft) -> tuple[int, int, int, tuple[str, ...]]:
    """What must be the same of texts that are drawn together."""
    request = draft.request
    return request.beams, request.max_tokens, request.top_k, request.not_first


def _not_first(request: Generation, tokenizer: Tokenizer) -> set[int]:
    """Tokens that the first may not be; a text of several tokens is none."""
    encoded = [tokenizer.encode(text) for text in request.not_first]
    return {tokens[0] for tokens in encoded if len(tokens) == 1}


def _is_over(written: Sequence[int], request: Generation, tokenizer: Tokenizer) -> bool:
    if len(written) >= request.max_tokens or written[-1] == tokenizer.eot_id:
        return True
    data = tokenizer.decode_bytes(written) if request.stop else b""
    return any(stop.encode() in data for stop in request.stop)


def _read(draft: _Draft, tokenizer: Tokenizer) -> Written:
    text = tokenizer.decode([token for token in draft.written if token != tokenizer.eot_id])
    ends = [end for stop in draft.request.stop if (end := text.find(stop)) >= 0]
    return Written(text[: min(ends, default=len(text))])


def _draw(network: GPT2, tokenizer: Tokenizer, drafts: Sequence[_Draft]) -> None:
    """Writes texts of one kind."""
    request = drafts[0].request
    never = ids_without_text(network, tokenizer)
    limits = Limits(max_tokens=request.max_tokens, end=tokenizer.eot_id, never=never, rows=len(drafts))
    if request.not_first:
        never = never | _not_first(request, tokenizer)
        _extend(network, tokenizer, drafts, replace(limits, max_tokens=1, never=never))
    _extend(network, tokenizer, [draft for draft in drafts if not draft.is_over], limits)


def _extend(network: GPT2, tokenizer: Tokenizer, drafts: Sequence[_Draft], limits: Limits) -> None:
    """Writes on until all texts are over, or have `limits.max_tokens` more."""
    if not drafts:
        return
    top_k = drafts[0].request.top_k
    sampling = Sampling(temperature=0) if top_k == 1 else Sampling(top_k=top_k)
    starts = [Start(read := [*d.prompt, *d.written], (d.request.seed, *read)) for d in drafts]
    for drawn in continue_tokens(network, starts, sampling, limits):
        draft = drafts[drawn.start]
        if draft.is_over:
            continue
        draft.written.append(drawn.token)
        draft.is_over = _is_over(draft.written, draft.request, tokenizer)
        if draft.is_over and all(one.is_over for one in drafts):
            return


@torch.inference_mode()
def _search(network: GPT2, tokenizer: Tokenizer, draft: _Draft) -> list[int]:
    """The tokens of the best text that beam search finds.

    Each step takes the likeliest 2 x beams texts of one more token: of those among the first half that are
    over, the best is kept, and the first `beams` others go on, until none of them can become better.
    """
    device = network.tokens.weight.device
    room = network.config.context - len(draft.prompt) + 1
    request = replace(draft.request, max_tokens=min(draft.request.max_tokens, room))
    never = ids_without_text(network, tokenizer)
    banned = never | _not_first(request, tokenizer)
    encoded, cache = _read_prompt(network, draft.prompt, request)  # (1, D)
    beams, best = [_Beam(0.0, [])], _Beam(-torch.inf, [])
    while True:
        going, parents = [], []
        for rank, (parent, beam) in enumerate(_likeliest(network, encoded, beams, banned, request.beams)):
            if not _is_over(beam.tokens, request, tokenizer):
                going.append(beam)
                parents.append(parent)
            elif rank < request.beams:
                best = max(best, beam, key=lambda one: one.score)
        beams, parents = going[: request.beams], parents[: request.beams]
        # Log-probabilities only fall; the longest text divides them by most.
        if not beams or best.score >= beams[0].log_probability / _penalty(request.max_tokens):
            return best.tokens
        _follow(cache, parents, len(draft.prompt))
        last = torch.tensor([beam.tokens[-1:] for beam in beams], device=device)
        encoded, banned = network.encode(last, cache)[:, -1], never  # (B, D)


def _read_prompt(network: GPT2, prompt: list[int], request: Generation) -> tuple[Tensor, KeyValueCache]:
    """What the network makes of a prompt's last token, (1, D), and a cache that each beam has it in."""
    config, weight = network.config, network.tokens.weight
    alone = KeyValueCache(config, 1, weight.device, weight.dtype, len(prompt))
    encoded = network.encode(torch.tensor([prompt], device=weight.device), alone)[:, -1]
    capacity = len(prompt) + request.max_tokens
    cache = KeyValueCache(config, request.beams, weight.device, weight.dtype, capacity)
    cache.lengths.clear()
    for _ in range(request.beams):
        cache.append(alone)
    return encoded, cache


def _likeliest(
    network: GPT2, encoded: Tensor, beams: Sequence[_Beam], banned: Iterable[int], num_beams: int
) -> Iterator[tuple[int, _Beam]]:
    """Yields the likeliest 2 x `num_beams` beams of one more token, each after its parent's place."""
    found = log_probabilities(network.logits(encoded)).double()  # (B, V)
    found[:, sorted(banned)] = -torch.inf
    found += torch.tensor([beam.log_probability for beam in beams], device=found.device)[:, None]
    values, places = found.flatten().topk(min(2 * num_beams, found.numel()))
    for value, place in zip(values.tolist(), places.tolist(), strict=True):
        parent, token = divmod(place, found.size(-1))
        yield parent, _Beam(value, [*beams[parent].tokens, token])


def _follow(cache: KeyValueCache, parents: list[int], prompt: int) -> None:
    """Gives each beam what its parent has cached behind the prompt of `prompt` tokens, which all share."""
    cache.lengths = cache.lengths[:1] * len(parents)
    written = slice(prompt, cache.lengths[0])
    for cached in (cache.keys, cache.values):
        cached[:, : len(parents), :, written] = cached[:, parents, :, written]
