"""What GPT-3's and ALBERT's papers claim, tried at a scale that two cores train in an hour.

    python -m benchmarks.toy_study TEXT... --out docs/toy-study.json

- Zero-, one- and few-shot (Brown et al. 2020, figures 1.2 and 1.3): GPT-2s of five sizes read prose and lists
  of solved exercises, such as ` river stone cloud = cloud`, one kind of exercise a list. Asked with some
  solved lines before them, and no training, they answer exercises that they have not seen.
- What sharing costs (Lan et al. 2020, table 4): ALBERTs whose layers share all, their attention, their
  feed-forward layers, or nothing, after as many steps.
- What a narrow embedding costs (table 3): ALBERTs of several embedding widths.

Every model of a comparison reads the same batches. Muon moves the matrices: by AdamW, ALBERTs this
small know little more than how frequent tokens are after so few steps, whatever they share. One model a core
is trained at a time. The figures go to RESULTS.md and `--out`, from which `benchmarks.toy_pictures` draws.
"""

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.results import record
from benchmarks.text_run import read_documents, write_text_run
from model.config import AlbertConfig, Config, GPT2Config, ModelSettings, TrainSettings
from model.data.masked import AlbertData
from model.data.sequences import GPT2Data, open_shards
from model.gpt2 import GPT2
from model.networks import Network, architecture_of, build_network, num_parameters
from model.training.learner import Learner
from model.training.objectives import Batch, Totals
from model.training.optim import learning_rate
from model.training.processes import Processes
from model.training.recipe import resolve_recipe
from tokenizer.encode import Tokenizer

_VOCABULARY = 2048
_CONTEXT = 128
_SEQUENCES = 32
_GPT2_STEPS, _ALBERT_STEPS = 800, 1000
_GPT2S = [
    GPT2Config(context=_CONTEXT, layers=layers, width=width, heads=heads)
    for layers, width, heads in ((1, 32, 2), (1, 64, 2), (2, 64, 4), (2, 128, 4), (4, 160, 5))
]
_LEARNING_RATE = 5e-3
_ALBERT = AlbertConfig(
    context=_CONTEXT,
    embedding=32,
    layers=4,
    width=128,
    heads=4,
    ffn=512,
    dropout=0.0,
)
_SHARING = [replace(_ALBERT, sharing=kind) for kind in ("all", "attention", "ffn", "none")]
_EMBEDDINGS = [replace(_ALBERT, embedding=width) for width in (8, 16, 32, 64, 128)]
_VAL_SEQUENCES = 512

_SHOTS = (0, 1, 2, 4, 8)
_ITEMS = 64  # of each kind of exercise
_NUM_LISTS, _LINES = 12_000, 12
_NUM_WORDS = 400
# Which of three words are the answer.
_EXERCISES = {
    "first": [0],
    "second": [1],
    "last": [2],
    "first two": [0, 1],
    "last two": [1, 2],
    "reversed": [2, 1, 0],
}


@dataclass(frozen=True)
class Shots:
    """A GPT-2 after training: its weights, its loss on prose, and the share of right answers by examples."""

    parameters: int
    prose_loss: float
    accuracy: dict[int, float]


@dataclass(frozen=True)
class Masked:
    """An ALBERT after training: what its layers share, its embedding's width, its weights and losses."""

    sharing: str
    embedding: int
    parameters: int
    mlm_loss: float
    sop_loss: float


class _Item(NamedTuple):
    before: str
    answer: str


