"""Pretraining on one GPU: is it right, how fast is it, and how fast are nanoGPT and transformers beside it.

    python -m benchmarks.gpu --nanogpt CHECKOUT

Correctness first: networks of random weights, in bf16 on the GPU against float64 on the CPU; exit status 1
where an error is beyond its bound. Then training steps of GPT-2 124M at 1,024 tokens, half a million a step,
and of ALBERT base at 512, a quarter of a million a step. `pretrain` is timed as it is. Beside it stands the
same network with the same losses and optimizer in bf16 and compiled: what the network can do where the loop
around it stands in no way. A model FLOP is counted as nanoGPT counts it.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.gpu_correctness import (
    GRADIENTS_BOUND,
    LOGITS_BOUND,
    LOSS_BOUND,
    build_objective,
    relative_errors,
)
from benchmarks.gpu_nanogpt import run_nanogpt
from benchmarks.gpu_run import write_run
from benchmarks.results import record
from benchmarks.transformers_albert import build_transformers, inputs_of
from model.config import (
    ALBERT_PRESETS,
    GPT2_PRESETS,
    AlbertConfig,
    Config,
    GPT2Config,
    ModelSettings,
    TrainSettings,
)
from model.data.masked import AlbertBatch
from model.data.workload import Workload, open_workload
from model.networks import build_network
from model.training.flops import flops_per_token
from model.training.log import StepReport
from model.training.objectives import Batch, Totals
from model.training.optim import build_optimizer
from model.training.recipe import resolve_recipe
from model.training.train import pretrain

_PEAK_FLOPS = 989e12  # Dense bf16 of an H100 or H200 (SXM), by its data sheet.
_MINUTES = 7.2  # After these no further row is begun, so that the call stays within 8.
_SETTLING = 2

_COLUMNS = (
    "training step",
    "micro-batch",
    "tokens/s",
    "MFU",
    "peak memory, GB",
    "ms a step",
    "data, ms a step",
)

Row = tuple[str, ...]


@dataclass(frozen=True)
class Timed:
    """What some steps came to.

    Attributes:
        tokens: Tokens a step, padding aside.
        seconds: Of the median step.
        peak_bytes: Most memory that tensors held on the device.
        data_seconds: What making the batches of a step took, where that was measured.
    """

    tokens: float
    seconds: float
    peak_bytes: int
    data_seconds: float | None = None


def main() -> None:
    """Measures and records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT; left out: not measured")
    parser.add_argument("--quick", action="store_true", help="one layer and few steps: does all of it run")
    parser.add_argument("--profiles", type=Path, help="folder for what takes the time in a step")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks.gpu: there is no GPU here")
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), arguments.nanogpt, arguments.profiles, arguments.quick)
        right = _record_correctness(bench)
        _record_gpt2(bench)
        _record_albert(bench)
    sys.exit(0 if right and not bench.failed else 1)


class _Bench:
    """Settings of one call, and what its rows have in common."""

    def __init__(self, folder: Path, nanogpt: Path | None, profiles: Path | None, quick: bool) -> None:
        self.folder = folder
        self.nanogpt = nanogpt
        self.profiles = profiles
        self.quick = quick
        self.steps = 2 if quick else 6
        self.failed = False
        self._ends = time.monotonic() + 60 * _MINUTES

    @property
    def where(self) -> str:
        """The machine and the libraries, for remarks."""
        gpu = torch.cuda.get_device_properties(0)
        return (
            f"One {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB; torch {torch.__version__},"
            f" transformers {transformers.__version__}{'; one layer, a trial' if self.quick else ''}."
        )

    def shape(self, config: Config) -> Config:
        """`config`, or one layer of it."""
        return replace(config, layers=1) if self.quick else config

    def row(self, name: str, micro_batch: str, flops: float, measure: Callable[[], Timed]) -> Row:
        """One row of a table: what `measure` says, or why it could not."""
        if time.monotonic() > self._ends:
            self.failed = True
            return (name, micro_batch, "no time left", *[""] * 4)
        _forget()
        print(f"[{time.strftime('%X')}] {name}, {micro_batch}", flush=True)
        try:
            timed = measure()
        except RuntimeError as error:  # Out of memory, or the other side's own.
            print(error, file=sys.stderr, flush=True)
            self.failed = True
            return (name, micro_batch, f"failed: {str(error).splitlines()[0][:120]}", *[""] * 4)
        rate = timed.tokens / timed.seconds
        data = "" if timed.data_seconds is None else f"{timed.data_seconds * 1000:,.0f}"
        row = (
            name,
            micro_batch,
            f"{rate:,.0f}",
            f"{rate * flops / _PEAK_FLOPS:.1%}",
            f"{timed.peak_bytes / 1e9:.1f}",
            f"{timed.seconds * 1000:,.0f}",
            data,
        )
        print(" | ".join(row), flush=True)
        return row

    @contextmanager
    def profile(self, name: str) -> Iterator[None]:
        """Writes down what takes the device's time."""
        if self.profiles is None:
            yield
            return
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profiler:
            yield
            torch.cuda.synchronize()
        table = profiler.key_averages().table(
            sort_by="self_cuda_time_total", row_limit=40, max_name_column_width=90
        )
        self.profiles.mkdir(parents=True, exist_ok=True)
        (self.profiles / f"{name}.txt").write_text(table, "utf-8")


