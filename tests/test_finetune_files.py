"""What is learned from: GLUE's TSV and SQuAD's JSON, and how their answers become tokens and text again."""

import gzip
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from model.errors import ModelError
from model.finetune.folder import Task
from model.finetune.framing import FramedBatch, Framing
from model.finetune.glue import read_labelled_texts
from model.finetune.heads import SpanReader
from model.finetune.run import fine_tune
from model.finetune.spans import LONGEST_ANSWER, QuestionReader, Window, _likeliest
from model.finetune.squad import Answer, Question, read_questions
from model.finetune.train import FineTuneSettings
from model.networks import build_network
from tests.finetune_checkpoints import tiny_configs
from tests.test_model_shards import make_vocabulary
from tokenizer.encode import Tokenizer

# Heads and a line each of GLUE's files, and what is to be read in it.
MNLI = [
    "index",
    "promptID",
    "pairID",
    "genre",
    *(f"sentence{n}_{p}" for p in ("binary_parse", "parse") for n in "12"),
]
MRPC = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String"
GLUE = {
    "SST-2": ("sentence\tlabel", 'a "fine" film \t1', "1", ('a "fine" film ',)),
    "MRPC": (MRPC, "0\t17\t18\tOne .\tTwo .", "0", ("One .", "Two .")),
    "RTE": ("index\tsentence1\tsentence2\tlabel", "0\tA\tB\tnot_entailment", "not_entailment", ("A", "B")),
    "QNLI": ("index\tquestion\tsentence\tlabel", "0\tWho?\tHe.\tentailment", "entailment", ("Who?", "He.")),
    "QQP": ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "0\t1\t2\tA?\tB?\t0", "0", ("A?", "B?")),
    "MNLI": (
        "\t".join([*MNLI, "sentence1", "sentence2", "label1", "gold_label"]),
        "\t".join(["0", "1", "2", "fiction", *"pqrs", "A", "B", "neutral", "contradiction"]),
        "contradiction",
        ("A", "B"),
    ),
    "CoLA": ("gj04\t1\t\tOur friends won't buy it.", "gj04\t0\t*\tThey drank.", "0", ("They drank.",)),
    "STS-B": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        "0\tcaptions\tMSRvid\t2012\t0001\tnone\tnone\tA plane.\tAn air plane.\t4.750",
        "4.750",
        ("A plane.", "An air plane."),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GLUE)
def test_glues_files_are_read(name: str, tmp_path: Path) -> None:
    head, line, label, texts = GLUE[name]
    path = tmp_path / "dev.tsv"
    path.write_text(f"{head}\n{line}\n", "utf-8")
    found = read_labelled_texts(path)
    example = found.examples[-1]
    assert (example.label, example.first, example.second) == (label, texts[0], (*texts, None)[1])
    assert example.where == f"{path}, line 2"
    assert len(found.examples) == (2 if name == "CoLA" else 1)
    assert found.are_scores == (name == "STS-B")
    assert found.classes == (() if name == "STS-B" else ("0", "1") if name == "CoLA" else (label,))


BAD_TSV: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "train.tsv: empty"),
    "header alone": (b"sentence\tlabel\n", "train.tsv: has a header and no examples"),
    "cut line": (b"sentence\tlabel\na\t1\nb", "train.tsv, line 3: has 1 columns and not 2"),
    "too many columns": (b"sentence\tlabel\na\t1\t2\n", "train.tsv, line 2: has 3 columns and not 2"),
    "no texts": (b"words\tlabel\na\t1\n", "line 1: names no column of texts.*begins with 'words.tlabel'"),
    "no labels": (b"index\tsentence\n0\ta\n", "line 1: names no column of labels"),
    "blank label": (b"sentence\tlabel\na\t\n", "train.tsv, line 2: has no label"),
    "one class": (b"sentence\tlabel\na\t1\nb\t1\n", "train.tsv: every label is '1'"),
    "no number": (b"sentence1\tsentence2\tscore\na\tb\thigh\n", "line 2: the score 'high' is no number"),
    "nan": (b"sentence1\tsentence2\tscore\na\tb\tnan\n", "line 2: the score 'nan' is no number"),
    "binary": (b"\x00\x01\xff\xfe", "train.tsv, line 1"),
    "cut gzip": (gzip.compress(b"sentence\tlabel\na\t1\n" * 99)[:-9], "train.tsv: a cut or damaged gzip"),
}


