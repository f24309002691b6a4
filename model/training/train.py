"""The training loop: from a run's shards to a checkpoint, resumable at any step.

Everything random in step n follows from the seed and n: the batch by its position, dropout by seeding
torch anew in each step. So a run that was interrupted goes on exactly as it would have, whatever was
measured or saved in between (to the bit on the same device with as many threads, whose sums are rounded
alike), and a checkpoint need not carry random states. With several processes each
reads its share of the same batch, and draws its own dropout.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from model.checkpoint import CONFIG, Metadata, Progress, checkpoint_path, newest_checkpoint, read_metadata
from model.config import Config, GPT2Config, ModelSettings, TrainSettings
from model.data.prefetch import Span, micro_batches, read_ahead
from model.data.workload import Workload, open_workload
from model.devices import is_out_of_memory
from model.errors import ModelError
from model.networks import build_network
from model.training.bits_per_byte import bits_per_byte, bytes_per_token
from model.training.guards import SpikeGuard, Verdict, check_batch, out_of_memory_advice
from model.training.learner import Learner
from model.training.log import StepReport, TrainingLog, TrainResult
from model.training.objectives import Batch, Totals
from model.training.optim import learning_rate
from model.training.processes import Processes, join_processes
from model.training.recipe import Recipe, resolve_recipe
from model.training.saving import CheckpointWriter, restore
from model.training.speedometer import Speedometer, capacity

_log = logging.getLogger(__name__)

_WORKERS = 2  # Processes that make batches for a GPU; beside a CPU that trains they would be in its way.


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

    Started by torchrun, all of its processes train together; the first one logs and reports.

    Args:
        run: A run directory with `shards/` and `tokenizer/`.
        model: Which network.
        train: How to train it.
        out: Folder for checkpoints and logs; None stands for `checkpoint_directory`.
        on_step: Called after each step, validation included, and before its checkpoint is written.

    Returns:
        The losses and the newest checkpoint. Where all tokens had been read, nothing is done.

    Raises:
        ModelError: The run cannot be trained on, `out` holds another model's checkpoints, the device's
            memory is too small, or the losses are beyond help.
    """
    out = out or checkpoint_directory(run, model, train)
    recipe = resolve_recipe(model, train)
    with ExitStack() as stack:
        processes = stack.enter_context(join_processes(train.device))
        workload = open_workload(run, model, recipe, train.seed, separate=train.separate_documents)
        if train.micro_batch is None and processes.device.type == "cuda":
            recipe = replace(recipe, micro_batch=roomy_micro_batch(workload.config))
        trainer = _Trainer(
            workload, model.preset_name, train, recipe, out, processes, _bytes_per_token(workload)
        )
        stack.enter_context(closing(trainer))
        resumed_from = trainer.progress.step
        log = None
        if processes.is_first:
            config = {"model": model.model_dump(mode="json"), "train": asdict(recipe)}
            log = stack.enter_context(closing(TrainingLog(out, resumed_from, train.wandb, config)))
        for report in trainer.steps():
            if log is not None:
                log.write(report)
                if on_step is not None:
                    on_step(report)
        return trainer.result(resumed_from)


def roomy_micro_batch(config: Config) -> int:
    """Sequences in one forward pass that fit a GPU of 80 GB: 65,536 tokens of a 124M, a power of two."""
    tokens = 65_536 * min(1.0, 12 * 768 / (config.layers * config.width))
    return 1 << max(0, math.floor(math.log2(max(1.0, tokens / config.context))))


def _bytes_per_token(workload: Workload) -> float | None:
    """Bytes of validation text a token; None where a loss in bits a byte would mean nothing."""
    if workload.val is None or not isinstance(workload.config, GPT2Config):
        return None
    return bytes_per_token(workload.shards.documents("val"), workload.tokenizer)


