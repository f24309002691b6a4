"""Labelled texts in the forms of GLUE's TSV files (Wang et al. 2019).

A file has one example a line, its columns separated by tabs and without quoting, under a header that names
them. The texts are in `sentence`, or two of them in `sentence1` and `sentence2` (RTE, MNLI, WNLI, STS-B),
`question` and `sentence` (QNLI), `question1` and `question2` (QQP) or `#1 String` and `#2 String` (MRPC);
what they are is in `label`, `gold_label` (MNLI), `Quality` (MRPC), `is_duplicate` (QQP) or, a number and
no class, `score` (STS-B). CoLA's files have no header: source, label, the author's mark, sentence.

Source: the files behind https://gluebenchmark.com/tasks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.evaluate.reading import read_lines
from model.evaluate.task import EvaluationFileError

_TEXTS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("#1 String", "#2 String"),
    ("sentence",),
)
_LABELS = ("gold_label", "label", "Quality", "is_duplicate")
_SCORE = "score"
_COLA = ["source", "label", "mark", "sentence"]


@dataclass(frozen=True, slots=True)
class TextPair:
    """What is classified: a text, or two that stand in some relation.

    Attributes:
        first: The text.
        second: The other one, None where there is one only.
    """

    first: str
    second: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled(TextPair):
    """A line of a file.

    Attributes:
        label: What it is, as written.
        where: File and line, for messages.
    """

    label: str
    where: str


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """A file's examples.

    Attributes:
        examples: In the file's order, at least one.
        are_scores: Whether labels are numbers to come near to, and not classes.
    """

    examples: Sequence[Labelled]
    are_scores: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, sorted; none where they are scores."""
        return () if self.are_scores else tuple(sorted({one.label for one in self.examples}))


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where in a line what is asked for stands."""

    texts: tuple[int, ...]
    label: int
    count: int
    are_scores: bool


def read_labelled_texts(path: Path) -> LabelledTexts:
    """The examples of a training or development file.

    Raises:
        EvaluationFileError: The file is missing, empty, cut or of another form; where a line is, it is named.
    """
    lines = [(number, line) for number, line in read_lines(path) if line.strip()]
    head = lines[0][1].split("\t")
    is_cola = len(head) == len(_COLA) and head[1] in ("0", "1")
    columns = _find_columns(_COLA if is_cola else head, path)
    examples = [_parse(line, columns, f"{path}, line {number}") for number, line in lines[not is_cola :]]
    if not examples:
        raise EvaluationFileError(f"{path}: has a header and no examples: get the file again")
    return LabelledTexts(examples, columns.are_scores)


def require_known(examples: Sequence[Labelled], classes: Sequence[str]) -> None:
    """Raises EvaluationFileError where an example's label is none of the classes."""
    for example in examples:
        if example.label not in classes:
            shown = ", ".join(classes[:8]) + (", …" if len(classes) > 8 else "")
            raise EvaluationFileError(
                f"{example.where}: the label {example.label!r} is none of the training file's ({shown});"
                " mend it, or give files of one task"
            )


def _find_columns(head: list[str], path: Path) -> _Columns:
    texts = next((names for names in _TEXTS if set(names) <= set(head)), None)
    label = next((name for name in (*_LABELS, _SCORE) if name in head), None)
    if texts is None:
        raise EvaluationFileError(
            f"{path}, line 1: names no column of texts: give a tab-separated file whose first line has"
            f" sentence, or sentence1 and sentence2, and label (it begins with {_beginning(head)})"
        )
    if label is None:
        raise EvaluationFileError(
            f"{path}, line 1: names no column of labels ({', '.join((*_LABELS, _SCORE))}): give a training or"
            " development file, as a test file has none"
        )
    return _Columns(tuple(map(head.index, texts)), head.index(label), len(head), label == _SCORE)


def _beginning(columns: list[str]) -> str:
    """How a line begins, short enough for a message."""
    line = "\t".join(columns)
    return repr(line if len(line) <= 40 else f"{line[:40]}…")


def _parse(line: str, columns: _Columns, where: str) -> Labelled:
    values = line.split("\t")
    if len(values) != columns.count:
        raise EvaluationFileError(
            f"{where}: has {len(values)} columns and not {columns.count}, as the first line:"
            " the file may be cut there; get it again, or mend the line"
        )
    label = values[columns.label]
    if not label.strip():
        raise EvaluationFileError(f"{where}: has no label; get the file again, or leave the line out")
    if columns.are_scores:
        _require_number(label, where)
    return Labelled(*(values[at] for at in columns.texts), label=label, where=where)


def _require_number(label: str, where: str) -> None:
    try:
        is_number = math.isfinite(float(label))
    except ValueError:
        is_number = False
    if not is_number:
        raise EvaluationFileError(f"{where}: the score {label!r} is no number; mend the line")