def refused(folder: Path, task: Task, train: Path, dev: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        fine_tune(folder / "no checkpoint", task, train, dev, folder / "out", FineTuneSettings(device="cpu"))


@pytest.mark.parametrize("name", BAD_TSV)
def test_bad_tables_are_refused_by_line(name: str, tmp_path: Path) -> None:
    data, message = BAD_TSV[name]
    train, dev = tmp_path / "train.tsv", tmp_path / "dev.tsv"
    train.write_bytes(data)
    dev.write_text("sentence\tlabel\na\t1\n" if "score" not in data.decode(errors="ignore") else "")
    refused(tmp_path, "classify", train, dev, message)


def test_the_development_file_must_be_of_the_same_task(tmp_path: Path) -> None:
    train, dev = tmp_path / "train.tsv", tmp_path / "dev.tsv"
    train.write_text("sentence\tlabel\na\t1\nb\t0\n")
    dev.write_text("sentence\tlabel\na\t1\nb\tmaybe\n")
    refused(tmp_path, "classify", train, dev, r"dev.tsv, line 3: the label 'maybe' is none of .* \(0, 1\)")
    dev.write_text("sentence\tscore\na\t1\n")
    refused(tmp_path, "classify", train, dev, "dev.tsv has scores, but .*train.tsv has classes")
    refused(tmp_path, "classify", train, tmp_path / "none.tsv", "none.tsv: cannot be read")


def squad(**changes: Any) -> dict[str, Any]:
    question = {"id": "q1", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 4}]}
    paragraph = {"context": "See Ann go.", "qas": [{**question, **changes}]}
    return {"version": "2.0", "data": [{"title": "T", "paragraphs": [paragraph]}]}


def test_squads_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(squad()))
    (question,) = read_questions(path)
    assert question == Question("q1", "Who?", "See Ann go.", (Answer("Ann", 4),))
    assert question.answer == Answer("Ann", 4)
    path.write_text(json.dumps(squad(is_impossible=True, answers=[], plausible_answers=[{"text": "x"}])))
    (question,) = read_questions(path)
    assert (question.answers, question.answer, question.is_misplaced) == ((), None, False)
    two = [{"text": "Bob", "answer_start": 4}, {"text": "go", "answer_start": 8}]
    path.write_text(json.dumps(squad(answers=two)))
    assert read_questions(path)[0].answer == Answer("go", 8)
    path.write_text(json.dumps(squad(answers=two[:1])))
    assert read_questions(path)[0].is_misplaced


