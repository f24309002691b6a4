"""GPT-2: a decoder-only transformer that predicts the next token.

Sources: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", and the code
released with it; the GPT-3 presets (Brown et al. 2020) are the same network with other sizes, dense
attention in every layer.

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

from model.config import GPT2Config


class KeyValueCache:
    """Keys and values of the tokens already seen, so that each is computed once.

    Attributes:
        length: Tokens held, of the `context` that fit.
    """

    def __init__(self, config: GPT2Config, batch: int, device: torch.device, dtype: torch.dtype) -> None:
        head = config.width // config.heads
        shape = (config.layers, batch, config.heads, config.context, head)
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Stores the new tokens' keys and values (B, H, T, D/H); returns all (B, H, S, D/H)."""
        end = self.length + key.size(2)
        self.keys[layer, :, :, self.length : end] = key
        self.values[layer, :, :, self.length : end] = value
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Attention(nn.Module):
    """Causal self-attention with several heads."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, cache: KeyValueCache | None, layer: int) -> Tensor:
        """Maps (B, T, D) to (B, T, D); `layer` is the block's place in `cache`."""
        batch, new, width = x.shape
        q, k, v = self.qkv(x).view(batch, new, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # B,H,T,D/H
        mask = None
        if cache is not None:
            k, v = cache.extend(layer, k, v)  # (B, H, S, D/H)
            mask = torch.ones(new, k.size(2), dtype=torch.bool, device=x.device).tril(cache.length)
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

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.ffn_norm = nn.LayerNorm(config.width)
        self.ffn_in = nn.Linear(config.width, 4 * config.width)
        self.ffn_out = nn.Linear(4 * config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: KeyValueCache | None, layer: int) -> Tensor:
        """Maps (B, T, D) to (B, T, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), cache, layer))
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
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
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

    def forward(self, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Logits of the token after each of `tokens`.

        Args:
            tokens: int64 (B, T) token ids, of which at most `context` fit, cached ones included.
            cache: Earlier tokens of the same sequences; the new ones are added to it.

        Returns:
            Logits (B, T, V), in the weights' dtype.
        """
        seen = cache.length if cache is not None else 0
        places = torch.arange(seen, seen + tokens.size(1), device=tokens.device)
        x = self.dropout(self.tokens(tokens) + self.positions(places))  # (B, T, D)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)
        if cache is not None:
            cache.length += tokens.size(1)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)
