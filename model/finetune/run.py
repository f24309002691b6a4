"""Fine-tuning, from a checkpoint and two files to a folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import require_new
from model.devices import find_device
from model.errors import ModelError
from model.finetune.folder import METRICS, Task, attach, write_folder
from model.finetune.framing import Framing
from model.finetune.glue import read_labelled_texts, require_known
from model.finetune.squad import read_questions
from model.finetune.train import FineTuneSettings, OnStep, train
from model.generation.generate import load_checkpoint

_LENGTHS: Mapping[Task, int] = {"classify": 128, "spans": 384}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of fine-tuning.

    Attributes:
        measures: On the development file, by name, the main one first.
        loss: Mean training loss of the last epoch.
        num_train: Examples that were learned.
        num_dev: Examples that were judged.
        num_skipped: Questions of the training file that were left out, as none of their answers stands in
            the text where it says that it does.
    """

    measures: Mapping[str, float]
    loss: float
    num_train: int
    num_dev: int
    num_skipped: int


@dataclass(frozen=True, kw_only=True)
class _Examples:
    """What both files hold: of one kind, that of the task.

    Attributes:
        learned: The training file's.
        judged: The development file's.
        num_skipped: How many of the training file's were left out.
        classes: The training file's classes, none where it has none.
        answers_none: Whether the training file has questions without an answer.
    """

    learned: Sequence[Any]
    judged: Sequence[Any]
    num_skipped: int = 0
    classes: tuple[str, ...] = ()
    answers_none: bool = False


def fine_tune(
    checkpoint: Path,
    task: Task,
    train_file: Path,
    dev_file: Path,
    out: Path,
    settings: FineTuneSettings,
    on_step: OnStep | None = None,
) -> Outcome:
    """Trains a checkpoint's network on for a task, and measures it; on a CPU the seed decides everything.

    Args:
        checkpoint: A checkpoint of ours, or a folder of them, of either architecture.
        task: `classify` reads TSV files as GLUE's, `spans` JSON files as SQuAD's.
        train_file: What is learned.
        dev_file: What is judged.
        out: A new folder for the network, its measures and its predictions (see `model.finetune.folder`).
        settings: How to train.
        on_step: Told of each step.

    Raises:
        ModelError: A file, the checkpoint or a setting is not right, or there is something at `out`.
    """
    require_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)  # Where that fails, it had better fail before training.
    place = find_device(settings.device)
    read = _read_classes if task == "classify" else _read_spans
    examples = read(train_file, dev_file)
    origin = load_checkpoint(checkpoint)
    network = origin.network.to(place)
    length = settings.max_length or min(_LENGTHS[task], network.config.context)
    framing = Framing(network.config, origin.tokenizer, length)
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        model = attach(task, network, framing, examples.classes, answers_none=examples.answers_none)
        loss = train(model.module, model.items(examples.learned), model.loss, settings, on_step)
    predicted = model.predict(examples.judged, settings.batch)
    outcome = Outcome(
        measures=model.measure(examples.judged, predicted),
        loss=loss,
        num_train=len(examples.learned),
        num_dev=len(examples.judged),
        num_skipped=examples.num_skipped,
    )
    facts = {**asdict(outcome), "train_file": str(train_file), "dev_file": str(dev_file)}
    texts = dict([(METRICS, json.dumps(facts, indent=2) + "\n"), model.render(examples.judged, predicted)])
    write_folder(out, model, origin, asdict(settings), texts)
    return outcome


def _read_classes(train_file: Path, dev_file: Path) -> _Examples:
    learned, judged = read_labelled_texts(train_file), read_labelled_texts(dev_file)
    if judged.are_scores != learned.are_scores:
        with_scores, other = (train_file, dev_file) if learned.are_scores else (dev_file, train_file)
        raise ModelError(f"{with_scores} has scores, but {other} has classes; give files of one task")
    if not learned.are_scores:
        if len(learned.classes) < 2:
            raise ModelError(
                f"{train_file}: every label is {learned.classes[0]!r}; give examples of two classes or more"
            )
        require_known(judged.examples, learned.classes)
    return _Examples(learned=learned.examples, judged=judged.examples, classes=learned.classes)


def _read_spans(train_file: Path, dev_file: Path) -> _Examples:
    questions, judged = read_questions(train_file), read_questions(dev_file)
    learned = [one for one in questions if not one.is_misplaced]
    if not learned:
        raise ModelError(
            f"{train_file}: no answer stands in its text where answer_start says; count characters from 0"
        )
    return _Examples(
        learned=learned,
        judged=judged,
        num_skipped=len(questions) - len(learned),
        answers_none=any(not one.answers for one in learned),
    )
