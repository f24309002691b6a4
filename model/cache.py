"""Keys and values of the tokens already read, so that generating computes each of them once.

Each sequence of a batch stands at a place of its own: sequences of different lengths are generated
together, each as it would be alone. A token reads the slots up to its own place, and never what lies
behind; so sequences of several lengths may be read at once with anything behind their ends, as long as
`lengths` is set to what counts.

Shapes: B sequences, T new tokens, S slots up to the longest sequence's end, C slots in all, H heads,
D width.
"""

import torch
from torch import Tensor

from model.config import GPT2Config


class KeyValueCache:
    """Room for the keys and values of a batch of sequences.

    A forward pass is `begin`, in each layer `extend` and `mask`, and `advance`.

    Attributes:
        keys: (layers, most sequences, H, C, D/H), as `values`.
        lengths: Tokens held of each sequence, the first ones of the room: B numbers.
    """

    def __init__(
        self,
        config: GPT2Config,
        batch: int,
        device: torch.device,
        dtype: torch.dtype,
        capacity: int | None = None,
    ) -> None:
        """Makes room for `batch` sequences of `capacity` tokens each (None: of the context)."""
        head = config.width // config.heads
        shape = (config.layers, batch, config.heads, capacity or config.context, head)
        # Zeros, as a slot that is masked must still be a number.
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.lengths = [0] * batch
        self._places = torch.empty(0)
        self._masks: dict[int | None, Tensor] = {}

    def begin(self, new: int) -> Tensor:
        """Places (B, T) of the `new` tokens that each sequence reads next."""
        starts = torch.tensor(self.lengths, device=self.keys.device)
        self._places = starts[:, None] + torch.arange(new, device=self.keys.device)
        self._masks.clear()
        return self._places

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Stores the new tokens' keys and values (B, H, T, D/H); returns all (B, H, S, D/H)."""
        batch, end = len(self.lengths), self._end
        rows = torch.arange(batch, device=key.device)[:, None]
        self.keys[layer][rows, :, self._places] = key.transpose(1, 2)
        self.values[layer][rows, :, self._places] = value.transpose(1, 2)
        return self.keys[layer, :batch, :, :end], self.values[layer, :batch, :, :end]

    def mask(self, band: int | None = None) -> Tensor | None:
        """What the new tokens may read: bool (B, 1, T, S), true for the `band` slots that end at their own.

        Without a band they read all slots up to their own. None where nothing was held before: then the
        new tokens are all there is, and what holds without a cache holds.
        """
        if not any(self.lengths):
            return None
        if band not in self._masks:
            places = self._places[:, None, :, None]
            slots = torch.arange(self._end, device=places.device)
            readable = slots <= places
            if band is not None:
                readable &= slots > places - band
            self._masks[band] = readable
        return self._masks[band]

    def advance(self) -> None:
        """Counts the new tokens as held."""
        new = self._places.size(1)
        self.lengths = [length + new for length in self.lengths]

    def append(self, other: "KeyValueCache") -> None:
        """Takes in the sequences of `other`, behind its own."""
        first, last = len(self.lengths), len(self.lengths) + len(other.lengths)
        end = max(other.lengths)
        self.keys[:, first:last, :, :end] = other.keys[..., :end, :]
        self.values[:, first:last, :, :end] = other.values[..., :end, :]
        self.lengths += other.lengths

    def drop(self, sequence: int) -> None:
        """Forgets a sequence; the last one takes its place."""
        length = self.lengths.pop()
        last = len(self.lengths)
        if sequence < last:
            self.keys[:, sequence, :, :length] = self.keys[:, last, :, :length]
            self.values[:, sequence, :, :length] = self.values[:, last, :, :length]
            self.lengths[sequence] = length

    @property
    def _end(self) -> int:
        """Slots up to the end of the longest sequence, its new tokens included."""
        return max(self.lengths) + self._places.size(1)
