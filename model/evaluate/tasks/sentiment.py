"""Sentiment as a question: is a review positive or negative?

The reviews are SST-2's (Socher et al. 2013) as GLUE gives them out. The question is asked in words, and the
likelier of the two answers is the model's; lm-evaluation-harness's task sst2 asks in the same form.
"""

from collections.abc import Sequence
from pathlib import Path

from model.evaluate.reading import read_lines
from model.evaluate.task import EvaluationFileError, Item, Task
from model.evaluate.tasks import choices
from model.evaluate.tasks.choices import Choices
from model.evaluate.tasks.treebank import detokenize

_HEADER = "sentence\tlabel"
_QUESTION = "\nQuestion: Is this review positive or negative?\nAnswer:"
_ANSWERS = (" negative", " positive")  # by label


def read(path: Path) -> list[Item]:
    r"""Reviews of SST-2's dev.tsv or train.tsv: a header, then `sentence\tlabel` a line.

    Raises:
        EvaluationFileError: Where a line is something else (test.tsv has no labels), or there is no review.
    """
    lines = read_lines(path)
    number, header = next(lines)
    if header.strip() != _HEADER:
        raise EvaluationFileError(
            f'{path}, line 1: not the header "sentence<TAB>label": give dev.tsv or train.tsv of SST-2 '
            "(test.tsv has no labels)"
        )
    items = []
    for number, line in lines:
        if not line.strip():
            continue
        sentence, _, label = line.partition("\t")
        if label not in {"0", "1"} or not sentence.strip():
            raise EvaluationFileError(
                f"{path}, line {number}: not a sentence, a tab, and 0 or 1: the file may be cut: get it again"
            )
        review = "".join("".join(texts) for texts in detokenize([sentence]))
        fields = Choices(review + _QUESTION, _ANSWERS, int(label))
        items.append(Item(f"line {number}", fields.solved, fields))
    if not items:
        raise EvaluationFileError(f"{path}, line {number}: no review behind the header: get the file again")
    return items


def _texts(item: Item) -> Sequence[str]:
    return (item.fields.context.removesuffix(_QUESTION),)


TASKS = (
    Task(
        name="sentiment",
        title="Sentiment (SST-2)",
        measures=("accuracy",),
        read=read,
        ask=choices.ask,
        judge=choices.judge,
        texts=_texts,
        separator="\n\n",
        is_better_high=frozenset({"accuracy"}),
        units={"accuracy": "%"},
    ),
)
