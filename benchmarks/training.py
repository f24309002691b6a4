"""Training steps on the CPU: GPT-2 beside nanoGPT's train.py, ALBERT base beside transformers.

    python -m benchmarks.training gpt2 --nanogpt CHECKOUT
    python -m benchmarks.training albert

Random tokens in documents as long as web text's; float32, not compiled, on all cores. Ours are whole steps as
`webtext pretrain` takes them, from making the batch to the new weights. The median of some steps after the
first ones.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.gpu_nanogpt import run_nanogpt
from benchmarks.gpu_run import write_run
from benchmarks.results import record
from benchmarks.transformers_albert import build_transformers, inputs_of
from model.config import ALBERT_PRESETS, AlbertConfig, Config, GPT2Config, ModelSettings, TrainSettings
from model.data.masked import AlbertBatch, AlbertData
from model.data.sequences import GPT2Data, open_shards
from model.networks import build_network
from model.training.learner import Learner
from model.training.objectives import Batch, Totals
from model.training.processes import Processes
from model.training.recipe import resolve_recipe
from tokenizer.encode import Tokenizer

_SETTLING, _STEPS = 3, 10
_GPT2 = GPT2Config(vocab_size=50_304, context=256, layers=6, width=384, heads=6)
_SEQUENCES = 12
_ALBERT_SEQUENCES = 4


def main() -> None:
    """Measures one architecture and records it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("architecture", choices=["gpt2", "albert"])
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    arguments = parser.parse_args()
    if arguments.architecture == "gpt2" and arguments.nanogpt is None:
        parser.error("gpt2 is measured beside nanoGPT: name a checkout (--nanogpt)")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.architecture == "gpt2":
            _gpt2(Path(folder), arguments.nanogpt)
        else:
            _albert(Path(folder))


def _gpt2(folder: Path, nanogpt: Path) -> None:
    write_run(folder / "run", _GPT2.vocab_size, num_tokens=1_000_000, seed=0)
    (file,) = open_shards(folder / "run").documents("train")
    data = GPT2Data([file], _GPT2.context, seed=0)
    theirs = run_nanogpt(
        nanogpt,
        folder / "nanogpt",
        file.tokens,
        _STEPS,
        device="cpu",
        compile=False,
        n_layer=_GPT2.layers,
        n_head=_GPT2.heads,
        n_embd=_GPT2.width,
        block_size=_GPT2.context,
        batch_size=_SEQUENCES,
        gradient_accumulation_steps=1,
        dropout=0.0,
        bias=True,
    )
    seconds = _time_ours("gpt2", _GPT2, lambda step: data.batch(step * _SEQUENCES, _SEQUENCES))
    tokens = _SEQUENCES * _GPT2.context
    _record(
        f"training on the CPU: GPT-2, {_GPT2.layers} layers of {_GPT2.width}, {tokens:,} tokens a step",
        {"webtext": tokens / seconds, "nanoGPT, its train.py": theirs.tokens / theirs.seconds},
        "The same shape, batch and vocabulary (50,304), biases, no dropout. Goal: 1.15 times nanoGPT.",
    )


def _albert(folder: Path) -> None:
    config = replace(ALBERT_PRESETS["base"], dropout=0.0)
    write_run(folder / "run", config.vocab_size, num_tokens=400_000, seed=0)
    tokenizer = Tokenizer.load(folder / "run" / "tokenizer")
    data = AlbertData(open_shards(folder / "run").sentences("train"), tokenizer, config.context, seed=0)
    batches = [data.batch(step * _ALBERT_SEQUENCES, _ALBERT_SEQUENCES) for step in range(_SETTLING + _STEPS)]
    tokens = statistics.mean(batch.num_tokens for batch in batches)
    theirs = _time(_transformers_step(config), batches)
    seconds = _time_ours("albert", config, lambda step: batches[step])
    _record(
        f"training on the CPU: ALBERT base, {_ALBERT_SEQUENCES} sequences of {config.context} a step",
        {"webtext": tokens / seconds, f"transformers {transformers.__version__}": tokens / theirs},
        "Tokens, padding aside; both heads, AdamW, no dropout, batches made beforehand. transformers has its "
        "heads at every place. Goal: 1.3 times transformers.",
    )


def _time_ours(architecture: str, config: Config, batch: Callable[[int], Batch]) -> float:
    """The median seconds of our steps."""
    model = ModelSettings.model_validate({"architecture": architecture})
    train = TrainSettings(optimizer="adamw", batch_tokens=_SEQUENCES * config.context, device="cpu")
    torch.manual_seed(0)
    processes = Processes(torch.device("cpu"))
    learner = Learner(build_network(config), resolve_recipe(model, train), train, processes)

    def take(step: int) -> float:
        piece = batch(step)
        found, norm = learner.learn([piece], Totals.of([piece]))
        learner.update(1e-4)
        return float(sum(value.item() for value in found.values()) + norm.item())

    return _time(take, range(_SETTLING + _STEPS))


def _transformers_step(config: AlbertConfig) -> Callable[[Batch], float]:
    torch.manual_seed(0)
    network = build_transformers(config).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def take(batch: Batch) -> float:
        assert isinstance(batch, AlbertBatch)
        optimizer.zero_grad()
        loss = network(**inputs_of(batch)).loss
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return float(loss.item())

    return take


def _time(take: Callable[[Any], float], steps: Iterable[Any]) -> float:
    seconds = []
    for step in steps:
        started = time.perf_counter()
        take(step)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[_SETTLING:])


def _record(title: str, rates: dict[str, float], remarks: str) -> None:
    ours = rates["webtext"]
    record(
        f"{title}, {os.cpu_count()} cores",
        ["", "tokens/s", "ours is faster by"],
        [[name, f"{rate:,.0f}", f"{ours / rate:.2f}"] for name, rate in rates.items()],
        f"torch {torch.__version__}, float32, not compiled; the median of {_STEPS} steps. {remarks}",
    )


if __name__ == "__main__":
    main()
