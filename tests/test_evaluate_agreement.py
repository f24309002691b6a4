"""A small GPT-2 that was trained here, and its export asked through transformers: every score is the same.

Left out are answers that are drawn (summaries) or searched for with beams (SQuAD), where
`test_evaluate_generation.py` holds the search against transformers too.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from model.config import ModelSettings, TrainSettings
from model.evaluate.loading import load_language_model
from model.evaluate.registry import TASKS
from model.evaluate.requests import Generation, Likelihood, Likely, Reply, Request, TextLikelihood, Written
from model.evaluate.run import evaluate
from model.evaluate.shots import ExamplePool
from model.exchange.exchange import export_checkpoint
from model.training.train import pretrain
from tests.test_evaluate_language_model import log_softmax, split
from tests.test_model_shards import make_documents, write_run
from tokenizer.encode import Tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

CONTEXT = 128


@dataclass(frozen=True)
class Transformers:
    """Answers plainly, one request at a time, by a model of transformers."""

    network: Any
    tokenizer: Tokenizer
    context: int = CONTEXT

    def answer(
        self, requests: Sequence[Request], on_progress: Callable[[int, int], None] | None = None
    ) -> list[Reply]:
        """As `LanguageModel.answer`."""
        del on_progress
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Reply:
        if isinstance(request, Generation):
            return self._write(request)
        if isinstance(request, Likelihood):
            tokens, num_asked = split(self.tokenizer, request.context, request.continuation)
        else:
            assert isinstance(request, TextLikelihood)
            tokens = [self.tokenizer.eot_id, *self.tokenizer.encode(request.text)]
            num_asked = len(tokens) - 1
        return self._score(tokens, num_asked)

    def _score(self, tokens: list[int], num_asked: int) -> Likely:
        """Windows that lie half a context apart; one is enough where it reaches all that is asked for."""
        total, is_likeliest = 0.0, True
        done, last = len(tokens) - 1 - num_asked, len(tokens) - 1
        end = last if num_asked <= CONTEXT else CONTEXT
        while done < last:
            begin = max(0, end - CONTEXT)
            found = log_softmax(self.network, tokens[begin:end])
            for place in range(done, end):
                total += float(found[place - begin, tokens[place + 1]])
                is_likeliest &= int(found[place - begin].argmax()) == tokens[place + 1]
            done, end = end, min(end + CONTEXT // 2, last)
        return Likely(total, num_asked, is_likeliest)

    def _write(self, request: Generation) -> Written:
        assert (request.top_k, request.beams) == (1, 1)
        prompt = torch.tensor([self.tokenizer.encode(request.prompt)])
        assert prompt.size(1) + request.max_tokens <= CONTEXT
        first = [self.tokenizer.encode(text) for text in request.not_first]
        specials = [i for i in self.tokenizer.specials.values() if i != self.tokenizer.eot_id]
        written = self.network.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=request.max_tokens,
            pad_token_id=self.tokenizer.eot_id,
            suppress_tokens=specials,
            begin_suppress_tokens=[tokens[0] for tokens in first if len(tokens) == 1] or None,
        )[0, prompt.size(1) :].tolist()
        text = self.tokenizer.decode([token for token in written if token != self.tokenizer.eot_id])
        return Written(min((text.partition(stop)[0] for stop in request.stop), key=len, default=text))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Transformers]:
    folder = tmp_path_factory.mktemp("agreement")
    write_run(folder)
    train = TrainSettings(steps=40, batch_tokens=1024, micro_batch=8, device="cpu", learning_rate=3e-3)
    model = ModelSettings(architecture="gpt2", preset="tiny")
    checkpoint = pretrain(folder, model, train, folder / "checkpoints").checkpoint
    export_checkpoint(checkpoint, folder / "exported")
    ours = load_language_model(checkpoint)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / "exported").train(mode=False)
    return ours, Transformers(theirs, ours.tokenizer)


def texts() -> list[str]:
    """Documents of the kind that the model has read, and not those."""
    return [" ".join(document).replace("\n", " ") for document in make_documents(12, seed=77)]


def lambada(folder: Path) -> Path:
    return write_lines(folder / "lambada.jsonl", [{"text": " ".join(one.split()[:14])} for one in texts()])


def hellaswag(folder: Path) -> Path:
    words = [one.split()[:12] for one in texts()]
    records = [
        {
            "context": " ".join(one[:6]),
            "endings": [" ".join(other[6:9]) for other in words[:4]],
            "label": i % 4,
        }
        for i, one in enumerate(words)
    ]
    return write_lines(folder / "hellaswag.jsonl", records)


def blimp(folder: Path) -> Path:
    words = [one.split()[:8] for one in texts()]
    records = [{"sentence_good": " ".join(one), "sentence_bad": " ".join(reversed(one))} for one in words]
    return write_lines(folder / "blimp.jsonl", records)


def questions(folder: Path) -> Path:
    words = [one.split() for one in texts()]
    records = [{"question": " ".join(one[:5]), "answer": [" ".join(one[5:7])]} for one in words]
    return write_lines(folder / "questions.jsonl", records)


def text8(folder: Path) -> Path:
    """Longer than a window."""
    (folder / "text8").write_text(re.sub(r"[^a-z]+", " ", " ".join(texts()).lower())[:3000])
    return folder / "text8"


def write_lines(file: Path, records: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


@pytest.mark.parametrize(
    ("name", "shots", "write"),
    [
        ("lambada", 0, lambada),
        ("lambada", 2, lambada),
        ("hellaswag", 0, hellaswag),
        ("hellaswag", 1, hellaswag),
        ("blimp", 0, blimp),
        ("natural-questions", 1, questions),
        ("text8", 0, text8),
    ],
)
def test_every_score_is_that_of_transformers(
    models: tuple[Any, Transformers], tmp_path: Path, name: str, shots: int, write: Callable[[Path], Path]
) -> None:
    task = TASKS[name]
    items = task.read(write(tmp_path))
    pool = ExamplePool(task, items, seed=0) if shots else None
    ours, theirs = (evaluate(model, task, items, shots=shots, pool=pool) for model in models)
    assert ours.measures.keys() == set(task.measures)
    assert ours.measures == pytest.approx(theirs.measures, rel=1e-4)
    assert ours.mean_examples == shots
