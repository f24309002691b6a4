"""Answers as the official scripts of SQuAD and CoQA normalise and compare them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluate.requests import Likely, Written
from model.evaluate.tasks.answers import best, exact_match, f1, first_sentences, normalized, written

WORDS = st.text(alphabet="aAthen .,-'é\u00a0", max_size=20)


# What evaluate-v1.1.py, evaluate-v2.0.py and CoQA's evaluate-v1.0.py give, which were run on them.
@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The Grand-Duke's late hat, a.", "granddukes late hat"),
        ("an  apple\tA DAY\u00a0", "apple day"),
        ("Theatre a-the an", "theatre athe"),
        ("a.the", "athe"),  # the full stop goes first
        ("“the” —a", "“ ” —"),  # only ASCII's punctuation goes
        ("a\u0300", "\u0300"),  # a combining accent is no letter
        ("THE", ""),
        ("", ""),
    ],
)
def test_normalization_is_that_of_the_official_scripts(answer: str, normal: str) -> None:
    assert normalized(answer) == normal


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("in the red red house", "a red house", 2 * (2 / 4) * 1 / (2 / 4 + 1)),  # "red" counts once
        ("Denver Broncos", "the denver broncos!", 1),
        ("Denver", "Broncos", 0),
        ("", "", 1),
        ("The.", "", 1),
        ("The.", "red", 0),
        ("red", "a", 0),
    ],
)
def test_f1_is_that_of_the_official_scripts(answer: str, reference: str, score: float) -> None:
    assert f1(answer, reference) == pytest.approx(score, abs=1e-12)


@given(WORDS, WORDS)
def test_f1_is_symmetric_and_one_only_for_the_same_words(one: str, other: str) -> None:
    score = f1(one, other)
    assert score == f1(other, one)
    assert 0 <= score <= 1
    assert (score == 1) == (sorted(normalized(one).split()) == sorted(normalized(other).split()))
    assert score == 1 or not exact_match(one, other)


def test_the_closest_reference_counts() -> None:
    assert best(f1, "Santa Clara", ["California", "Santa Clara, California"]) == pytest.approx(0.8)
    assert best(exact_match, "the 308", ["300", "308"]) == 1


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four.", ["One.", "Two!", "Three?", "Four."]),
        ("He said: “Go.” She went. then more", ["He said: “Go.”", "She went. then more"]),
        (
            "Mr. Hu met J. Wu of the U.S. Army. 3.5 of them...",
            ["Mr. Hu met J. Wu of the U.S. Army.", "3.5 of them..."],
        ),
        ("« Oui. » Il partit. À huit heures", ["« Oui. »", "Il partit.", "À huit heures"]),
        ("(See above.) (And below.) End", ["(See above.)", "(And below.)", "End"]),
        (" no end\n\n \nNext", ["no end", "Next"]),
        (" \n", []),
    ],
)
def test_where_sentences_end(text: str, sentences: list[str]) -> None:
    assert first_sentences(text, 9) == sentences
    assert first_sentences(text, 1) == sentences[:1]


@given(st.text(alphabet="aB.!? \n\"'", max_size=40))
def test_sentences_are_the_text_but_for_space(text: str) -> None:
    assert "".join("".join(first_sentences(text, 99)).split()) == "".join(text.split())


def test_what_was_written_is_taken_without_the_space_around_it() -> None:
    assert written([Written(" Paris\n")]) == "Paris"
    with pytest.raises(TypeError, match="Likely"):
        written([Likely(-1.0, 1, is_likeliest=True)])
