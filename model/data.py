"""Training data of GPT-2: a run's shards as one endless stream of shuffled documents.

Each epoch puts the documents in a new order and lays them end to end, each followed by its end-of-text
token; epochs follow one another. Sequence n is the stream's tokens from n x context on, so every token
of every document is read exactly once an epoch, nothing is drawn with replacement, and a sequence
depends on nothing but the seed and its number: resuming needs no state, and neither does another
worker. Tokens of different documents may attend to each other, as in GPT-2 and GPT-3.
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
        # One epoch's order takes 16 bytes a document; a batch touches two epochs at most.
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    @property
    def num_sequences(self) -> int:
        """Whole sequences an epoch."""
        return self.num_tokens // self._context

    def batch(self, first: int, count: int) -> GPT2Batch:
        """Sequences `first` up to `first + count` of the stream."""
        width = self._context
        # Each sequence ends with the next one's first token: the last target.
        run = self._read(first * width, count * width + 1)
        tokens = torch.from_numpy(run[:-1].reshape(count, width))
        targets = torch.from_numpy(run[1:].reshape(count, width))
        return GPT2Batch(tokens, targets)

    def _read(self, start: int, count: int) -> Tokens:
        """Tokens `start` up to `start + count` of the endless stream."""
        pieces: list[Tokens] = []
        while count:
            epoch, offset = divmod(start, self.num_tokens)
            order, ends = self._epoch(epoch)
            place = int(np.searchsorted(ends, offset, side="right"))
            document = int(order[place])
            skipped = offset - (int(ends[place]) - int(self._lengths[document]))
            piece = self._document(document)[skipped : skipped + count]
            pieces.append(piece.astype(np.int64))
            start += len(piece)
            count -= len(piece)
        return np.concatenate(pieces)

    def _document(self, document: int) -> npt.NDArray[np.integer[Any]]:
        file = int(np.searchsorted(self._first_document, document, side="right")) - 1
        return self._files[file][document - int(self._first_document[file])]

    def _shuffle(self, epoch: int) -> tuple[Tokens, Tokens]:
        """The epoch's order of documents, and where each ends in the epoch's stream."""
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._lengths))
        return order, np.cumsum(self._lengths[order])
