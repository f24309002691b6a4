"""The language-modelling data sets: de-tokenizers that can be undone, counts that are the originals'."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluate.requests import Likely, TextLikelihood
from model.evaluate.task import EvaluationFileError, Item, Measures, Task
from model.evaluate.tasks import perplexity
from model.evaluate.tasks.detokenize import (
    ONE_BILLION_WORDS,
    PENN_TREEBANK,
    WIKITEXT,
    Tokenization,
    detokenize,
    tokenize,
)

BY_NAME = {task.name: task for task in perplexity.TASKS}


@pytest.mark.parametrize(
    ("tokenization", "line", "text"),
    [
        (WIKITEXT, "= = Early life = =", "== Early life =="),
        (WIKITEXT, 'He said " no @-@ one , " twice .', 'He said "no-one," twice.'),
        (WIKITEXT, "It cost $ 1 @,@ 234 @.@ 5 ( 20 % ) ;", "It cost $1,234.5 (20%);"),
        (WIKITEXT, "<unk> 's men don 't , the boys ' do", "<unk>'s men don't, the boys' do"),
        (WIKITEXT, "1999 – 2000 , or then – now , 10 : 30", "1999–2000, or then – now, 10:30"),
        (
            WIKITEXT,
            "the U.S. and World War I .",
            "the U.S. and World War I .",
        ),  # not to be taken for an initial
        (WIKITEXT, "a <unk> @-@ like [ sic ] thing / thought", "a <unk>-like [sic] thing/thought"),
        (WIKITEXT, "12 @,@ <unk> men , <unk> @-@ 3", "12,<unk> men, <unk>-3"),
        (WIKITEXT, "@-@ at either end @,@", "@-@ at either end @,@"),
        (WIKITEXT, "", ""),
        (PENN_TREEBANK, "no it was n't mr. <unk> 's $ N", "no it wasn't mr. <unk>'s $N"),
        (PENN_TREEBANK, "the workers ' us$ N would n't ca n't", "the workers' us$N wouldn't can't"),
        (ONE_BILLION_WORDS, "Yes , \" she 's said ( 2,900 a month ) .", "Yes,\" she's said (2,900 a month)."),
        (ONE_BILLION_WORDS, 'He asked : " Why ? "', 'He asked: "Why?"'),
    ],
)
def test_ordinary_text_of_a_line(tokenization: Tokenization, line: str, text: str) -> None:
    assert detokenize(line, tokenization) == text
    assert tokenize(text, tokenization) == line


@pytest.mark.parametrize("part", ["test", "valid"])
def test_wikitext_comes_back(realdata: Path, part: str) -> None:
    text = (realdata / "text" / f"wikitext2_{part}.txt").read_text("utf-8")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    changed = [line for line in lines if tokenize(detokenize(line, WIKITEXT), WIKITEXT) != line]
    assert len(changed) <= len(lines) / 2000
    # And it is ordinary text: what only a tokenizer writes is nearly gone.
    ordinary = "\n".join(detokenize(line, WIKITEXT) for line in lines)
    assert sum(map(ordinary.count, (" ,", " @-@ ", "@,@", " 's", "( ", " )"))) < 10
    assert ordinary.count(" .") < text.count(" .") / 50


TOKENS = {
    "wikitext": (
        WIKITEXT,
        "@-@ @,@ @.@ , . ; : ? ! ( ) [ ] \" ' 's 't % $ = – — / ... 12 000 <unk> is U.S. No. I",
    ),
    "ptb": (
        PENN_TREEBANK,
        "n't 's ' 're $ # us$ N <unk> mr. u.s. s&p is was do workers mid-1980s cities\\/abc",
    ),
    "1bw": (
        ONE_BILLION_WORDS,
        ", . ; : ? ! ( ) [ ] \" ' 's 'm % $ £ / -- - ... 1,000 2.5 no-one is Mr. U.S.",
    ),
}


@pytest.mark.parametrize("name", TOKENS)
@given(data=st.data())
def test_any_line_of_usual_tokens_comes_back(name: str, data: st.DataObject) -> None:
    tokenization, tokens = TOKENS[name]
    line = " ".join(
        data.draw(st.lists(st.sampled_from(tokens.split()) | st.from_regex("[a-z]{1,5}", fullmatch=True)))
    )
    assert tokenize(detokenize(line, tokenization), tokenization) == line


@pytest.mark.parametrize("tokenization", [WIKITEXT, PENN_TREEBANK, ONE_BILLION_WORDS])
@given(line=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")))
def test_lines_of_anything(tokenization: Tokenization, line: str) -> None:
    """It keeps all that is no space, and comes back where each token by itself does."""
    text = detokenize(line, tokenization)
    assert text.replace(" ", "") == line.replace(" ", "") or "@" in line
    if all(tokenization.split(token) == [token] for token in line.split(" ")):
        assert tokenize(text, tokenization) == line


WIKI = " \n = One = \n \n It 's a <unk> . \n \n = = Part = = \n \n It is . \n \n = Two = \n \n It was . \n"
PTB = " no it was n't \n N <unk> 's \n"
SENTENCES = "It is , now .\nWas it ?\n"


def read(task: Task, folder: Path, data: str | bytes) -> Sequence[Item]:
    path = folder / "data"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return task.read(path)


def test_items_of_each_form(tmp_path: Path) -> None:
    for name in ("wikitext2", "wikitext103"):
        one, two = read(BY_NAME[name], tmp_path, WIKI)
        assert one.fields.text == "\n= One =\n\nIt's a <unk>.\n\n== Part ==\n\nIt is.\n\n"
        assert two.fields.text == "= Two =\n\nIt was.\n"
        assert one.fields.num_words + two.fields.num_words == len(WIKI.split()) + WIKI.count("\n")
    (block,) = read(BY_NAME["ptb"], tmp_path, PTB)
    assert block.fields == ("no it wasn't\nN <unk>'s\n", 4 + 3 + 2, len("no it was n't\nN <unk> 's\n"))
    assert len(read(BY_NAME["ptb"], tmp_path, PTB * 201)) == 3
    first, second = read(BY_NAME["1bw"], tmp_path, SENTENCES)
    assert (first.fields.text, second.fields) == ("It is, now.\n", ("Was it?\n", 4, 9))
    items = read(BY_NAME["wikitext2"], tmp_path, WIKI)
    assert [item.id for item in items] == ["1", "2"]
    assert BY_NAME["wikitext2"].ask(items[1], "") == (TextLikelihood("= Two =\n\nIt was.\n"),)


def test_wikitext_counts_what_its_papers_count(realdata: Path) -> None:
    """Merity et al. 2016, table 1: 60 articles each; 217,646 and 245,569 tokens."""
    for part, num_words in (("valid", 217_646), ("test", 245_569)):
        items = BY_NAME["wikitext2"].read(realdata / "text" / f"wikitext2_{part}.txt")
        assert len(items) == 60
        assert sum(item.fields.num_words for item in items) == num_words


def test_enwik8_and_text8_are_tested_on_their_last_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perplexity, "_WHOLE_BYTES", 200)
    monkeypatch.setattr(perplexity, "_TEST_BYTES", 50)
    monkeypatch.setattr(perplexity, "_BLOCK_LETTERS", 9)
    whole = (b"<mediawiki>\n" * 20)[:149] + "é".encode() + ("\n" + "wörter " * 9).encode()
    whole = whole[:199] + "ü".encode()[:1]  # both the test part and the file begin or end within a character
    items = read(BY_NAME["enwik8"], tmp_path, whole)
    text = "".join(item.fields.text for item in items)
    assert text == whole[151:199].decode()
    assert sum(item.fields.num_bytes for item in items) == 48
    items = read(BY_NAME["text8"], tmp_path, b"ab cd efgh " * 18 + b"zz")
    assert "".join(item.fields.text for item in items) == (b"ab cd efgh " * 18 + b"zz")[-50:].decode()
    assert all(item.fields.text.startswith(" ") for item in items[1:])
    assert len(items) > 3
    short = read(BY_NAME["text8"], tmp_path, b"as it is")
    assert [item.fields.text for item in short] == ["as it is"]
    for name in ("enwik8", "text8"):
        for size in (51, 199, 201):
            with pytest.raises(EvaluationFileError, match=f"data: {size} bytes, so the file seems to be cut"):
                read(BY_NAME[name], tmp_path, b"a" * size)


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        *((name, b"", "data: empty: get") for name in BY_NAME),
        *((name, b"a \n\xff\xfeb\n", "line 2: not UTF-8 text") for name in ("enwik8", "text8")),
        *((name, WIKI[:-9], "line 12: ends without a line end") for name in ("wikitext2", "wikitext103")),
        ("wikitext2", PTB, r"line 1: no article's heading \( = Title = \)"),
        ("wikitext2", "\n\n = = Part = = \n", "line 3: no article's heading"),
        ("wikitext2", '{"text": 1}\n', "line 1: no article's heading"),
        ("wikitext2", b"PK\x03\x04\xff\xff", "line 1: ends without a line end"),
        ("wikitext2", b"PK\x03\x04\x9c\n\xff", "line 1: not UTF-8 text"),
        ("ptb", PTB[:-4], "line 2: ends without a line end"),
        ("ptb", PTB + " As Usual . \n", "line 3: no sentence in small letters"),
        ("ptb", PTB + "\n", "line 3: no sentence in small letters"),
        ("1bw", SENTENCES[:-4], "line 2: ends without a line end"),
        ("1bw", SENTENCES + "\nmore\n", "line 3: no sentence of tokens"),
        ("1bw", '{"text": "one"}\n', "line 1: no sentence of tokens"),
        ("1bw", "<html>\n", "line 1: no sentence of tokens"),
        ("text8", "anarchism\noriginated", r"line 1: '\\n', where text8 has only small letters"),
        ("text8", "ten 10", "line 1: '1', where"),
        ("enwik8", b"a\0b", "data: not text but binary"),
    ],
)
def test_files_with_a_fault(tmp_path: Path, name: str, data: str | bytes, fault: str) -> None:
    with pytest.raises(EvaluationFileError, match=fault):
        read(BY_NAME[name], tmp_path, data)


def score(task: Task, items: Sequence[Item], log_probability: Callable[[str], float]) -> Measures:
    found = []
    for item in items:
        (request,) = task.ask(item, "")
        assert isinstance(request, TextLikelihood)
        found.append(task.judge(item, [Likely(log_probability(request.text), 1, False)]))
    assert task.summarize is not None
    return task.summarize(found)


@pytest.mark.parametrize(
    ("name", "data", "num_words", "num_bytes"),
    [("wikitext2", WIKI, 34, None), ("ptb", PTB, 9, 25), ("1bw", SENTENCES, 10, 23)],
)
def test_measures_are_of_all_texts_together(
    tmp_path: Path, name: str, data: str, num_words: int, num_bytes: int | None
) -> None:
    """A model that gives each byte of what it reads 1/4, by hand: not the mean of the items' figures."""
    items = read(BY_NAME[name], tmp_path, data)
    num_bytes = num_bytes or sum(len(line.strip()) + 1 for line in data.splitlines())
    num_read = sum(len(item.fields.text.encode()) for item in items)
    measures = score(BY_NAME[name], items, lambda text: -len(text.encode()) * math.log(4))
    assert measures == pytest.approx(
        {"perplexity": 4 ** (num_read / num_words), "bits_per_byte": 2 * num_read / num_bytes}
    )


