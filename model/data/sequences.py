"""Training data of GPT-2: a run's shards as an endless row of sequences.

Each epoch puts the documents in a new order and lays them end to end, each followed by its end-of-text
token. That stream is cut into sequences of the context's length, and these are put in a new order too:
without that, a long document would fill whole batches by itself, and their gradients would all point its
way. Every token is read at most once an epoch (the stream's end, shorter than a sequence, is left out),
nothing is drawn with replacement, and sequence n depends on nothing but the seed and its number:
resuming needs no state, and neither does another process.

Tokens of different documents may attend to each other, as in GPT-2 and GPT-3, unless batches tell them
apart. Then an end-of-text token counts as the first of the document that follows it: that document's first
token is predicted from end-of-text alone, as when a text is generated from nothing. Positions run on through
the sequence either way.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.data.permutation import Permutation
from model.data.ragged import Integers, begins, count_in, spread
from model.errors import ModelError
from tokenizer.tokenfile import TokenFile, read_index


@dataclass(frozen=True)
class Shards:
    """The token files that `RUN/shards/manifest.json` lists, and what it says of them.

    Attributes:
        folder: Where the files lie.
        vocab_size: Token ids, special tokens included.
        tokenizer: sha256 of the tokenizer.json that made the tokens, in hexadecimal.
        tokens: Number of tokens by split.
        files: Names of all files, in order.
        digest: sha256 over the files' own checksums: another digest, other data.
    """

    folder: Path
    vocab_size: int
    tokenizer: str
    tokens: Mapping[str, int]
    files: tuple[str, ...]
    digest: str

    def documents(self, split: str) -> list[TokenFile]:
        """The files of `split`, one sequence a document, each ending in end-of-text."""
        return list(self._open(split, ".idx"))

    def sentences(self, split: str) -> Iterator[TokenFile]:
        """The files of `split`, one sequence a sentence, grouped by document.

        Each is opened when it is its turn: their indexes take 12 bytes a sentence.
        """
        return self._open(split, ".sentences.idx")

    def _open(self, split: str, suffix: str) -> Iterator[TokenFile]:
        bins = [n for n in self.files if n.startswith(f"{split}-") and n.endswith(".bin")]
        for name in bins:
            index = name.removesuffix(".bin") + suffix
            if index not in self.files:
                raise ModelError(
                    f"{self.folder / 'manifest.json'} lists {name} but no {index}; run the shard stage again"
                )
            yield TokenFile(self.folder / name, read_index(self.folder / index))


def open_shards(run: Path) -> Shards:
    """Reads `run`'s shard manifest and checks that the files it lists are there, whole.

    Raises:
        ModelError: There is no manifest, it is not one of shards, or a file is not as it says.
    """
    folder = run / "shards"
    path = folder / "manifest.json"
    if not path.is_file():
        raise ModelError(f"{run} has no token shards ({path} is missing); run the shard stage first")
    try:
        manifest = json.loads(path.read_bytes())
        facts = manifest["facts"]
        files = [file for part in manifest["parts"] for file in part["files"]]
        checksums = "".join(f"{file['name']} {file['sha256']}\n" for file in files)
        shards = Shards(
            folder=folder,
            vocab_size=int(facts["vocab_size"]),
            tokenizer=str(facts["tokenizer"]),
            tokens={split: int(count) for split, count in facts["tokens"].items()},
            files=tuple(file["name"] for file in files),
            digest=hashlib.sha256(checksums.encode()).hexdigest(),
        )
        sizes = {str(file["name"]): int(file["bytes"]) for file in files}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(
            f"{path} is not a manifest of token shards ({type(error).__name__}: {error});"
            " run the shard stage again"
        ) from error
    _check_sizes(folder, sizes)
    return shards


def _check_sizes(folder: Path, sizes: Mapping[str, int]) -> None:
    for name, expected in sizes.items():
        path = folder / name
        try:
            size = path.stat().st_size if path.is_file() else None
        except OSError:  # a damaged name may be longer than file systems take
            size = None
        if size != expected:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise ModelError(
                f"{path} {found}, the manifest says {expected:,} bytes; run the shard stage again"
            )


@dataclass(frozen=True)
class GPT2Batch:
    """Sequences and what follows each of their tokens.

    Attributes:
        tokens: int64 (B, T) token ids.
        targets: int64 (B, T), the token after each of `tokens`.
        documents: int32 (B, T), in each sequence ascending numbers of the document that a token may attend
            to; None where it may attend to all before it.
    """

    tokens: Tensor
    targets: Tensor
    documents: Tensor | None = None

    @property
    def num_sequences(self) -> int:
        """Sequences in the batch."""
        return self.tokens.size(0)

    @property
    def num_targets(self) -> int:
        """Tokens that the loss is taken over."""
        return self.targets.numel()

    @property
    def num_tokens(self) -> int:
        """Tokens that the network reads, padding aside."""
        return self.tokens.numel()

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`; copied in the background from memory that is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same batch in memory that a GPU reads by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        documents = None if self.documents is None else change(self.documents)
        return type(self)(change(self.tokens), change(self.targets), documents)


_BLOCK = 32  # Documents.
_CHUNK = 8192 * _BLOCK  # Documents that are looked up at once, so that little memory is used.


@dataclass(frozen=True)
class _Pieces:
    """Stretches of documents that make sequences, one sequence after the other; all int64 (P,).

    Attributes:
        rows: The sequence that each is of, ascending.
        documents: The document that it is of.
        skipped: Tokens of that document before it.
        sizes: Its tokens, at least one.
    """

    rows: Integers
    documents: Integers
    skipped: Integers
    sizes: Integers


class _Epoch:
    """One epoch's stream; of its order, only where each 32nd document begins is kept.

    Attributes:
        documents: The documents in their order.
        sequences: The sequences of the stream in the order that they are read in.
    """

    def __init__(self, lengths: npt.NDArray[np.int32], num_sequences: int, seed: int, epoch: int) -> None:
        self.documents = Permutation(len(lengths), seed, epoch, 1)
        self.sequences = Permutation(num_sequences, seed, epoch, 2)
        self._lengths = lengths
        blocks = [
            np.add.reduceat(part, np.arange(0, len(part), _BLOCK), dtype=np.int64)
            for part in (
                lengths[self.documents(np.arange(begin, min(begin + _CHUNK, len(lengths))))]
                for begin in range(0, len(lengths), _CHUNK)
            )
        ]
        self._begins = np.concatenate([[0], np.cumsum(np.concatenate(blocks))])  # int64 (blocks + 1,)

    def pieces(self, starts: Integers, size: int) -> _Pieces:
        """What the `size` tokens of the stream from each of `starts` (B,) on are made of."""
        first = np.searchsorted(self._begins, starts, side="right") - 1
        last = np.searchsorted(self._begins, starts + size, side="left")
        counts = np.minimum(last * _BLOCK, self.documents.size) - first * _BLOCK
        rows, places = spread(counts)
        documents = self.documents(first[rows] * _BLOCK + places)
        lengths = self._lengths[documents].astype(np.int64)
        before = np.cumsum(lengths) - lengths
        begin = self._begins[first][rows] + before - before[begins(counts)][rows]
        skipped = np.maximum(0, starts[rows] - begin)
        sizes = np.minimum(begin + lengths, starts[rows] + size) - begin - skipped
        some = sizes > 0
        return _Pieces(rows[some], documents[some], skipped[some], sizes[some])


class GPT2Data:
    """Batches of one split, by number; 12 bytes of memory a document, and a quarter byte more an epoch.

    Args:
        files: The split's files, one sequence a document.
        context: Tokens of a sequence.
        seed: Another seed, another order.
        separate: Whether batches tell the documents of a sequence apart.

    Attributes:
        num_tokens: Tokens an epoch.
    """

    def __init__(
        self, files: Sequence[TokenFile], context: int, seed: int, *, separate: bool = False
    ) -> None:
        # Plain arrays of tokens, which are faster sliced than mapped ones, and where documents start in them.
        self._files = [
            (np.asarray(file.tokens), file.index.pointers // file.index.dtype.itemsize) for file in files
        ]
        self._context = context
        self._seed = seed
        self._separate = separate
        self._lengths = np.concatenate([file.index.lengths for file in files])
        self._first_document = np.concatenate([[0], np.cumsum([len(file) for file in files])])
        self.num_tokens = int(self._lengths.sum(dtype=np.int64))
        # A batch touches two epochs at most.
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    @property
    def num_sequences(self) -> int:
        """Whole sequences an epoch, each with the token after its last."""
        return max(0, self.num_tokens - 1) // self._context

    def batch(self, first: int, count: int) -> GPT2Batch:
        """Sequences `first` up to `first + count` of the row."""
        epochs, places = np.divmod(np.arange(first, first + count), self.num_sequences)
        parts = [self._read(epoch, places[epochs == epoch]) for epoch in np.unique(epochs).tolist()]
        tokens, documents = (torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))
        return GPT2Batch(
            tokens[:, :-1].contiguous(),
            tokens[:, 1:].contiguous(),
            # End-of-text is of the document that follows it: that of its target.
            documents[:, 1:].contiguous() if self._separate else None,
        )

    def _read(self, epoch: int, places: Integers) -> tuple[Integers, npt.NDArray[np.int32]]:
        """The sequences at `places` (B,) of an epoch, each with the token after it.

        Returns:
            The tokens, int64 (B, T + 1), and numbers of the documents that they stand in, int32 (B, T + 1).
        """
        order, size = self._epoch(epoch), self._context + 1
        pieces = order.pieces(order.sequences(places) * self._context, size)
        files = np.searchsorted(self._first_document, pieces.documents, side="right") - 1
        local = pieces.documents - self._first_document[files]
        tokens = np.empty(len(places) * size, np.int64)
        end = 0
        for file, document, skipped, length in zip(
            *(column.tolist() for column in (files, local, pieces.skipped, pieces.sizes)), strict=True
        ):
            stored, starts = self._files[file]
            start = int(starts[document]) + skipped
            tokens[end : end + length] = stored[start : start + length]
            end += length
        number = np.arange(len(pieces.rows)) - begins(count_in(pieces.rows, len(places)))[pieces.rows]
        documents = np.repeat(number.astype(np.int32), pieces.sizes)
        return tokens.reshape(-1, size), documents.reshape(-1, size)

    def _shuffle(self, epoch: int) -> _Epoch:
        return _Epoch(self._lengths, self.num_sequences, self._seed, epoch)