def main() -> None:
    """Trains, measures, records and draws."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path, nargs="+", help="JSON lines with text, or plain text")
    parser.add_argument("--out", type=Path, required=True, help="file for the figures, JSON")
    arguments = parser.parse_args()
    started = time.monotonic()
    documents = [one for path in arguments.texts for one in read_documents(path)]
    random.Random(0).shuffle(documents)
    num_val = len(documents) // 20
    prose = {"val": documents[:num_val], "train": documents[num_val:]}
    with tempfile.TemporaryDirectory() as folder:
        shots, sharing, embeddings = _study(Path(folder), prose)
    minutes = (time.monotonic() - started) / 60
    found: dict[str, Sequence[Shots | Masked]] = {
        "shots": shots,
        "sharing": sharing,
        "embeddings": embeddings,
    }
    arguments.out.write_text(
        json.dumps({name: [asdict(one) for one in models] for name, models in found.items()}, indent=1) + "\n"
    )
    _record(
        shots,
        sharing,
        embeddings,
        f"{sum(map(len, documents)):,} characters of prose; {minutes:.0f} min in all.",
    )


def _study(folder: Path, prose: Mapping[str, list[str]]) -> tuple[list[Shots], list[Masked], list[Masked]]:
    """All models trained and measured, the largest ones first, one a core at a time."""
    rng = random.Random(1)
    words = _common_words(prose["train"])
    lists = [
        "".join(_lines(rng, words, kind, _LINES)) for kind in rng.choices(list(_EXERCISES), k=_NUM_LISTS)
    ]
    write_text_run(folder / "gpt2", {**prose, "train": prose["train"] + lists}, _VOCABULARY)
    write_text_run(folder / "albert", prose, _VOCABULARY)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, torch.set_num_threads, (1,)) as pool:
        gpt2s = [pool.submit(_train_gpt2, folder / "gpt2", one, words) for one in reversed(_GPT2S)]
        alberts = {
            one: pool.submit(_train_albert, folder / "albert", one)
            for one in dict.fromkeys(_SHARING + _EMBEDDINGS)
        }
        shots = [one.result() for one in reversed(gpt2s)]
        return (
            shots,
            [alberts[one].result() for one in _SHARING],
            [alberts[one].result() for one in _EMBEDDINGS],
        )


def _train_gpt2(folder: Path, config: GPT2Config, words: Sequence[str]) -> Shots:
    network, losses = _train(folder, config, _GPT2_STEPS)
    assert isinstance(network, GPT2)
    tokenizer = Tokenizer.load(folder / "tokenizer")
    words = [word for word in words if len(tokenizer.encode(f" {word}")) == 1]
    rng = random.Random(2)
    right = {
        shots: sum(_num_right(network, tokenizer, _items(rng, words, kind, shots)) for kind in _EXERCISES)
        for shots in _SHOTS
    }
    shares = {shots: number / (_ITEMS * len(_EXERCISES)) for shots, number in right.items()}
    found = Shots(num_parameters(network), losses["lm"], shares)
    print(found, flush=True)
    return found


def _common_words(documents: Sequence[str]) -> list[str]:
    counts = Counter(word for text in documents for word in text.split() if word.isalpha() and word.islower())
    return [word for word, _ in counts.most_common(_NUM_WORDS)]


def _lines(rng: random.Random, words: Sequence[str], kind: str, count: int) -> list[str]:
    triples = [rng.sample(words, 3) for _ in range(count)]
    answers = [[triple[place] for place in _EXERCISES[kind]] for triple in triples]
    return [
        f" {' '.join(asked)} = {' '.join(answer)}\n" for asked, answer in zip(triples, answers, strict=True)
    ]


def _items(rng: random.Random, words: Sequence[str], kind: str, shots: int) -> list[_Item]:
    items = []
    for _ in range(_ITEMS):
        *solved, asked = _lines(rng, words, kind, shots + 1)
        question, answer = asked.split(" =")
        items.append(_Item("".join(solved) + question + " =", answer))
    return items


@torch.no_grad()
def _num_right(network: GPT2, tokenizer: Tokenizer, items: Sequence[_Item]) -> int:
    """Items that are answered right, to the line's end, by the likeliest token each time.

    That is where each token of the answer is the likeliest one behind those before it. Items of one kind
    are of one length, as every word is one token.
    """
    eot = [tokenizer.eot_id]
    texts = torch.tensor([eot + tokenizer.encode(item.before + item.answer) for item in items])
    length = len(tokenizer.encode(items[0].answer))
    likeliest = network(texts[:, :-1])[:, -length:].argmax(-1)
    return int((likeliest == texts[:, -length:]).all(1).sum())


def _train_albert(folder: Path, config: AlbertConfig) -> Masked:
    network, losses = _train(folder, config, _ALBERT_STEPS)
    found = Masked(config.sharing, config.embedding, num_parameters(network), losses["mlm"], losses["sop"])
    print(found, flush=True)
    return found


def _train(folder: Path, config: Config, steps: int) -> tuple[Network, dict[str, float]]:
    """A trained network and its losses on the validation split."""
    config = replace(config, vocab_size=open_shards(folder).vocab_size)
    model = ModelSettings(architecture=architecture_of(config), preset="tiny")
    batch_tokens = _SEQUENCES * config.context
    settings = TrainSettings(
        optimizer="muon",
        steps=steps,
        batch_tokens=batch_tokens,
        learning_rate=_LEARNING_RATE,
        schedule="linear",
        min_learning_rate_fraction=0.0,
        device="cpu",
    )
    recipe = resolve_recipe(model, settings)
    torch.manual_seed(0)
    learner = Learner(build_network(config), recipe, settings, Processes(torch.device("cpu")))
    data = _data(folder, config, "train")
    for step in range(steps):
        batch = data(step * _SEQUENCES, _SEQUENCES)
        learner.learn([batch], Totals.of([batch]))
        learner.update(learning_rate(step * batch_tokens, batch_tokens, recipe))
    data = _data(folder, config, "val")
    batches = [data(first, _SEQUENCES) for first in range(0, _VAL_SEQUENCES, _SEQUENCES)]
    losses = learner.measure(batches, Totals.of(batches))
    return learner.network, {name: loss.item() for name, loss in losses.items()}


def _data(folder: Path, config: Config, split: str) -> Callable[[int, int], Batch]:
    shards = open_shards(folder)
    if isinstance(config, GPT2Config):
        return GPT2Data(shards.documents(split), config.context, seed=0).batch
    return AlbertData(
        shards.sentences(split), Tokenizer.load(folder / "tokenizer"), config.context, seed=0
    ).batch


def _record(
    shots: Sequence[Shots], sharing: Sequence[Masked], embeddings: Sequence[Masked], remarks: str
) -> None:
    record(
        "toy study: share of exercises answered right, by size and examples",
        ["parameters", "loss on prose", *(f"{count} examples" for count in _SHOTS)],
        [
            [
                f"{one.parameters:,}",
                f"{one.prose_loss:.3f}",
                *(f"{share:.3f}" for share in one.accuracy.values()),
            ]
            for one in shots
        ],
        f"{_ITEMS * len(_EXERCISES)} exercises of {len(_EXERCISES)} kinds; {_GPT2_STEPS:,} steps. {remarks}",
    )
    for title, models in (("by what layers share", sharing), ("by the embedding's width", embeddings)):
        record(
            f"toy study: ALBERT {title}",
            ["layers share", "embedding", "parameters", "masked tokens, nats", "order, nats"],
            [
                [m.sharing, f"{m.embedding}", f"{m.parameters:,}", f"{m.mlm_loss:.3f}", f"{m.sop_loss:.3f}"]
                for m in models
            ],
            f"{_ALBERT.layers} layers of {_ALBERT.width}; {_ALBERT_STEPS:,} steps; unseen documents",
        )


if __name__ == "__main__":
    main()
