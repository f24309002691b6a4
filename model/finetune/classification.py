"""Telling the class of a text, or of how two texts relate; or a score instead of a class."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from model.finetune.framing import Framed, Framing
from model.finetune.glue import Labelled, TextPair
from model.finetune.heads import Classifier
from model.finetune.metrics import class_measures, score_measures

Item = tuple[Framed, float]


class TextClassifier:
    """A network that reads texts and tells their class.

    Args:
        module: The network with its head, of as many outputs as classes, or of one for scores.
        framing: How it reads texts.
        classes: What the outputs stand for; none where the output is a score.

    Attributes:
        module: As given.
        framing: As given.
        classes: As given.
    """

    def __init__(self, module: Classifier, framing: Framing, classes: Sequence[str]) -> None:
        self.module = module
        self.framing = framing
        self.classes = tuple(classes)

    def items(self, examples: Sequence[Labelled]) -> list[Item]:
        """What is learned of examples: sequences, each with its class's number or its score."""
        return [(self._frame(one), self._target(one)) for one in examples]

    def loss(self, items: Sequence[Item]) -> Tensor:
        """Mean cross-entropy in nats, or mean squared error of scores; a scalar."""
        logits = self._logits([framed for framed, _ in items])
        targets = torch.tensor([target for _, target in items], device=logits.device)
        if not self.classes:
            return F.mse_loss(logits[:, 0], targets)
        return F.cross_entropy(logits, targets.long())

    def predict(self, texts: Sequence[TextPair], rows: int = 32) -> list[str]:
        """The likeliest class of each text, or its score; `rows` at a time, which changes no answer."""
        framed = [self._frame(one) for one in texts]
        by_length = sorted(range(len(framed)), key=lambda place: len(framed[place].tokens))
        found: dict[int, str] = {}
        self.module.eval()
        with torch.inference_mode():
            for start in range(0, len(framed), rows):
                places = by_length[start : start + rows]
                found.update(zip(places, self._read(self._logits([framed[p] for p in places])), strict=True))
        return [found[place] for place in range(len(framed))]

    def measure(self, examples: Sequence[Labelled], predicted: Sequence[str]) -> dict[str, float]:
        """How good predictions are; see `model.finetune.metrics`."""
        labels = [one.label for one in examples]
        if not self.classes:
            return score_measures([float(label) for label in labels], [float(score) for score in predicted])
        return class_measures(labels, predicted, self.classes)

    def render(self, examples: Sequence[Labelled], predicted: Sequence[str]) -> tuple[str, str]:
        """Name and text of the file of predictions, in the form that GLUE takes."""
        numbered = zip(range(len(examples)), predicted, strict=True)
        lines = [f"{number}\t{guess}\n" for number, guess in numbered]
        return "predictions.tsv", "".join(["index\tprediction\n", *lines])

    def _frame(self, texts: TextPair) -> Framed:
        return self.framing.frame_texts(texts.first, texts.second)

    def _target(self, example: Labelled) -> float:
        return self.classes.index(example.label) if self.classes else float(example.label)

    def _logits(self, framed: Sequence[Framed]) -> Tensor:
        device = self.module.head.weight.device
        logits: Tensor = self.module(self.framing.batch(framed, device))
        return logits

    def _read(self, logits: Tensor) -> list[str]:
        if not self.classes:
            return [f"{score:.6g}" for score in logits[:, 0].tolist()]
        return [self.classes[place] for place in logits.argmax(1).tolist()]
