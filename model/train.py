"""The training loop: from a run's shards to a checkpoint, resumable at any step.

Everything random in step n follows from the seed and n: the batch by its number, dropout by seeding
torch anew in each step. So a run that was interrupted goes on exactly as it would have, whatever was
measured or saved in between, and a checkpoint need not carry random states.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from model.checkpoint import (
    Metadata,
    Progress,
    newest_checkpoint,
    read_metadata,
    restore,
    save_checkpoint,
)
from model.config import ModelSettings, TrainSettings
from model.errors import ModelError
from model.log import StepReport, TrainingLog, TrainResult
from model.networks import build_network
from model.objectives import Batch, Totals, losses
from model.optim import build_optimizer, learning_rate
from model.recipe import Recipe, resolve_recipe
from model.workload import Data, Workload, open_workload


def checkpoint_directory(run: Path, model: ModelSettings, train: TrainSettings) -> Path:
    """Where a model's checkpoints and logs lie unless `pretrain` is told otherwise."""
    return train.dir or run / "checkpoints" / f"{model.architecture}-{model.preset_name}"


def pretrain(
    run: Path,
    model: ModelSettings,
    train: TrainSettings,
    out: Path | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> TrainResult:
    """Trains a model on `run`'s shards, from the newest checkpoint in `out` if there is one.

    Args:
        run: A run directory with `shards/` and `tokenizer/`.
        model: Which network.
        train: How to train it.
        out: Folder for checkpoints and logs; None stands for `checkpoint_directory`.
        on_step: Called after each step, validation and checkpoint included.

    Returns:
        The losses and the newest checkpoint. Where all steps had been taken, nothing is done.

    Raises:
        ModelError: The run cannot be trained on, `out` holds another model's checkpoints, or the
            loss is no longer finite.
    """
    out = out or checkpoint_directory(run, model, train)
    recipe = resolve_recipe(model, train)
    workload = open_workload(run, model, recipe, train.seed)
    trainer = _Trainer(workload, model.preset_name, train, recipe, out)
    resumed_from = trainer.progress.step
    with closing(TrainingLog(out, resumed_from)) as log:
        for report in trainer.steps():
            log.write(report)
            if on_step is not None:
                on_step(report)
    if trainer.checkpoint is None:
        raise AssertionError("training ended without a checkpoint")
    return TrainResult(
        **asdict(trainer.progress),
        steps=recipe.steps,
        resumed_from=resumed_from,
        checkpoint=trainer.checkpoint,
    )


def choose_device(name: str) -> torch.device:
    """The device called `name`; auto is the GPU where there is one, else the CPU.

    Raises:
        ModelError: This machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"train.device: cannot compute on {name!r} here ({reason}); set it to auto or cpu"
        ) from error


class _Trainer:
    """A network on its way: weights, optimizer and progress, restored where `out` has them."""

    def __init__(
        self, workload: Workload, preset: str, train: TrainSettings, recipe: Recipe, out: Path
    ) -> None:
        self.workload = workload
        self.preset = preset
        self.settings = train
        self.recipe = recipe
        self.out = out
        self.device = choose_device(train.device)
        torch.manual_seed(train.seed)
        self.network = build_network(workload.config).to(self.device)
        self.optimizer = build_optimizer(self.network, recipe)
        self.progress = Progress()
        self.checkpoint = newest_checkpoint(out)
        if self.checkpoint is not None:
            self._resume(self.checkpoint)

    def steps(self) -> Iterator[StepReport]:
        """Takes the steps that are left, until the time limit; the last one measures and saves."""
        began = time.monotonic()
        minutes = self.settings.max_minutes
        limit = math.inf if minutes is None else 60 * minutes
        ended = self.progress.step >= self.recipe.steps
        while not ended:
            report = self._take_step(began)
            ended = report.step >= self.recipe.steps or report.seconds >= limit
            if ended or report.step % self.settings.eval_every == 0:
                report = replace(report, val_loss=self._validate())
            self.progress = self.progress.after(report.tokens, report.loss, report.val_loss)
            if ended or report.step % self.settings.checkpoint_every == 0:
                self.checkpoint = self._save()
                report = replace(report, checkpoint=self.checkpoint)
            yield report

    def _take_step(self, began: float) -> StepReport:
        """One optimizer step on the next batch."""
        started = time.monotonic()
        done = self.progress.step
        torch.manual_seed(_step_seed(self.settings.seed, done))
        rate = learning_rate(done, self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sequences = self.workload.step_sequences
        batches = self._pieces(self.workload.train, done * sequences, sequences)
        self.network.train()
        self.optimizer.zero_grad()
        parts = self._measure(batches, learn=True)
        clip = self.settings.clip
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), clip).item()
        loss = sum(parts.values())
        if not math.isfinite(loss + norm):
            raise ModelError(
                f"step {done + 1} has a loss of {loss} and gradients of length {norm};"
                f" lower train.learning_rate, and go on from the newest checkpoint in {self.out}"
            )
        self.optimizer.step()
        now = time.monotonic()
        read = sum(batch.num_tokens for batch in batches)
        return StepReport(
            step=done + 1,
            steps=self.recipe.steps,
            loss=loss,
            losses=parts,
            learning_rate=rate,
            gradient_norm=norm,
            tokens=self.progress.tokens + read,
            tokens_per_second=read / (now - started),
            seconds=now - began,
        )

    def _validate(self) -> float | None:
        """Mean loss over the first batches of the validation split; None where there is none."""
        data = self.workload.val
        if data is None:
            return None
        count = min(self.settings.eval_batches * self.recipe.micro_batch, data.num_sequences)
        self.network.eval()
        with torch.inference_mode():
            return sum(self._measure(self._pieces(data, 0, count), learn=False).values())

    def _pieces(self, data: Data, first: int, count: int) -> list[Batch]:
        """Sequences `first` up to `first + count`, in micro-batches."""
        size = self.recipe.micro_batch
        return [data.batch(first + done, min(size, count - done)) for done in range(0, count, size)]

    def _measure(self, batches: list[Batch], *, learn: bool) -> dict[str, float]:
        """Mean losses over `batches` together; with `learn`, their gradients are accumulated."""
        totals = Totals.of(batches)
        sums: dict[str, float] = {}
        for batch in batches:
            parts = losses(self.network, batch.to(self.device), totals)
            if learn:
                torch.autograd.backward(list(parts.values()))
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.item()
        return sums

    def _resume(self, path: Path) -> None:
        found, ours = read_metadata(path), self._metadata()
        # The rest of the recipe may change on the way; what decides the data and weights may not.
        same = {
            "model": found.config == ours.config,
            "tokenizer": found.tokenizer == ours.tokenizer,
            "data (shards)": found.shards == ours.shards,
            **{
                name: found.training.get(name) == ours.training[name]
                for name in ("seed", "batch_tokens", "optimizer")
            },
        }
        changed = [name for name, agrees in same.items() if not agrees]
        if changed:
            raise ModelError(
                f"{path} was trained with another {' and '.join(changed)}; set train.dir to"
                f" another folder, or delete {self.out} to start afresh"
            )
        restore(path, self.network, self.optimizer)
        self.progress = found.progress

    def _save(self) -> Path:
        return save_checkpoint(
            self.out,
            self._metadata(),
            self.network,
            self.optimizer,
            self.workload.tokenizer_json,
            self.settings.keep_checkpoints,
        )

    def _metadata(self) -> Metadata:
        return Metadata(
            progress=self.progress,
            preset=self.preset,
            config=self.workload.config,
            tokenizer=self.workload.shards.tokenizer,
            shards=self.workload.shards.digest,
            training={"seed": self.settings.seed, **asdict(self.recipe)},
        )


def _step_seed(seed: int, step: int) -> int:
    """A seed of 32 bits for `step`, as torch's generator on the CPU reads no more than those."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])
