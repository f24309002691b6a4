"""Text from a checkpoint: GPT-2 continues a prompt, ALBERT fills in its masks."""

import codecs
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from model.albert import Albert
from model.checkpoint import Metadata, load_network, newest_checkpoint, read_metadata
from model.errors import ModelError
from model.gpt2 import GPT2, KeyValueCache
from model.networks import Network
from tokenizer.encode import Tokenizer

MASK = "[MASK]"


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with its tokenizer.

    Attributes:
        path: Its folder.
        metadata: What it says of itself.
        network: The network, in evaluation mode, on the CPU.
        tokenizer: The tokenizer that it was trained with.
    """

    path: Path
    metadata: Metadata
    network: Network
    tokenizer: Tokenizer


def load_checkpoint(path: Path) -> Checkpoint:
    """Loads a checkpoint, or the newest one of a folder of checkpoints.

    Raises:
        ModelError: There is none at `path`, or it is torn.
    """
    path = newest_checkpoint(path) or path
    metadata = read_metadata(path)
    network = load_network(path, metadata.config).eval()
    return Checkpoint(path, metadata, network, Tokenizer.load(path))


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
        temperature: Divides the logits; 0 always takes the most likely token.
        top_k: Draw from this many most likely tokens only; None for all.
        top_p: Draw from the fewest most likely tokens whose probabilities reach this sum; None for
            all.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ModelError(f"temperature must be at least 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ModelError(f"top_k must be at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ModelError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    def draw(self, logits: Tensor, rng: torch.Generator) -> int:
        """Draws a token from float `logits` (V,)."""
        if self.temperature == 0:
            return int(logits.argmax())
        ordered, ids = torch.sort(logits / self.temperature, descending=True)
        if self.top_k is not None:
            ordered, ids = ordered[: self.top_k], ids[: self.top_k]
        probabilities = ordered.softmax(0)
        if self.top_p is not None:
            # A token stays if those before it do not reach the sum; the first always does.
            before = probabilities.cumsum(0) - probabilities
            probabilities = torch.where(before < self.top_p, probabilities, 0.0)
        return int(ids[torch.multinomial(probabilities, 1, generator=rng)])


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

    GPT-2 yields what follows `prompt`, until `max_tokens` or until it ends the text itself. ALBERT, a
    masked model, does not continue text: it yields the prompt with each [MASK] in it replaced by the
    most likely token, from left to right; a prompt without one gets one at its end. The other
    arguments do not apply to it.

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
    if max_tokens < 1:
        raise ModelError(f"max_tokens must be at least 1, got {max_tokens}")
    network, tokenizer = checkpoint.network, checkpoint.tokenizer
    if isinstance(network, Albert):
        return _fill_masks(network, tokenizer, prompt)
    # That a document begins here is told by the end of the one before.
    tokens = [tokenizer.eot_id, *tokenizer.encode(prompt)]
    never = set(tokenizer.specials.values()) - {tokenizer.eot_id}
    rng = torch.Generator().manual_seed(seed)
    drawn = continue_tokens(network, tokens, sampling, rng, never)
    return _decode(islice(drawn, max_tokens), tokenizer)


def continue_tokens(
    network: GPT2,
    tokens: Sequence[int],
    sampling: Sampling,
    rng: torch.Generator,
    never: Collection[int] = (),
) -> Iterator[int]:
    """Yields the tokens that follow `tokens`, without end, leaving out those in `never`.

    Where the context is full, the network starts anew from its last half, as learned positions
    cannot slide.
    """
    context = network.config.context
    weight = network.tokens.weight
    seen = list(tokens[-context:])
    new = seen
    cache = KeyValueCache(network.config, 1, weight.device, weight.dtype)
    while True:
        if cache.length + len(new) > context:
            cache.length = 0
            new = seen[-(context // 2) :]
        with torch.inference_mode():
            logits = network(torch.tensor([new], device=weight.device), cache)[0, -1]  # (V,)
            logits[list(never)] = -torch.inf
        token = sampling.draw(logits.float().cpu(), rng)
        yield token
        seen.append(token)
        new = [token]


def _decode(tokens: Iterator[int], tokenizer: Tokenizer) -> Iterator[str]:
    """Text of `tokens` until the end of text; a character is held back until it is whole."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        if token == tokenizer.eot_id:
            break
        if text := decoder.decode(tokenizer.token_bytes(token)):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text


def _fill_masks(network: Albert, tokenizer: Tokenizer, prompt: str) -> Iterator[str]:
    pieces = prompt.split(MASK) if MASK in prompt else [prompt, ""]
    specials = tokenizer.specials
    tokens = [specials["[CLS]"]]
    masks = []
    for number, piece in enumerate(pieces):
        if number:
            masks.append(len(tokens))
            tokens.append(specials[MASK])
        tokens += tokenizer.encode(piece)
    tokens.append(specials["[SEP]"])
    if len(tokens) > network.config.context:
        raise ModelError(
            f"the prompt has {len(tokens)} tokens, this model reads {network.config.context}; shorten it"
        )
    filled = torch.tensor([tokens])
    for piece, place in zip(pieces, masks, strict=False):
        if piece:
            yield piece
        filled[0, place] = _best(network, filled, place, set(specials.values()))
        yield tokenizer.decode([int(filled[0, place])])
    if pieces[-1]:
        yield pieces[-1]


def _best(network: Albert, tokens: Tensor, place: int, never: set[int]) -> int:
    """The most likely token at `place` of int64 `tokens` (1, T), apart from those in `never`."""
    with torch.inference_mode():
        present = torch.ones_like(tokens, dtype=torch.bool)
        at = torch.tensor([[place]])
        masked, _ = network(tokens, torch.zeros_like(tokens), present, at)  # (1, 1, V)
        masked[..., list(never)] = -torch.inf
    return int(masked[0, 0].argmax())
