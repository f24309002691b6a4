"""What a run offers for training: its shards and tokenizer, as batches for one architecture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from model.config import AlbertConfig, Config, ModelSettings
from model.data.masked import AlbertData
from model.data.sequences import GPT2Data, Shards, open_shards
from model.errors import ModelError
from model.training.objectives import Batch
from model.training.recipe import Recipe
from tokenizer.encode import Tokenizer

# Validation batches are the same for every seed, so that losses of several runs compare.
_VALIDATION_SEED = 0


class Data(Protocol):
    """Batches of one split, by number."""

    @property
    def num_sequences(self) -> int:
        """Sequences an epoch."""

    def batch(self, first: int, count: int) -> Batch:
        """Sequences `first` up to `first + count` of an endless stream of epochs."""


@dataclass(frozen=True)
class Workload:
    """All that training reads.

    Attributes:
        shards: What the shards' manifest says.
        tokenizer: The run's.
        tokenizer_json: Bytes of the tokenizer, to go with each checkpoint.
        config: The network's shape, with the tokenizer's vocabulary.
        train: The split to learn from.
        val: The split to measure on; None where it holds no whole sequence.
        step_sequences: Sequences an optimizer step.
    """

    shards: Shards
    tokenizer: Tokenizer
    tokenizer_json: bytes
    config: Config
    train: Data
    val: Data | None
    step_sequences: int


def open_workload(
    run: Path, model: ModelSettings, recipe: Recipe, seed: int, *, separate: bool = False
) -> Workload:
    """Opens `run`'s shards for `model`; `separate` keeps GPT-2's documents apart in attention.

    Raises:
        ModelError: There are no shards, they were made by another tokenizer, or they hold too little; or
            documents are to be kept apart that ALBERT never brings together.
    """
    if separate and model.architecture != "gpt2":
        raise ModelError("train.separate_documents: only gpt2 reads several documents at once; leave it out")
    shards = open_shards(run)
    path = run / "tokenizer" / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{run} has no tokenizer ({path} is missing); train one first")
    tokenizer = Tokenizer.load(path)
    if tokenizer.digest != shards.tokenizer:
        raise ModelError(
            f"the shards in {shards.folder} were made by another tokenizer than {path}"
            f" ({shards.tokenizer[:12]}…, not {tokenizer.digest[:12]}…); run the shard stage again"
        )
    config = model.resolve(shards.vocab_size)
    try:
        step_sequences = recipe.sequences(config.context)
    except ValueError as error:
        raise ModelError(f"train.{error}") from error
    train = _open_split(shards, "train", config, tokenizer, seed, separate=separate)
    available = train.num_sequences if train else 0
    if train is None or available < step_sequences:
        raise ModelError(
            f"not enough tokens for one batch: the training split in {shards.folder} holds"
            f" {shards.tokens.get('train', 0):,} tokens, {available:,} sequences of"
            f" {config.context} for this model, and a step needs {step_sequences:,};"
            " lower train.batch_tokens or model.context, take a smaller model.preset, or make more data"
        )
    val = _open_split(shards, "val", config, tokenizer, _VALIDATION_SEED, separate=separate)
    return Workload(shards, tokenizer, path.read_bytes(), config, train, val, step_sequences)


def _open_split(
    shards: Shards, split: str, config: Config, tokenizer: Tokenizer, seed: int, *, separate: bool
) -> Data | None:
    """The data of `split`, or None where it holds no whole sequence."""
    data: Data
    if isinstance(config, AlbertConfig):
        data = AlbertData(shards.sentences(split), tokenizer, config.context, seed)
    else:
        documents = shards.documents(split)
        if not documents:
            return None
        data = GPT2Data(documents, config.context, seed, separate=separate)
    return data if data.num_sequences else None