class _Trainer:
    """A network on its way: weights, optimizer and progress, restored where `out` has them."""

    def __init__(
        self,
        workload: Workload,
        preset: str,
        train: TrainSettings,
        recipe: Recipe,
        out: Path,
        processes: Processes,
        bytes_per_token: float | None,
    ) -> None:
        self._bytes_per_token = bytes_per_token
        self._workload = workload
        self._preset = preset
        self._settings = train
        self._recipe = recipe
        self._out = out
        self._processes = processes
        self._plan = recipe.plan(workload.config.context)
        check_batch(
            first=self._plan.first,
            full=self._plan.full,
            context=workload.config.context,
            processes=processes.count,
        )
        torch.manual_seed(train.seed)
        self._learner = Learner(build_network(workload.config), recipe, train, processes)
        self._guard = SpikeGuard(train.spike_window, train.spike_z, train.on_spike)
        self._speedometer = Speedometer(
            workload.config, recompute=train.activation_checkpointing, processes=processes
        )
        self._writer = CheckpointWriter(out, workload.tokenizer_json, train.keep_checkpoints, processes)
        self._batches: Iterator[Batch] = iter(())
        self._reading = ExitStack()
        self.progress = Progress()
        try:
            self._checkpoint = processes.tell(newest_checkpoint(out) if processes.is_first else None)
            if self._checkpoint is not None:
                self._resume(self._checkpoint)
        except BaseException:
            self._writer.close()  # or it would keep others out as long as this process lives
            raise

    def close(self) -> None:
        """Ends what works beside training; a checkpoint that is being written is finished."""
        self._reading.close()
        self._writer.close()

    def result(self, resumed_from: int) -> TrainResult:
        """What training came to."""
        if self._checkpoint is None:
            raise AssertionError("training ended without a checkpoint")
        progress = self.progress
        return TrainResult(
            step=progress.step,
            steps=progress.step + self._plan.steps_left(progress.position),
            resumed_from=resumed_from,
            tokens=progress.tokens,
            first_loss=progress.first_loss,
            last_loss=progress.last_loss,
            val_loss=progress.val_loss,
            checkpoint=self._checkpoint,
        )

    def steps(self) -> Iterator[StepReport]:
        """Takes the steps that are left, until the time limit; the last one measures and saves."""
        minutes = self._settings.max_minutes
        limit = math.inf if minutes is None else 60 * minutes
        self._read_from(self.progress.position)
        ended = self.progress.position >= self._plan.total
        while not ended:
            report, verdict = self._take_step()
            position = self.progress.position + self._plan.size(self.progress.position)
            ended = position >= self._plan.total or report.seconds >= limit
            if verdict.action == "roll_back" and not ended:
                self._roll_back(position, report)
                yield report
                continue
            saves = ended or report.step % self._settings.checkpoint_every == 0
            if saves or report.step % self._settings.eval_every == 0:
                report = self._validate(report)
            loss = report.loss if verdict.action == "go_on" else self.progress.last_loss
            self.progress = self.progress.after(position, report.tokens, loss, report.val_loss)
            if saves:
                report = replace(report, checkpoint=checkpoint_path(self._out, report.step))
            yield report  # Logged before the checkpoint stands, so that no resumed run misses a step.
            if saves:
                self._checkpoint = self._save()
        self._writer.finish()

    def _take_step(self) -> tuple[StepReport, Verdict]:
        """One optimizer step on the next batch; the update is made only where the verdict is to go on."""
        done, position = self.progress.step, self.progress.position
        size = self._plan.size(position)
        torch.manual_seed(_step_seed(self._settings.seed, done, self._processes.rank))
        context = self._workload.config.context
        rate = learning_rate(position * context, size * context, self._recipe)
        self._speedometer.begin_step()
        batches = [next(self._batches) for _ in self._spans(position, size)]
        self._speedometer.have_data()
        totals, tokens, seconds = self._count(batches)
        with self._advising_on_memory(batches):
            found, norm = self._learner.learn(batches, totals)
            *values, length = torch.cat([self._sum(found), norm.float()[None]]).tolist()  # The one wait.
        loss = sum(values)
        verdict = self._judge(done + 1, loss, length)
        if verdict.action == "go_on":
            self._learner.update(rate)
        report = StepReport(
            step=done + 1,
            steps=done + self._plan.steps_left(position),
            loss=loss,
            losses=dict(zip(found, values, strict=True)),
            learning_rate=rate,
            gradient_norm=length,
            tokens=self.progress.tokens + tokens,
            intervention=verdict.reason or None,
            **asdict(self._speedometer.end_step(tokens, seconds)),
        )
        return report, verdict

    def _judge(self, step: int, loss: float, norm: float) -> Verdict:
        """The guard's verdict on a step, the same in all processes."""
        verdict = self._guard.look(loss, norm)
        if verdict.action == "go_on":
            return verdict
        if verdict.action == "roll_back" and self._checkpoint is None:
            verdict = Verdict("stop", f"{verdict.reason}, and there is no checkpoint to go back to")
        if verdict.action == "stop":
            raise ModelError(
                f"step {step:,}: {verdict.reason}; lower train.learning_rate, and go on from the newest"
                f" checkpoint in {self._out}"
            )
        if self._processes.is_first:
            done = "left out" if verdict.action == "skip" else f"taken back to {self._checkpoint}"
            _log.warning("step %d: %s; %s", step, verdict.reason, done)
        return verdict

    def _count(self, batches: list[Batch]) -> tuple[Totals, int, float]:
        """What all processes' batches hold: the totals, the tokens; and the first process's clock, in s."""
        ours = Totals.of(batches)
        tokens = sum(batch.num_tokens for batch in batches)
        seconds = self._speedometer.seconds if self._processes.is_first else 0.0
        counts = torch.tensor([ours.targets, ours.sequences, tokens, seconds], dtype=torch.float64)
        targets, sequences, read, clock = self._processes.sum(counts).tolist()
        return Totals(targets, sequences), int(read), clock

    def _sum(self, found: dict[str, torch.Tensor]) -> torch.Tensor:
        """Losses of all processes together: fp32 (number of losses,)."""
        return self._processes.sum(torch.stack(list(found.values())).float())

    def _validate(self, report: StepReport) -> StepReport:
        """The report with the mean loss over the first batches of the validation split, if there is one."""
        data = self._workload.val
        if data is None:
            return report
        count = min(self._settings.eval_batches * self._recipe.micro_batch, data.num_sequences)
        count -= count % self._processes.count
        if not count:
            return report
        batches = [data.batch(span.first, span.count) for span in self._spans(0, count)]
        totals, _, _ = self._count(batches)
        with self._advising_on_memory(batches, learning=False):
            loss = sum(self._sum(self._learner.measure(batches, totals)).tolist())
        bits = None if self._bytes_per_token is None else bits_per_byte(loss, self._bytes_per_token)
        return replace(report, val_loss=loss, bits_per_byte=bits)

    def _spans(self, first: int, count: int) -> list[Span]:
        """This process's micro-batches of the sequences `first` up to `first + count`."""
        mine = self._processes
        return micro_batches(Span(first, count), self._recipe.micro_batch, mine.rank, mine.count)

    def _read_from(self, position: int) -> None:
        """Has the batches from `position` on made ahead."""
        self._reading.close()
        on_gpu = self._processes.device.type == "cuda"
        reader = read_ahead(
            self._workload.train, self._spans_from(position), workers=_WORKERS if on_gpu else 0, pin=on_gpu
        )
        self._batches = self._reading.enter_context(closing(reader))

    def _spans_from(self, position: int) -> Iterator[Span]:
        while position < self._plan.total:
            size = self._plan.size(position)
            yield from self._spans(position, size)
            position += size

    def _resume(self, path: Path) -> None:
        found, ours = read_metadata(path), self._metadata()
        # The rest of the recipe may change on the way; what decides the data and weights may not.
        same = {
            "model": found.config == ours.config,
            "tokenizer": found.tokenizer == ours.tokenizer,
            "data (shards)": found.shards == ours.shards,
            **{
                name: found.training.get(name) == ours.training[name]
                for name in ("seed", "batch_tokens", "optimizer", "separate_documents")
            },
        }
        changed = [name for name, agrees in same.items() if not agrees]
        if changed:
            raise ModelError(
                f"{path} was trained with another {' and '.join(changed)}; set train.dir to"
                f" another folder, or delete {self._out} to start afresh"
            )
        restore(path, self._learner.network, self._learner.optimizer)
        self.progress = found.progress
        try:
            self._guard.load_state_dict(found.guard)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(
                f"{path / CONFIG} is damaged (its guard: {error!r}); use another checkpoint"
            ) from error

    def _roll_back(self, position: int, report: StepReport) -> None:
        """Puts the newest checkpoint back, to go on with the data from `position` on."""
        if self._checkpoint is None:
            raise AssertionError("rolled back without a checkpoint")
        self._writer.finish()
        found = read_metadata(self._checkpoint)
        restore(self._checkpoint, self._learner.network, self._learner.optimizer)
        self._guard.roll_back(found.guard)
        self.progress = replace(found.progress, position=position, tokens=report.tokens)

    def _save(self) -> Path:
        return self._writer.save(self._metadata(), self._learner.network, self._learner.optimizer)

    def _metadata(self) -> Metadata:
        return Metadata(
            progress=self.progress,
            preset=self._preset,
            config=self._workload.config,
            tokenizer=self._workload.shards.tokenizer,
            shards=self._workload.shards.digest,
            training={
                "seed": self._settings.seed,
                "separate_documents": self._settings.separate_documents,
                **asdict(self._recipe),
            },
            guard=self._guard.state_dict(),
        )

    @contextmanager
    def _advising_on_memory(self, batches: Sequence[Batch], *, learning: bool = True) -> Iterator[None]:
        """Says what to lower where memory ends over `batches`, this process's."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            keeps_activations = learning and not self._settings.activation_checkpointing
            advice = out_of_memory_advice(
                micro_batch=len(batches[0].tokens),
                sequences=self._plan.size(self.progress.position) // self._processes.count,
                held_bytes=self._learner.held_bytes(),
                capacity_bytes=capacity(self._processes.device),
                recompute="train.activation_checkpointing = true" if keeps_activations else None,
            )
            raise ModelError(advice) from error


def _step_seed(seed: int, step: int, rank: int) -> int:
    """A seed of 32 bits for `step`, as torch's generator on the CPU reads no more than those."""
    entropy = (seed, step, rank) if rank else (seed, step)
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
