"""A fine-tuned network's folder, which is whole or absent.

model.safetensors   weights: of the network under `network.`, of the new output under `head.`
tokenizer.json      the tokenizer, as it was
config.json         task, shape, settings, what it was made from, and size and sha256 of the two above
metrics.json        measures on the development file, and what was read
predictions.tsv     classes: the line's number from 0 and what it was taken for, as GLUE has it
predictions.json    answers by the questions' ids, as SQuAD's official script reads them
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file

from model.checkpoint import (
    CONFIG,
    TOKENIZER,
    UNUSABLE_WEIGHTS,
    WEIGHTS,
    file_facts,
    load_tokenizer,
    new_folder,
    require_depth,
    save_weights,
)
from model.devices import find_device, is_out_of_memory
from model.errors import ModelError
from model.finetune.classification import TextClassifier
from model.finetune.framing import Framing
from model.finetune.heads import Classifier, SpanReader
from model.finetune.spans import QuestionReader
from model.generation.generate import Checkpoint
from model.networks import Network, architecture_of, build_network, parse_config

Task = Literal["classify", "spans"]
FineTuned = TextClassifier | QuestionReader

METRICS = "metrics.json"


def write_folder(
    out: Path,
    model: FineTuned,
    origin: Checkpoint,
    settings: Mapping[str, Any],
    outcome: Mapping[str, str],
) -> None:
    """Writes a fine-tuned network into the new folder `out`.

    Args:
        out: The folder.
        model: The network.
        origin: What it was made from.
        settings: How it was trained, as plain values.
        outcome: Texts of further files, by their names.

    Raises:
        ModelError: There is something at `out`.
    """
    with new_folder(out) as draft:
        weights = {name: value.detach().cpu() for name, value in model.module.state_dict().items()}
        save_weights(weights, draft / WEIGHTS)
        shutil.copyfile(origin.path / TOKENIZER, draft / TOKENIZER)
        (draft / CONFIG).write_text(_document(draft, model, origin, settings), "utf-8")
        for name, text in outcome.items():
            (draft / name).write_text(text, "utf-8")


def load_fine_tuned(path: Path, device: str = "cpu") -> FineTuned:
    """A fine-tuned network, to `predict` with.

    Raises:
        ModelError: `path` is no folder of one, a file is missing or damaged, or there is no such device.
    """
    place = find_device(device)
    file = path / CONFIG
    if not file.is_file():
        raise ModelError(f"{path} is no fine-tuned model (it has no {CONFIG}); make one by webtext finetune")
    try:
        document = json.loads(file.read_bytes())
        config = parse_config(document["architecture"], document["config"])
        task, length = document["task"], int(document["max_length"])
        classes, answers_none = tuple(map(str, document["classes"])), bool(document["answers_none"])
        facts = dict(document["files"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ModelError(
            f"{file} is damaged or no fine-tuned model's ({type(error).__name__}: {error});"
            " make one by webtext finetune"
        ) from error
    for name in (WEIGHTS, TOKENIZER):
        if not (path / name).is_file() or file_facts(path / name) != facts.get(name):
            raise ModelError(
                f"{path / name} is missing or damaged (its size or sha256 is not the one in {CONFIG});"
                " copy the folder again"
            )
    framing = Framing(config, load_tokenizer(path, config), length)
    try:
        weights = load_file(path / WEIGHTS)
        require_depth(config, weights)
        with torch.device("meta"):
            network = build_network(config)
        model = attach(task, network, framing, classes, answers_none=answers_none)
        model.module.load_state_dict(weights, assign=True)
    except UNUSABLE_WEIGHTS as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{path / WEIGHTS} is damaged ({error}); copy the folder again") from error
    model.module.eval().to(place)
    return model


def attach(
    task: Task, network: Network, framing: Framing, classes: tuple[str, ...], *, answers_none: bool
) -> FineTuned:
    """A network with a new output for a task; its first weights are drawn from torch's global generator."""
    with torch.device(next(network.parameters()).device):
        if task == "classify":
            return TextClassifier(Classifier(network, len(classes) or 1), framing, classes)
        return QuestionReader(SpanReader(network), framing, answers_none=answers_none)


def _document(draft: Path, model: FineTuned, origin: Checkpoint, settings: Mapping[str, Any]) -> str:
    config = model.module.network.config
    values = {
        "task": "classify" if isinstance(model, TextClassifier) else "spans",
        "classes": list(model.classes) if isinstance(model, TextClassifier) else [],
        "answers_none": isinstance(model, QuestionReader) and model.answers_none,
        "max_length": model.framing.max_length,
        "architecture": architecture_of(config),
        "config": asdict(config),
        "checkpoint": {"path": str(origin.path), **file_facts(origin.path / WEIGHTS)},
        "settings": dict(settings),
        "files": {name: file_facts(draft / name) for name in (WEIGHTS, TOKENIZER)},
    }
    return json.dumps(values, indent=2) + "\n"
