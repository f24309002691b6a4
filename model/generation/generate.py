"""Text from a checkpoint: GPT-2 continues prompts, ALBERT fills in their masks."""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from model.albert import Albert
from model.checkpoint import Metadata, load_network, load_tokenizer, newest_checkpoint, read_metadata
from model.devices import find_device
from model.errors import ModelError
from model.generation.continuation import Limits, Start, continue_tokens, ids_without_text
from model.generation.sampling import Sampling
from model.gpt2 import GPT2
from model.networks import Network
from tokenizer.encode import Tokenizer
from tokenizer.vocabulary import CLS, MASK, SEP

End = Literal["end-of-text", "max-tokens", "filled"]


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with its tokenizer.

    Attributes:
        path: Its folder.
        metadata: What it says of itself.
        network: The network, in evaluation mode.
        tokenizer: The tokenizer that it was trained with.
    """

    path: Path
    metadata: Metadata
    network: Network
    tokenizer: Tokenizer


@dataclass(frozen=True, slots=True)
class Generated:
    """What became of a prompt.

    Attributes:
        prompt: The prompt.
        sample: Which of its samples, counted from 1.
        text: The continuation; of an ALBERT, the prompt with its masks filled in.
        num_tokens: Tokens that were added, the end of the text included.
        end: What ended it: the model itself, the limit, or that no mask was left.
    """

    prompt: str
    sample: int
    text: str
    num_tokens: int
    end: End


def load_checkpoint(path: Path, device: str = "cpu") -> Checkpoint:
    """Loads a checkpoint, or the newest one of a folder of checkpoints.

    A GPT-2 computes in bfloat16 on a GPU, and in float32 elsewhere.

    Args:
        path: The folder.
        device: Where to compute; see `find_device`.

    Raises:
        ModelError: There is none at `path`, it is torn, or there is no such device.
    """
    place = find_device(device)
    path = newest_checkpoint(path) or path
    metadata = read_metadata(path)
    network = load_network(path, metadata.config).eval()
    halves = isinstance(network, GPT2) and place.type == "cuda"
    network = network.to(place, torch.bfloat16 if halves else torch.float32)
    return Checkpoint(path, metadata, network, load_tokenizer(path, metadata.config))


def generate(
    checkpoint: Checkpoint,
    prompt: str,
    max_tokens: int = 100,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> Iterator[str]:
    """Yields text piece by piece, as soon as each is known.

    GPT-2 yields what follows `prompt`, until `max_tokens` or until it ends the text itself; of a prompt
    longer than its context it reads the end. ALBERT, a masked model, does not continue text: it yields
    the prompt with each [MASK] in it replaced by the most likely token, from left to right; a prompt
    without one gets one at its end. The other arguments do not apply to it.

    Args:
        checkpoint: What `load_checkpoint` gave.
        prompt: Text to start from; may be empty.
        max_tokens: Most tokens to add.
        temperature: See `Sampling`, as for `top_k` and `top_p`.
        top_k: See `Sampling`.
        top_p: See `Sampling`.
        seed: The same seed gives the same text.

    Raises:
        ModelError: An argument is out of range, or an ALBERT prompt is longer than its context.
    """
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    _require(max_tokens=max_tokens, seed=seed)
    network, tokenizer = checkpoint.network, checkpoint.tokenizer
    if isinstance(network, Albert):
        return _fill(network, tokenizer, _mask(network, tokenizer, prompt))
    start = _start(tokenizer, prompt, seed, sample=1)
    drawn = continue_tokens(network, [start], sampling, _limits(network, tokenizer, max_tokens))
    return _decode((one.token for one in drawn), tokenizer)


def generate_batch(
    checkpoint: Checkpoint,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    max_tokens: int = 100,
    samples: int = 1,
    seed: int = 0,
    rows: int = 8,
) -> Iterator[Generated]:
    """Yields what becomes of each prompt, in their order, each prompt's samples one after another.

    A text follows from its prompt, the seed and its sample's number: not from the other prompts, nor
    from how many are computed at once (but for rounding, where two tokens are as likely). The first
    sample is the text of `generate`.

    Args:
        checkpoint: What `load_checkpoint` gave.
        prompts: Texts to start from.
        sampling: How tokens are drawn.
        max_tokens: Most tokens to add to each.
        samples: Texts for each prompt.
        seed: The same seed gives the same texts.
        rows: Most texts that are computed at once, which takes memory.

    Raises:
        ModelError: An argument is out of range, or an ALBERT cannot do it.
    """
    _require(max_tokens=max_tokens, seed=seed, samples=samples, rows=rows)
    network, tokenizer = checkpoint.network, checkpoint.tokenizer
    if isinstance(network, Albert):
        if samples > 1:
            raise ModelError(f"an ALBERT fills in the likeliest tokens: samples must be 1, got {samples}")
        masked = [_mask(network, tokenizer, prompt) for prompt in prompts]
        return (_filled(network, tokenizer, one) for one in masked)
    asked = [(prompt, sample) for prompt in prompts for sample in range(1, samples + 1)]
    limits = _limits(network, tokenizer, max_tokens, rows)
    return _continued(network, tokenizer, asked, seed, sampling, limits)


def num_left_out(checkpoint: Checkpoint, prompt: str) -> int:
    """Tokens at the beginning of `prompt` that are not read, as the context has no room for them.

    An ALBERT refuses such a prompt: none.
    """
    if isinstance(checkpoint.network, Albert):
        return 0
    return max(0, len(_read(checkpoint.tokenizer, prompt)) - checkpoint.network.config.context)


def _require(*, seed: int, **counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ModelError(f"{name} must be at least 1, got {count}")
    if seed < 0:
        raise ModelError(f"seed must be at least 0, got {seed}")


def _read(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Tokens of a prompt. That a document begins here is told by the end of the one before."""
    return [tokenizer.eot_id, *tokenizer.encode(prompt)]


