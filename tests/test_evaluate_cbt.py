"""The Children's Book Test, and plain text out of its tokens."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluate.requests import Likelihood
from model.evaluate.task import EvaluationFileError
from model.evaluate.tasks import cbt, choices
from model.evaluate.tasks.treebank import detokenize
from tests.byte_bigrams import answer, log_probability

WORDS = ("hat", "door", "fox", "hill", "king", "lamp", "mouse", "nest", "oak", "pond")


def question(*, asked: str = "`` The XXXXX , '' she said , `` ca n't sing . ''", right: str = "fox") -> str:
    """A question in the official form."""
    lines = [f"{number} Sentence {number} of it , -LRB- short -RRB- ." for number in range(1, 21)]
    return "\n".join([*lines, f"21 {asked}\t{right}\t\t{'|'.join(WORDS)}", "", ""])


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_text(text: str) -> Path:
        path = tmp_path / "cbtest_CN_test_2500ex.txt"
        path.write_text(text)
        return path

    return write_text


def fails(path: Path, *says: str) -> None:
    with pytest.raises(EvaluationFileError) as error:
        cbt.read(path)
    for part in (str(path), *says):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("tokens", "plain"),
    [
        ("`` No , '' he said .", '"No," he said.'),
        ("` No , ' he said ; ` I ca n't . '", "'No,' he said; 'I can't.'"),
        ("He replied , ' I do not know . '", "He replied, 'I do not know.'"),
        ("the dogs ' tails", "the dogs' tails"),
        ("` The dogs ' tails ! ' he cried .", "'The dogs' tails!' he cried."),
        ("the word ` string ' fell", "the word 'string' fell"),
        (
            "Nag 's ear , you 'd say : they 've , I 'm , we 're , it 'll",
            "Nag's ear, you'd say: they've, I'm, we're, it'll",
        ),
        ("-LRB- 3 -RRB- and -LSB- 1 -RSB- and -lrb- x -rrb-", "(3) and [1] and (x)"),
        ("well . . . yes ... -- no", "well... yes... -- no"),
        ("'T is $ 5 and 10 % 1\\/2", "'Tis $5 and 10% 1/2"),
    ],
)
def test_tokens_become_plain_text(tokens: str, plain: str) -> None:
    assert "".join(detokenize([tokens])[0]) == plain


def test_quotes_may_close_in_another_sentence() -> None:
    texts = detokenize(["`` Go !", "Run ! ''", "` Oh !", "No ! '", "he said ."])
    assert "".join("".join(one) for one in texts) == "\"Go! Run!\" 'Oh! No!' he said."


MARKS = ("``", "''", "`", "'", "-LRB-", "-RRB-", ",", ".", "n't", "'s", "$", "a", "dogs", "--")


@given(st.lists(st.lists(st.sampled_from(MARKS), max_size=8), max_size=4))
def test_nothing_but_spaces_comes_and_goes(sentences: list[list[str]]) -> None:
    texts = detokenize([" ".join(one) for one in sentences])
    assert [len(one) for one in texts] == [len(one) for one in sentences]
    plain = "".join("".join(one) for one in texts)
    written = {"``": '"', "''": '"', "`": "'", "-LRB-": "(", "-RRB-": ")"}
    assert plain.replace(" ", "") == "".join(written.get(word, word) for one in sentences for word in one)
    assert "  " not in plain
    assert not plain.startswith(" ")


def test_each_choice_is_asked_for_with_the_rest_of_its_sentence(write: Callable[[str], Path]) -> None:
    items = cbt.read(write(question() * 2))
    assert [item.id for item in items] == ["line 21", "line 43"]
    requests = choices.ask(items[0], "")
    context = " ".join(f"Sentence {number} of it, (short)." for number in range(1, 21)) + ' "The'
    assert requests == [Likelihood(context, f' {word}," she said, "can\'t sing."') for word in WORDS]
    assert items[0].fields.right == WORDS.index("fox")
    assert list(cbt.TASKS[0].texts(items[0])) == [f'{context} fox," she said, "can\'t sing."']


def test_a_blank_behind_a_quote_or_at_the_end_has_its_space_where_it_belongs(
    write: Callable[[str], Path],
) -> None:
    (first,) = cbt.read(write(question(asked="`` XXXXX ! ''")))
    assert first.fields.context.endswith('(short). "')
    assert first.fields.continuations[0] == 'hat!"'
    (last,) = cbt.read(write(question(asked="She saw a XXXXX")))
    assert last.fields.context.endswith("She saw a")
    assert last.fields.continuations[0] == " hat"


def test_the_likeliest_sentence_is_the_answer(write: Callable[[str], Path]) -> None:
    """By brute force: the context is all choices', so the likeliest whole text has the answer."""
    for right in WORDS:
        (item,) = cbt.read(write(question(right=right)))
        totals = [log_probability(item.fields.context + text) for text in item.fields.continuations]
        judged = cbt.TASKS[0].judge(item, answer(choices.ask(item, "")))
        assert judged == {"accuracy": float(WORDS[int(np.argmax(totals))] == right)}


def test_fewer_choices_are_read_unless_the_file_ends_there(write: Callable[[str], Path]) -> None:
    short = question().replace("hat|door|", "||")
    first, _ = cbt.read(write(short + question()))
    assert len(first.fields.continuations) == 8
    fails(write(question() + short), "line 43", "8 choices", "cut")


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("5 Sentence 5", "6 Sentence 6", "line 5", "begin with 5"),
        ("1 Sentence 1 ", "_BOOK_TITLE_ : A.txt\n1 Sentence 1 ", "line 1", "begin with 1"),
        ("\tfox\t\t", " fox ", "line 21", "tabs"),
        ("\tfox\t\t", "\twolf\t\t", "line 21", "wolf"),
        ("XXXXX", "fox", "line 21", "XXXXX"),
        ("21 ``", "22 ``", "line 21", "begin with 21"),
    ],
)
def test_a_wrong_line_is_named(
    old: str, new: str, line: str, says: str, write: Callable[[str], Path]
) -> None:
    assert old in question()
    fails(write(question().replace(old, new)), line, says)


def test_a_file_cut_anywhere_is_read_as_far_as_it_is_whole_or_refused(write: Callable[[str], Path]) -> None:
    whole = question()
    end = len(whole.rstrip())
    near = range(len(whole) - 20, len(whole) + 20)
    for cut in sorted({*range(1, len(whole) + end, 23), *near, len(whole) + end - 1}):
        path = write((whole * 2)[:cut])
        beyond = cut % len(whole) if cut > len(whole) else cut
        # A last choice that is cut short looks like a choice; whole questions are read.
        if end - len("pond") < beyond <= len(whole) or cut == len(whole):
            assert len(cbt.read(path)) == 1 + (cut > len(whole))
        else:
            fails(path, "line ")
