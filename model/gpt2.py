"""GPT-2: a decoder-only transformer that predicts the next token.

Sources: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", and the code
released with it; the GPT-3 presets (Brown et al. 2020) are the same network with other sizes.

GPT-3 alternates dense and locally banded attention, after Child et al. 2019. Here that is a switch, off
unless it is asked for: with a `band`, layers 1, 3, 5, ... read only the last so many tokens, each token
itself included. GPT-3's paper does not say how wide its bands are; `model.config.BAND` is GPT-Neo's. A band
is a mask, right on every device and with the cache, but no faster than dense attention.

Each block reads a layer-normalised copy of the residual stream and adds to it; one more norm stands
before the output, whose matrix is the token embedding's. Weights start at N(0, 0.02), positions at
N(0, 0.01) as in the released code, biases at 0; projections that add to the residual stream start
smaller by 1/sqrt(2 x layers), as there are that many additions.

Shapes: B sequences, T new tokens, S tokens in all (cached ones included), D width, H heads, V vocabulary.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from model.attention_masks import document_mask
from model.cache import KeyValueCache
from model.config import GPT2Config


class Attention(nn.Module):
    """Causal self-attention with several heads, to all tokens so far or, with a `band`, the last so many."""

    def __init__(self, config: GPT2Config, band: int | None) -> None:
        super().__init__()
        self.heads = config.heads
        self.band = band
        self.dropout = config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(
        self, x: Tensor, cache: KeyValueCache | None, layer: int, mask: Tensor | None = None
    ) -> Tensor:
        """Maps (B, T, D) to (B, T, D).

        `layer` is the block's place in `cache`. `mask`, bool (B, 1, T, T), is true where a token may be read;
        None stands for all tokens so far.
        """
        batch, new, width = x.shape
        q, k, v = self.qkv(x).view(batch, new, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # B,H,T,D/H
        if cache is not None:
            k, v = cache.extend(layer, k, v)  # (B, H, S, D/H)
            mask = cache.mask(self.band)  # (B, 1, T, S)
        if self.band is not None and (cache is None or mask is None):
            near = torch.ones(new, new, dtype=torch.bool, device=x.device).tril().triu(1 - self.band)
            mask = near if mask is None else mask & near
        mixed = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(mixed.transpose(1, 2).reshape(batch, new, width))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and a feed-forward layer, each added to the residual stream."""

    def __init__(self, config: GPT2Config, band: int | None) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config, band)
        self.ffn_norm = nn.LayerNorm(config.width)
        self.ffn_in = nn.Linear(config.width, 4 * config.width)
        self.ffn_out = nn.Linear(4 * config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, cache: KeyValueCache | None, layer: int, mask: Tensor | None = None
    ) -> Tensor:
        """Maps (B, T, D) to (B, T, D); the arguments are those of `Attention.forward`."""
        x = x + self.dropout(self.attention(self.attention_norm(x), cache, layer, mask))
        hidden = F.gelu(self.ffn_in(self.ffn_norm(x)), approximate="tanh")  # (B, T, 4D)
        return x + self.dropout(self.ffn_out(hidden))  # type: ignore[no-any-return]


class GPT2(nn.Module):
    """The whole network, from token ids to logits."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        self.dropout = nn.Dropout(config.dropout)
        bands = [config.band if layer % 2 else None for layer in range(config.layers)]
        self.blocks = nn.ModuleList(Block(config, band) for band in bands)
        self.norm = nn.LayerNorm(config.width)
        self._initialize()

    def _initialize(self) -> None:
        residual_std = 0.02 / math.sqrt(2 * self.config.layers)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                is_residual = name.endswith((".attention.out", ".ffn_out"))
                nn.init.normal_(module.weight, std=residual_std if is_residual else 0.02)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.01)

    def encode(
        self, tokens: Tensor, cache: KeyValueCache | None = None, documents: Tensor | None = None
    ) -> Tensor:
        """What the blocks make of `tokens`: (B, T, D), normalised; the arguments are those of `forward`."""
        new = tokens.size(1)
        places = torch.arange(new, device=tokens.device) if cache is None else cache.begin(new)
        mask = None if documents is None else document_mask(documents)
        x = self.dropout(self.tokens(tokens) + self.positions(places))  # (B, T, D)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer, mask)
        if cache is not None:
            cache.advance()
        return self.norm(x)  # type: ignore[no-any-return]

    def logits(self, encoded: Tensor) -> Tensor:
        """Logits (..., V) of the token after each place, from what `encode` gives: (..., D)."""
        return F.linear(encoded, self.tokens.weight)

    def forward(
        self, tokens: Tensor, cache: KeyValueCache | None = None, documents: Tensor | None = None
    ) -> Tensor:
        """Logits of the token after each of `tokens`.

        Args:
            tokens: int64 (B, T) token ids, of which at most `context` fit, cached ones included.
            cache: Earlier tokens of the same sequences; the new ones are added to it.
            documents: int32 (B, T), the document that each token is of, where tokens may read those of
                their own document only; None where they may read all. Not for use with a cache.

        Returns:
            Logits (B, T, V), in the weights' dtype.
        """
        return self.logits(self.encode(tokens, cache, documents))
