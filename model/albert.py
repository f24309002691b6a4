"""ALBERT: a bidirectional encoder whose layers share their weights.

Source: Lan et al. 2020, "ALBERT: A Lite BERT for Self-supervised Learning of Language
Representations", and the code released with it.

Two ideas make it small. Embeddings are factorised: tokens live in a narrow space (E) and one matrix
projects them to the width of the layers (D), V x E + E x D weights instead of V x D:

>>> def factorised(vocabulary, embedding, width):
...     return vocabulary * embedding + embedding * width
>>> 500 * 100, factorised(vocabulary=500, embedding=15, width=100)
(50000, 9000)

And one block is applied again and again. Norms stand after each addition (eps 1e-12); weights start at
a normal distribution of 0.02 cut at two standard deviations.

Two heads are trained together: the tokens behind the masks, and whether two consecutive segments were
swapped.

On a CPU, where shapes may change from batch to batch, sequences pass the layers packed, one behind the other
without padding, which is a seventh of all places in batches of web text.

Shapes: B sequences, T tokens, N tokens of all sequences without padding, P masked positions,
E embedding, D width, H heads, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from model.config import AlbertConfig

_EPS = 1e-12
_SEGMENTS = 2

# Which tokens may be read: bool (B, 1, 1, T), true for those; or the lengths of sequences that are packed.
Readable = Tensor | list[int]


class Embeddings(nn.Module):
    """Token, position and segment embeddings, summed and projected to the layers' width."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.embedding)
        self.positions = nn.Embedding(config.context, config.embedding)
        self.segments = nn.Embedding(_SEGMENTS, config.embedding)
        self.norm = nn.LayerNorm(config.embedding, eps=_EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(config.embedding, config.width)

    def forward(self, tokens: Tensor, segments: Tensor, places: Tensor) -> Tensor:
        """Maps token ids and segment numbers (..., T) at places (T) to hidden states (..., T, D)."""
        x = self.tokens(tokens) + self.positions(places) + self.segments(segments)  # (..., T, E)
        return self.project(self.dropout(self.norm(x)))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention over the whole sequence, added to its input and normalised."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width, eps=_EPS)

    def forward(self, x: Tensor, readable: Readable) -> Tensor:
        """Maps (B, T, D) to (B, T, D), or (N, D) to (N, D) where sequences are packed."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-3, -2)
        dropout = self.dropout.p if self.training else 0.0
        if isinstance(readable, Tensor):
            q, k, v = qkv  # (B, H, T, D/H)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=readable, dropout_p=dropout)
        else:
            sequences = qkv[:, None].split(readable, dim=-2)  # (3, 1, H, T, D/H) each
            mixed = torch.cat(
                [F.scaled_dot_product_attention(q, k, v, dropout_p=dropout) for q, k, v in sequences], dim=-2
            )[0]
        mixed = self.out(mixed.transpose(-3, -2).flatten(-2))
        return self.norm(x + self.dropout(mixed))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two linear layers around a GELU, added to their input and normalised."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.ffn)
        self.outer = nn.Linear(config.ffn, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, T, D) to (B, T, D)."""
        hidden = self.outer(F.gelu(self.inner(x), approximate="tanh"))
        return self.norm(x + self.dropout(hidden))  # type: ignore[no-any-return]


class MaskedHead(nn.Module):
    """From hidden states of masked positions to logits; the output matrix is the embedding's."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.narrow = nn.Linear(config.width, config.embedding)
        self.norm = nn.LayerNorm(config.embedding, eps=_EPS)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """Maps hidden states (B, P, D) and the token embedding (V, E) to logits (B, P, V)."""
        narrow = self.norm(F.gelu(self.narrow(hidden), approximate="tanh"))  # (B, P, E)
        return F.linear(narrow, embedding, self.bias)


class Albert(nn.Module):
    """The whole network with both pretraining heads."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.config = config
        attentions = config.groups if config.sharing in ("all", "attention") else config.layers
        ffns = config.groups if config.sharing in ("all", "ffn") else config.layers
        self.embeddings = Embeddings(config)
        self.attentions = nn.ModuleList(Attention(config) for _ in range(attentions))
        self.ffns = nn.ModuleList(FeedForward(config) for _ in range(ffns))
        self.pooler = nn.Linear(config.width, config.width)
        self.masked_head = MaskedHead(config)
        self.order_head = nn.Linear(config.width, 2)
        self.dropout = nn.Dropout(config.dropout)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def encode(self, tokens: Tensor, segments: Tensor, present: Tensor) -> Tensor:
        """Hidden states (B, T, D) of `tokens`; the arguments are those of `forward`.

        Those of padding mean nothing.
        """
        places = torch.arange(tokens.size(1), device=tokens.device)
        if tokens.device.type != "cpu" or torch.compiler.is_compiling():  # Shapes must not depend on data.
            return self._through_layers(self.embeddings(tokens, segments, places), present[:, None, None, :])
        kept = present.flatten().nonzero().squeeze(1)  # (N)
        packed = (each.flatten()[kept] for each in (tokens, segments, places.expand_as(tokens)))
        x = self._through_layers(self.embeddings(*packed), present.sum(1).tolist())  # (N, D)
        spread = x.new_zeros(tokens.numel(), x.size(1)).index_copy(0, kept, x)
        return spread.view(*tokens.shape, -1)

    def _through_layers(self, x: Tensor, readable: Readable) -> Tensor:
        layers = self.config.layers
        for layer in range(layers):
            # Lists shorter than the layers hold one entry a group of consecutive layers.
            x = self.attentions[layer * len(self.attentions) // layers](x, readable)
            x = self.ffns[layer * len(self.ffns) // layers](x)
        return x

    def forward(
        self, tokens: Tensor, segments: Tensor, present: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits of both heads.

        Args:
            tokens: int64 (B, T) token ids.
            segments: int64 (B, T), 0 in the first segment and 1 in the second.
            present: bool (B, T), false where there is only padding.
            positions: int64 (B, P) places in the sequence to predict; only these pass the head.

        Returns:
            Logits (B, P, V) of the tokens at `positions`, and logits (B, 2) of the segments' order:
            0 as they stood in the document, 1 swapped.
        """
        hidden = self.encode(tokens, segments, present)
        at = positions[:, :, None].expand(-1, -1, hidden.size(2))  # (B, P, D)
        masked = self.masked_head(hidden.gather(1, at), self.embeddings.tokens.weight)
        pooled = torch.tanh(self.pooler(hidden[:, 0]))  # (B, D)
        return masked, self.order_head(self.dropout(pooled))