def _forget() -> None:
    """Frees what the row before held."""
    torch.compiler.reset()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


# Correctness


def _record_correctness(bench: _Bench) -> bool:
    torch.manual_seed(1)
    gpt2 = replace(GPT2_PRESETS["124M"], layers=1 if bench.quick else 4)
    albert = replace(ALBERT_PRESETS["base"], dropout=0.0, layers=1 if bench.quick else 4)
    rows, right = [], True
    for name, config in (("GPT-2, {} of 12 layers", gpt2), ("ALBERT base, {} of 12 layers", albert)):
        for compiled in (False, True):
            _forget()
            errors = relative_errors(config, compiled=compiled)
            right &= all(error <= bound for error, bound in errors.values())  # No NaN passes.
            found = [f"{error:.1e}" for error, _ in errors.values()]
            rows.append((name.format(config.layers), "compiled" if compiled else "eager", *found))
    record(
        "gpu: bf16 on the GPU against float64 on the CPU",
        ("network", "how", "logits", "loss", "gradients"),
        rows,
        f"{bench.where} Relative errors (norms of differences); random weights; weights in float32, autocast."
        f" Bounds: {LOGITS_BOUND:g}, {LOSS_BOUND:g}, {GRADIENTS_BOUND:g}:"
        f" {'all within' if right else 'NOT ALL WITHIN'}.",
    )
    return right


# Our own steps


def _time_pretrain(bench: _Bench, run: Path, model: ModelSettings, train: TrainSettings) -> Timed:
    """The median of `pretrain`'s steps but the first two; what it validates and saves is not in them."""
    trial = {"preset": "tiny"} if bench.quick else {}
    reports: list[StepReport] = []
    pretrain(run, model.model_copy(update=trial), train, run / "checkpoints", reports.append)
    tokens = statistics.mean(after.tokens - before.tokens for before, after in pairwise(reports))
    rate = statistics.median(report.tokens_per_second for report in reports[_SETTLING:])
    return Timed(tokens, tokens / rate, torch.cuda.max_memory_allocated())


@dataclass(frozen=True)
class _Step:
    """A batch in pieces, on the CPU."""

    pieces: list[Batch]
    totals: Totals
    tokens: int


def _draw_steps(
    workload: Workload, sequences: int, micro_batch: int, count: int
) -> tuple[list[_Step], float]:
    """The first `count` steps' batches, and the median of the seconds that making one took."""
    steps, seconds = [], []
    for step in range(count):
        began = time.perf_counter()
        starts = range(step * sequences, (step + 1) * sequences, micro_batch)
        pieces = [workload.train.batch(start, micro_batch) for start in starts]
        seconds.append(time.perf_counter() - began)
        steps.append(_Step(pieces, Totals.of(pieces), sum(piece.num_tokens for piece in pieces)))
    return steps, statistics.median(seconds)


def _time_steps(take: Callable[[_Step], None], steps: Sequence[_Step], data_seconds: float) -> Timed:
    """Times `take` on each of `steps` but the first ones."""
    seconds = []
    for step in steps:
        torch.cuda.synchronize()
        began = time.perf_counter()
        take(step)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    tokens = statistics.mean(step.tokens for step in steps[_SETTLING:])
    peak = torch.cuda.max_memory_allocated()
    return Timed(tokens, statistics.median(seconds[_SETTLING:]), peak, data_seconds)


def _time_network(
    bench: _Bench,
    workload: Workload,
    model: ModelSettings,
    config: Config,
    micro_batch: int,
    *,
    compiled: bool,
) -> Timed:
    """The network, its losses, its optimizer and clipping, under autocast."""
    sequences = workload.step_sequences
    steps, data_seconds = _draw_steps(workload, sequences, micro_batch, _SETTLING + bench.steps)
    network = build_network(config).cuda().train()
    optimizer = build_optimizer(network, resolve_recipe(model, TrainSettings()))
    objective = build_objective(network, compiled=compiled)

    def take(step: _Step) -> None:
        optimizer.zero_grad()
        for piece in step.pieces:
            first, second = objective(piece.to(torch.device("cuda")))
            torch.autograd.backward(first / step.totals.targets + second / step.totals.sequences)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    timed = _time_steps(take, steps, data_seconds)
    with bench.profile(
        f"{workload.shards.folder.parent.name}-{config.vocab_size}-{'compiled' if compiled else 'eager'}"
    ):
        take(steps[-1])
    return timed


# GPT-2