def _start(tokenizer: Tokenizer, prompt: str, seed: int, sample: int) -> Start:
    """Where a sample begins; other prompts draw other numbers, lest their texts be alike."""
    tokens = _read(tokenizer, prompt)
    return Start(tokens, (seed, sample, *tokens))


def _limits(network: GPT2, tokenizer: Tokenizer, max_tokens: int, rows: int = 1) -> Limits:
    never = ids_without_text(network, tokenizer)
    return Limits(max_tokens=max_tokens, end=tokenizer.eot_id, never=never, rows=rows)


def _continued(
    network: GPT2,
    tokenizer: Tokenizer,
    asked: Sequence[tuple[str, int]],
    seed: int,
    sampling: Sampling,
    limits: Limits,
) -> Iterator[Generated]:
    starts = [_start(tokenizer, prompt, seed, sample) for prompt, sample in asked]
    drawn: list[list[int]] = [[] for _ in asked]
    finished: dict[int, Generated] = {}
    num_given = 0
    for one in continue_tokens(network, starts, sampling, limits):
        tokens = drawn[one.start]
        tokens.append(one.token)
        if one.is_last:
            text = "".join(_decode(tokens, tokenizer))
            end: End = "end-of-text" if one.token == tokenizer.eot_id else "max-tokens"
            finished[one.start] = Generated(*asked[one.start], text, len(tokens), end)
        while num_given in finished:
            yield finished.pop(num_given)
            num_given += 1


def _decode(tokens: Iterable[int], tokenizer: Tokenizer) -> Iterator[str]:
    """Text of `tokens` until the end of text; a character is held back until it is whole."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        if token == tokenizer.eot_id:
            break
        if text := decoder.decode(tokenizer.token_bytes(token)):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text


@dataclass(frozen=True, slots=True)
class _Masked:
    """A prompt of an ALBERT.

    Attributes:
        prompt: The prompt.
        pieces: Its text before, between and behind the masks.
        tokens: Its token ids, with those that stand around it.
        places: Where the masks stand in `tokens`.
    """

    prompt: str
    pieces: list[str]
    tokens: list[int]
    places: list[int]


def _mask(network: Albert, tokenizer: Tokenizer, prompt: str) -> _Masked:
    pieces = prompt.split(MASK) if MASK in prompt else [prompt, ""]
    specials = tokenizer.specials
    tokens = [specials[CLS]]
    places = []
    for number, piece in enumerate(pieces):
        if number:
            places.append(len(tokens))
            tokens.append(specials[MASK])
        tokens += tokenizer.encode(piece)
    tokens.append(specials[SEP])
    if len(tokens) > network.config.context:
        beginning = prompt if len(prompt) <= 40 else f"{prompt[:40]}…"
        raise ModelError(
            f"the prompt {beginning!r} has {len(tokens)} tokens, this model reads {network.config.context};"
            " shorten it"
        )
    return _Masked(prompt, pieces, tokens, places)


def _filled(network: Albert, tokenizer: Tokenizer, masked: _Masked) -> Generated:
    text = "".join(_fill(network, tokenizer, masked))
    return Generated(masked.prompt, 1, text, len(masked.places), "filled")


def _fill(network: Albert, tokenizer: Tokenizer, masked: _Masked) -> Iterator[str]:
    never = set(tokenizer.specials.values())
    filled = torch.tensor([masked.tokens], device=network.masked_head.bias.device)
    for piece, place in zip(masked.pieces, masked.places, strict=False):
        if piece:
            yield piece
        best = _best(network, filled, place, never)
        filled[0, place] = best
        yield tokenizer.decode([best])
    if masked.pieces[-1]:
        yield masked.pieces[-1]


def _best(network: Albert, tokens: Tensor, place: int, never: set[int]) -> int:
    """The most likely token at `place` of int64 `tokens` (1, T), apart from those in `never`."""
    with torch.inference_mode():
        present = torch.ones_like(tokens, dtype=torch.bool)
        at = torch.tensor([[place]], device=tokens.device)
        masked, _ = network(tokens, torch.zeros_like(tokens), present, at)  # (1, 1, V)
        masked[..., list(never)] = -torch.inf
    return int(masked[0, 0].argmax())