def test_bits_of_a_uniform_model(tmp_path: Path) -> None:
    text8 = read(BY_NAME["text8"], tmp_path, "one two three")
    uniform = score(BY_NAME["text8"], text8, lambda text: -len(text) * math.log(27))
    assert uniform == pytest.approx({"bits_per_character": math.log2(27)})
    enwik8 = read(BY_NAME["enwik8"], tmp_path, "zwölf")
    bytewise = score(BY_NAME["enwik8"], enwik8, lambda text: -len(text.encode()) * math.log(256))
    assert bytewise == pytest.approx({"bits_per_byte": 8})


def test_tasks_say_what_they_measure() -> None:
    assert list(BY_NAME) == ["wikitext2", "wikitext103", "ptb", "1bw", "enwik8", "text8"]
    for task in perplexity.TASKS:
        assert not task.takes_examples
        assert not task.is_better_high
        assert task.summarize is not None
        assert task.summarize([]) == {}
        one = {"log_probability": -2e4, "num_words": 2.0, "num_bytes": 8.0}
        assert tuple(task.summarize([one])) == task.measures
    assert perplexity.perplexity(-2e4, 2) == math.inf
    assert BY_NAME["enwik8"].published["GPT-2 762M"] == {"bits_per_byte": 0.97}
    assert BY_NAME["wikitext103"].published["GPT-2 1542M"] == {"perplexity": 17.48}