def _record_gpt2(bench: _Bench) -> None:
    config = bench.shape(GPT2_PRESETS["124M"])
    assert isinstance(config, GPT2Config)
    flops = flops_per_token(config).model
    sequences = 64 if bench.quick else 512
    run = bench.folder / "gpt2"
    write_run(run, config.vocab_size, num_tokens=8 * sequences * config.context, seed=0)
    model = ModelSettings(architecture="gpt2")
    train = TrainSettings(steps=8, batch_tokens=sequences * config.context, device="cuda")
    workload = open_workload(run, model, resolve_recipe(model, train), train.seed)
    own = partial(_time_network, bench, workload, model)
    padded = replace(config, vocab_size=50_304)
    stock = {"gradient_accumulation_steps": 2} if bench.quick else {}
    tuned = {"batch_size": 64, "gradient_accumulation_steps": sequences // 64}
    in_bf16, compiled = "the network in bf16", "the network in bf16, compiled"
    rows = [
        bench.row("nanoGPT as it comes", "12", flops, lambda: _time_nanogpt(bench, workload, "stock", stock)),
        bench.row(compiled, "64", flops, lambda: own(config, 64, compiled=True)),
        bench.row(f"{compiled}, 50,304 ids", "64", flops, lambda: own(padded, 64, compiled=True)),
        bench.row("pretrain as it is", "its own", flops, lambda: _time_pretrain(bench, run, model, train)),
        bench.row(
            "nanoGPT, batch tuned", "64", flops, lambda: _time_nanogpt(bench, workload, "tuned", tuned)
        ),
        bench.row(in_bf16, "32", flops, lambda: own(config, 32, compiled=False)),
    ]
    record(
        "gpu: GPT-2 124M, 1,024 tokens, half a million a step",
        _COLUMNS,
        rows,
        f"{bench.where} {flops / 1e6:,.1f} MFLOP a token, of {_PEAK_FLOPS:.3g} a second. Random tokens;"
        " the median step. pretrain's and nanoGPT's steps have the making of their batches in them, the"
        " network's have not. nanoGPT as it comes: 480 sequences a step, no biases, 50,304 ids. Goals on one"
        " H200: 500,000 tokens/s, 1.25 times nanoGPT as it comes.",
    )


def _time_nanogpt(bench: _Bench, workload: Workload, name: str, settings: dict[str, int]) -> Timed:
    if bench.nanogpt is None:
        raise RuntimeError("not measured: no checkout was named (--nanogpt)")
    (file,) = workload.shards.documents("train")
    trial = {"n_layer": 1} if bench.quick else {}
    found = run_nanogpt(bench.nanogpt, bench.folder / name, file.tokens, bench.steps, **settings, **trial)
    return Timed(found.tokens, found.seconds, found.peak_bytes)


# ALBERT


def _record_albert(bench: _Bench) -> None:
    config = bench.shape(replace(ALBERT_PRESETS["base"], dropout=0.0))
    assert isinstance(config, AlbertConfig)
    flops = flops_per_token(config).model
    sequences = 128 if bench.quick else 512
    run = bench.folder / "albert"
    write_run(run, config.vocab_size, num_tokens=16 * sequences * config.context, seed=0)
    model = ModelSettings(architecture="albert", dropout=0.0)
    train = TrainSettings(steps=8, batch_tokens=sequences * config.context, device="cuda")
    workload = open_workload(run, model, resolve_recipe(model, train), train.seed)
    own = partial(_time_network, bench, workload, model, config)
    theirs = partial(_time_transformers, bench, workload, config)
    compiled = "the network in bf16, compiled"
    rows = [
        bench.row("transformers, compiled", "128", flops, lambda: theirs(128)),
        bench.row(compiled, "128", flops, lambda: own(128, compiled=True)),
        bench.row("pretrain as it is", "its own", flops, lambda: _time_pretrain(bench, run, model, train)),
    ]
    batch = workload.train.batch(0, sequences)
    full = batch.num_tokens / (sequences * config.context)
    record(
        "gpu: ALBERT base, 512 tokens, a quarter of a million a step",
        _COLUMNS,
        rows,
        f"{bench.where} {flops / 1e6:,.1f} MFLOP a token, of {_PEAK_FLOPS:.3g} a second. Random tokens, in"
        f" documents as long as web text's: {full:.0%} of the places hold one, and only these are counted. No"
        " dropout. pretrain's step has the making of its batches in it, the others have not. transformers:"
        " AlbertForPreTraining in bf16 (autocast), SDPA, fused AdamW, which has both heads at every place."
        " Goals on one H200: 700,000 tokens/s, 1.5 times transformers.",
    )


def _time_transformers(bench: _Bench, workload: Workload, config: AlbertConfig, micro_batch: int) -> Timed:
    steps, data_seconds = _draw_steps(workload, workload.step_sequences, micro_batch, _SETTLING + bench.steps)
    network = build_transformers(config)
    network.cuda().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    compiled: Callable[..., Any] = torch.compile(network, dynamic=False)

    def take(step: _Step) -> None:
        optimizer.zero_grad()
        for piece in step.pieces:
            assert isinstance(piece, AlbertBatch)
            inputs = inputs_of(piece.to(torch.device("cuda")))
            with torch.autocast("cuda", torch.bfloat16):
                loss = compiled(**inputs).loss
            torch.autograd.backward(loss / len(step.pieces))
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    timed = _time_steps(take, steps, data_seconds)
    with bench.profile(f"transformers-{micro_batch}"):
        take(steps[-1])
    return timed


if __name__ == "__main__":
    main()