WHERE = "article 1, paragraph 1, question 1"
BAD_JSON: dict[str, tuple[str, str]] = {
    "empty": ("", "train.json: empty"),
    "cut": (json.dumps(squad())[:-20], "train.json: not JSON"),
    "a list": ("[]", 'train.json: no list of objects under "data"'),
    "no questions": ('{"data": []}', "train.json: no questions"),
    "no paragraphs": ('{"data": [{}]}', 'train.json, article 1: no list of objects under "paragraphs"'),
    "no context": ('{"data": [{"paragraphs": [{"qas": []}]}]}', 'paragraph 1: no text under "context"'),
    "no id": (json.dumps(squad(id=7)), f'{WHERE}: no text under "id"'),
    "no answers": (json.dumps(squad(answers=[])), f"{WHERE}: no answers"),
    "answers of a test": (json.dumps(squad(answers=None)), f"{WHERE}.*answers"),
    "no start": (json.dumps(squad(answers=[{"text": "Ann"}])), f'{WHERE}, answer 1: "answer_start" is not'),
    "negative": (
        json.dumps(squad(answers=[{"text": "Ann", "answer_start": -1}])),
        f'{WHERE}, answer 1: "answer_start" is not',
    ),
    "blank": (json.dumps(squad(answers=[{"text": " ", "answer_start": 3}])), f"{WHERE}, answer 1: no text"),
    "all misplaced": (
        json.dumps(squad(answers=[{"text": "Ann", "answer_start": 5}])),
        "train.json: no answer stands in its text where answer_start says",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_questions_are_refused_by_place(name: str, tmp_path: Path) -> None:
    text, message = BAD_JSON[name]
    train, dev = tmp_path / "train.json", tmp_path / "dev.json"
    train.write_text(text)
    dev.write_text(json.dumps(squad()))
    refused(tmp_path, "spans", train, dev, message)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(make_vocabulary(), "")


def reader(tokenizer: Tokenizer, architecture: str, length: int = 48) -> QuestionReader:
    config = replace(tiny_configs(tokenizer.vocab_size)[architecture], context=256)
    module = SpanReader(build_network(config))
    return QuestionReader(module, Framing(config, tokenizer, length), answers_none=True)


@pytest.mark.parametrize("architecture", ["albert", "gpt2"])
@pytest.mark.parametrize("length", [0, 1, 30, 31, 45, 200])
def test_windows_hold_every_token_and_one_is_the_best_for_it(
    tokenizer: Tokenizer, architecture: str, length: int
) -> None:
    context = tokenizer.encode_array("0123456789" * 20)[:length]
    model = reader(tokenizer, architecture)
    windows = model.windows(Question("", "Why?", ""), context)
    best = np.zeros(length, int)
    for window in windows:
        assert len(window.framed.tokens) <= 48
        stretch = context[window.first : window.first + window.count]
        assert window.framed.tokens[window.places].tolist() == stretch.tolist()
        best[window.first : window.first + window.count] += window.is_best
    assert (best == 1).all()
    assert windows[-1].first + windows[-1].count == length
    for one, other in pairwise(windows):
        assert one.count == windows[0].count
        assert other.first - one.first == (windows[0].count + 1) // 2
        assert one.first + one.count < length


def test_long_questions_leave_room(tokenizer: Tokenizer) -> None:
    for length in (16, 48):
        model = reader(tokenizer, "gpt2", length)
        context = tokenizer.encode_array("0123456789" * 5)
        windows = model.windows(Question("", "why " * 90, ""), context)
        assert len(windows[0].framed.tokens) == length
        assert windows[0].count >= length // 2 - 3


def test_the_likeliest_span_is_the_one_that_a_search_finds(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    model = reader(tokenizer, "albert", 64)
    (window,) = model.windows(Question("", "Why?", ""), tokenizer.encode_array("0123456789" * 9)[:50])
    for _ in range(20):
        is_best = rng.random(window.count) < 0.7
        some = Window(window.framed, 7, window.count, is_best)
        logits = rng.normal(size=(2, 64)).astype(np.float32)
        first, last = logits[:, window.places]
        legal = [
            (float(first[a] + last[b]), a, b)
            for a in range(window.count)
            for b in range(a, min(a + LONGEST_ANSWER, window.count))
            if is_best[a]
        ]
        score, a, b = max(legal)
        found = _likeliest(some, logits)
        assert (found.first, found.last) == (a + 7, b + 7)
        assert found.score == pytest.approx(score)
        assert found.none == pytest.approx(float(logits[:, 0].sum()))


class Perfect(nn.Module):
    """Finds what is to be found, by heart."""

    def __init__(self, model: QuestionReader, questions: list[Question]) -> None:
        super().__init__()
        self.head = nn.Linear(1, 1)
        self._targets = {framed.tokens.tobytes(): span for framed, span in model.items(questions)}

    def forward(self, batch: FramedBatch) -> torch.Tensor:  # noqa: D102
        logits = torch.zeros(len(batch.tokens), 2, batch.tokens.size(1))
        for row, (tokens, present) in enumerate(zip(batch.tokens, batch.present, strict=True)):
            key = tokens[present].numpy().astype(np.int32).tobytes()
            for each, place in enumerate(self._targets[key]):
                logits[row, each, place] = 10
        return logits


@pytest.mark.parametrize("architecture", ["albert", "gpt2"])
def test_xquads_answers_come_back_from_their_tokens(
    tokenizer: Tokenizer, architecture: str, realdata: Path
) -> None:
    """From characters to bytes, tokens, windows, and back: accents, signs and long texts among them."""
    questions = list(read_questions(realdata / "eval" / "xquad.en.json.gz"))
    assert len(questions) == 1190
    assert not any(question.is_misplaced for question in questions)
    # Answers are at most 30 tokens long, of which this vocabulary needs one for most letters.
    some = [one for one in questions[::6] if len(tokenizer.encode(one.answers[0].text)) <= 20]
    assert len(some) > 90
    model = reader(tokenizer, architecture, 256)
    model.module = Perfect(model, some)  # type: ignore[assignment]
    model.answers_none = False
    predicted = model.predict(some)
    measures = model.measure(some, predicted)
    assert measures["exact_match"] >= 0.98, [(p, q.answers) for p, q in zip(predicted, some, strict=True)]
    assert measures["f1"] >= 0.98


def test_an_answer_is_compared_with_all_and_none_with_nothing(tokenizer: Tokenizer) -> None:
    model = reader(tokenizer, "gpt2")
    none = Question("1", "Who?", "Nobody.")
    two = Question("2", "Who?", "The Ann Lee.", (Answer("The Ann Lee", 0), Answer("Ann", 4)))
    assert model.measure([none, two], ["", "ann."]) == {"f1": 1.0, "exact_match": 1.0}
    assert model.measure([none, two], ["Nobody", "Lee"]) == {"f1": pytest.approx(1 / 3), "exact_match": 0.0}
    name, text = model.render([none, two], ["", "é"])
    assert (name, json.loads(text)) == ("predictions.json", {"1": "", "2": "é"})
