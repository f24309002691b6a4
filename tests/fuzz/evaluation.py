"""Evaluation files: the readers of all tasks, of fine-tuning, and of the sets that filter keeps out."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.evaluate.registry import TASKS
from model.evaluate.task import EvaluationFileError
from model.finetune.glue import read_labelled_texts
from model.finetune.squad import read_questions
from pipeline.errors import InputError
from pipeline.filter.evaluation_sets import read_examples
from tests.fuzz.target import Target, file_of


def _task(name: str, seeds: tuple[bytes, ...], *pieces: bytes, files: tuple[str, ...] = ("file",)) -> Target:
    """A task's reader, and what it asks a model; of tasks that take several files, all are the same bytes."""

    def read(path: Path) -> Iterable[Any]:
        task = TASKS[name]
        return [(task.texts(item), name == "masked" or task.ask(item, "")) for item in task.read(path)]

    def run(data: bytes) -> bool:
        """What a task is measured on."""
        for file in files:
            path = file_of(data, f"evaluation-{name}/{file}")
        return _is_read(read, path.parent if path.suffix == ".story" else path)

    return Target(run, lambda: seeds, pieces, called=f"evaluation-{name}")


def _is_read(read: Callable[[Path], Iterable[Any]], path: Path) -> bool:
    try:
        list(read(path))
    except EvaluationFileError:
        return False
    return True


def glue_files(data: bytes) -> bool:
    """Examples with labels, to fine-tune on."""
    return _is_read(lambda path: read_labelled_texts(path).examples, file_of(data, "train.tsv"))


def squad_to_learn(data: bytes) -> bool:
    """Questions with answers and their places, to fine-tune on."""
    return _is_read(lambda path: [one.answer for one in read_questions(path)], file_of(data, "train.json"))


def contamination_sets(data: bytes) -> bool:
    """A set whose texts filter keeps out, in each form, packed or not, as the first byte says."""
    names = ("a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.txt", "a.json.gz", "a.txt.xz")
    path = file_of(data[1:], f"sets/{names[(data[0] if data else 0) % len(names)]}")
    try:
        return bool(list(read_examples(path)))
    except InputError:
        return False
    finally:
        path.unlink()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


_QUESTION = {"id": "q1", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]}
_NO_ANSWER = {"id": "q2", "question": "Why?", "answers": [], "is_impossible": True}
_SQUAD = _json(
    {"data": [{"title": "Ann", "paragraphs": [{"context": "Ann came.", "qas": [_QUESTION, _NO_ANSWER]}]}]}
)
_COQA_TURNS = [{"input_text": "Who came?", "turn_id": 1}, {"input_text": "When?", "turn_id": 2}]
_COQA_STORY = {
    "id": "s1",
    "story": "Ann came.",
    "questions": _COQA_TURNS,
    "answers": [{"input_text": "Ann", "turn_id": 1}, {"input_text": "no", "turn_id": 2}],
    "additional_answers": {"0": [{"input_text": "she", "turn_id": 1}, {"input_text": "x", "turn_id": 2}]},
}
_CBT = b"".join(b"%d A sentence , he said .\n" % number for number in range(1, 21))
_CBT += b"21 He saw the XXXXX .\tdog\t\tdog|cat|a|b|c|d|e|f|g|h\n\n"
_WINOGRAD = (
    b"<collection><schema><text><txt1>The man saw the boy when</txt1><pron>he</pron><txt2>was ill.</txt2>"
    b"</text><answers><answer>The man</answer><answer>the boy</answer></answers>"
    b"<correctAnswer> B. </correctAnswer></schema></collection>"
)
_HELLASWAG = {"activity_label": "Waving", "ctx_a": "She waves.", "ctx_b": "he", "endings": list("abcd")}
_SGML = b'<srcset setid="n"><doc>\n<p>\n<seg id="1">A sentence &amp; more .</seg>\n</p></doc></srcset>\n'
_WIKITEXT = b" \n = Title = \n \n A text @-@ with <unk> , and so on .\n = = Part = = \n Another .\n"
_STORY = b"(CNN) Some article.\n\nMore of it.\n\n@highlight\n\nA summary\n\n@highlight\n\nOf two lines\n"
_GLUE = (
    b"sentence\tlabel\na film\t1\n", b"gj04\t1\t\tThey left.\n",
    b"id\tsentence1\tsentence2\tscore\n1\ta\tb\t2.5\n",
)  # fmt: skip

_KEYS = (
    *b'"data" "title" "paragraphs" "context" "qas" "answers" "text" "id" "question" "story"'.split(),
    *b'"turn_id" "label" "endings" "input_text" null'.split(),
)


def _sets() -> tuple[bytes, ...]:
    table = io.BytesIO()
    pq.write_table(pa.table({"a": ["some text", "more"], "b": [["x"], ["y", "z"]]}), table)
    rows = io.StringIO()
    csv.writer(rows).writerows([["question", "answer"], ["who, or what?", 'it "was"']])
    return (
        b"\0" + _json({"a": ["some text", {"b": "more"}]}) + b"\nno json\n",
        b"\1" + _SQUAD,
        b"\2" + rows.getvalue().encode(),
        b"\3a\tb\n",
        b"\4" + table.getvalue(),
        b"\5some text\r\nmore\r",
        b"\6" + gzip.compress(_SQUAD, mtime=0),
    )


TARGETS = (
    _task("lambada", (_json({"text": "He saw a dog"}) + b"\n", b"he saw a dog\nshe saw it\n"), *_KEYS),
    _task("cbt-cn", (_CBT, _CBT * 2), b"XXXXX", b"\t\t", b"|", b"21 "),
    _task("winograd", (_WINOGRAD,), b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"&x;", b"</text>", b"<?a?>"),
    _task("hellaswag", (_json({**_HELLASWAG, "label": 1}), _json({**_HELLASWAG, "label": "3"})), *_KEYS),
    _task("coqa", (_json({"data": [_COQA_STORY]}),), *_KEYS),
    _task("squad", (_SQUAD,), *_KEYS),
    _task("natural-questions", (_json({"question": "who?", "answer": ["Ann", "she"]}),), *_KEYS),
    _task("sentiment", (b"sentence\tlabel\na good , old film\t1\nbad .\t0\n",), b"\t1\n"),
    _task("blimp", (_json({"sentence_good": "He is.", "sentence_bad": "He are."}),), *_KEYS),
    _task("masked", (b"A text.\n\nAnother.\n",)),
    _task("wikitext2", (_WIKITEXT,), b" = ", b" @-@ "),
    _task("ptb", (b" a sentence with N dollars <unk> \n it 's one\n",), b" n't ", b"N"),
    _task("1bw", (b'It \'s a sentence , he said .\n" Yes . "\n',), b" ' ", b'"'),
    _task("enwik8", (b"<page>Some text</page>\n" * 9,)),
    _task("text8", (b"some small letters",)),
    _task("cnn-dm", (_STORY,), b"@highlight", files=("a.story",)),
    _task("wmt14-en-fr", (b"a sentence\nanother\n",), files=("news.en", "news.fr")),
    _task(
        "wmt14-fr-en", (_SGML,), b"<seg", b"</seg>", b"&amp;", files=("news-ref.en.sgm", "news-src.fr.sgm")
    ),
    Target(glue_files, lambda: _GLUE, (b"label", b"score", b"nan", b"\t")),
    Target(squad_to_learn, lambda: (_SQUAD,), (*_KEYS, b'"answer_start"', b'"is_impossible": true')),
    Target(contamination_sets, _sets, _KEYS),
)
