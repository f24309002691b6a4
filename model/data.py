"""Training data of GPT-2: a run's shards as an endless row of sequences.

Each epoch puts the documents in a new order and lays them end to end, each followed by its end-of-text
token. That stream is cut into sequences of the context's length, and these are put in a new order too:
without that, a long document would fill whole batches by itself, and their gradients would all point its
way. Every token is read at most once an epoch (the stream's end, shorter than a sequence, is left out),
nothing is drawn with replacement, and sequence n depends on nothing but the seed and its number:
resuming needs no state, and neither does another worker. Tokens of different documents may attend to
each other, as in GPT-2 and GPT-3.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.errors import ModelError
from tokenizer.tokenfile import TokenFile, read_index

Tokens = npt.NDArray[np.int64]


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
        return self._open(split, ".idx")

    def sentences(self, split: str) -> list[TokenFile]:
        """The files of `split`, one sequence a sentence, grouped by document."""
        return self._open(split, ".sentences.idx")

    def _open(self, split: str, suffix: str) -> list[TokenFile]:
        bins = [n for n in self.files if n.startswith(f"{split}-") and n.endswith(".bin")]
        opened = []
        for name in bins:
            index = name.removesuffix(".bin") + suffix
            if index not in self.files:
                raise ModelError(
                    f"{self.folder / 'manifest.json'} lists {name} but no {index}; run the shard stage again"
                )
            opened.append(TokenFile(self.folder / name, read_index(self.folder / index)))
        return opened


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
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path} is not a manifest of token shards ({type(error).__name__}: {error});"
            " run the shard stage again"
        ) from error
    _check_sizes(folder, files)
    return shards


def _check_sizes(folder: Path, files: Sequence[Mapping[str, Any]]) -> None:
    for file in files:
        path = folder / file["name"]
        size = path.stat().st_size if path.is_file() else None
        if size != file["bytes"]:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise ModelError(
                f"{path} {found}, the manifest says {file['bytes']:,} bytes; run the shard stage again"
            )


@dataclass(frozen=True)
class GPT2Batch:
    """Sequences and what follows each of their tokens.

    Attributes:
        tokens: int64 (B, T) token ids.
        targets: int64 (B, T), the token after each of `tokens`.
    """

    tokens: Tensor
    targets: Tensor

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
        """The same batch on `device`."""
        return type(self)(self.tokens.to(device), self.targets.to(device))


@dataclass(frozen=True)
class _Order:
    """One epoch.

    Attributes:
        documents: The documents in their order.
        ends: Where each of them ends in the epoch's stream, in tokens.
        sequences: The sequences of the stream in the order that they are read in.
    """

    documents: Tokens
    ends: Tokens
    sequences: Tokens


class GPT2Data:
    """Batches of one split, by number.

    Attributes:
        num_tokens: Tokens an epoch.
    """

    def __init__(self, files: Sequence[TokenFile], context: int, seed: int) -> None:
        self._files = files
        self._context = context
        self._seed = seed
        self._lengths = np.concatenate([file.index.lengths for file in files]).astype(np.int64)
        counts = [len(file) for file in files]
        self._first_document = np.concatenate([[0], np.cumsum(counts)])
        self.num_tokens = int(self._lengths.sum())
        # One epoch's order takes 16 bytes a document and 8 a sequence; a batch touches two at most.
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    @property
    def num_sequences(self) -> int:
        """Whole sequences an epoch, each with the token after its last."""
        return max(0, self.num_tokens - 1) // self._context

    def batch(self, first: int, count: int) -> GPT2Batch:
        """Sequences `first` up to `first + count` of the row."""
        runs = torch.from_numpy(np.stack([self._sequence(first + place) for place in range(count)]))
        return GPT2Batch(runs[:, :-1].contiguous(), runs[:, 1:].contiguous())

    def _sequence(self, number: int) -> Tokens:
        """A sequence and the token after it: int64 (context + 1,)."""
        epoch, place = divmod(number, self.num_sequences)
        order = self._epoch(epoch)
        start = int(order.sequences[place]) * self._context
        pieces: list[Tokens] = []
        missing = self._context + 1
        while missing:
            place = int(np.searchsorted(order.ends, start, side="right"))
            document = int(order.documents[place])
            skipped = start - (int(order.ends[place]) - int(self._lengths[document]))
            piece = self._document(document)[skipped : skipped + missing]
            pieces.append(piece.astype(np.int64))
            start += len(piece)
            missing -= len(piece)
        return np.concatenate(pieces)

    def _document(self, document: int) -> npt.NDArray[np.integer[Any]]:
        file = int(np.searchsorted(self._first_document, document, side="right")) - 1
        return self._files[file][document - int(self._first_document[file])]

    def _shuffle(self, epoch: int) -> _Order:
        rng = np.random.default_rng((self._seed, epoch))
        documents = rng.permutation(len(self._lengths))
        ends = np.cumsum(self._lengths[documents])
        return _Order(documents, ends, rng.permutation(self.num_sequences))
