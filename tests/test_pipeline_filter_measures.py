"""filter: words and sentences, and the measures of Gopher's, C4's and FineWeb's rules."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.filter.bad_words import bad_words, count_bad_words
from pipeline.filter.c4 import C4, C4_LINES, FINEWEB_LINES, LineRules, clean_lines
from pipeline.filter.fineweb import FineWeb, measure_fineweb
from pipeline.filter.gopher import Gopher, measure_gopher
from pipeline.filter.words import count_sentences, sentence_terminals, split_words

NO_RULES = LineRules(None, False, False, None, False, False)

# Few words and many signs, so that lines, phrases and n-grams repeat.
PIECES = st.sampled_from(
    [
        *(
            "a",
            "b",
            "the",
            "of",
            "do",
            "n't",
            "don't",
            "U.S.",
            "3",
            "é",
            "語",
            "x" * 40,
            "[1]",
            "lorem ipsum",
        ),
        *("JavaScript", "use cookies", "#", "...", "…", "-", "•", "{", ".", "!", "۔", "\x00"),
        *("\u2028", "\n", "\n\n", "\r\n"),
    ]
)
REPETITIVE = st.lists(PIECES, max_size=120).flatmap(
    lambda pieces: st.sampled_from([" ".join(pieces), "".join(pieces), "\n".join(pieces)])
)
TEXTS = st.one_of(REPETITIVE, st.text(max_size=300))


def gopher(text: str) -> Gopher:
    return measure_gopher(text, split_words(text))


def fineweb(text: str) -> FineWeb:
    return measure_fineweb(text, split_words(text))


# --- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \t\n\u00a0\u3000", []),
        ("Hello, world!", ["Hello", ",", "world", "!"]),
        ("I don't, can’t, won't.", ["I", "do", "n't", ",", "ca", "n’t", ",", "wo", "n't", "."]),
        ("They'd've said it's Jo's", ["They", "'d", "'ve", "said", "it", "'s", "Jo", "'s"]),
        ("Ill, well, were, its", ["Ill", ",", "well", ",", "were", ",", "its"]),  # no contractions
        ("cannot gonna", ["can", "not", "gon", "na"]),
        (
            "Mr. Smith, of the U.S., at 5 p.m.",
            ["Mr.", "Smith", ",", "of", "the", "U.S.", ",", "at", "5", "p.m."],
        ),
        ("(D-Minn.)", ["(", "D", "-", "Minn.", ")"]),
        ("at 10am", ["at", "10", "am"]),
        ("NASA. It ends.", ["NASA", ".", "It", "ends", "."]),
        ("well-known 1990-2000 x-1", ["well", "-", "known", "1990", "-", "2000", "x-1"]),
        ("either/or and/or 1/2", ["either", "/", "or", "and/or", "1/2"]),
        ("1,000 a,b 3.5% 20km $5 5€", ["1,000", "a", ",", "b", "3.5", "%", "20", "km", "$", "5", "5", "€"]),
        ("end.Next a.b", ["end", ".", "Next", "a.b"]),
        ("see (https://example.org/a-b?c=d).", ["see", "(", "https://example.org/a-b?c=d", ")", "."]),
        ("me@example.org", ["me@example.org"]),
        ("wait... what…", ["wait", "...", "what", "…"]),
        ("“Quoted,” ‘he’ said", ["“", "Quoted", ",", "”", "‘", "he", "’", "said"]),
        ("foo(bar) x_y _z_", ["foo(bar", ")", "x_y", "_", "z", "_"]),
        ("nice :) 😀😀", ["nice", ":)", "😀", "😀"]),
        ("#tag @who", ["#", "tag", "@who"]),
        ("Всё-таки «да».", ["Всё", "-", "таки", "«", "да", "»", "."]),
        ("人人生而自由。", ["人人生而自由", "。"]),
        ("สวัสดี ครับ", ["สวัสดี", "ครับ"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@given(TEXTS)
def test_words_keep_everything_but_white_space(text: str) -> None:
    words = split_words(text)
    assert "".join(words) == "".join(text.split())
    assert all(words)
    assert not any(piece.isspace() for word in words for piece in word)


@given(st.lists(TEXTS, max_size=4))
def test_words_do_not_depend_on_their_neighbours(texts: list[str]) -> None:
    assert split_words("\n".join(texts)) == [word for text in texts for word in split_words(text)]


@pytest.mark.parametrize(
    "piece",
    [
        *"a().,'-/…#1😀語@=%\u0301",
        *("US$", "'s"),
        *("a-", "a.", "a.B", "1,", "[1", "a@", "://", "www.", "a/", "--a", "...a", "don't", "x_-", "1.1."),
        *(" ", "\n", ". ", "\n\n", "- ", "{\n", "a b\n"),
    ],
)
def test_time_grows_with_the_text_and_no_faster(piece: str) -> None:
    """Counts what is called, which no busy machine changes: for twice the text about twice as much."""
    small, large = (num_calls(measure_all, piece * (length // len(piece))) for length in (1_000, 2_000))
    assert large < 2.2 * small + 200


def measure_all(text: str) -> None:
    gopher(text)
    fineweb(clean_lines(text, C4_LINES._replace(terminal_punctuation=False, min_words=None))[0])


def num_calls(function: Callable[[str], Any], text: str) -> int:
    """How many calls and returns the profiler sees, of Python and of C functions."""
    num = 0

    def count(*_: object) -> None:
        nonlocal num
        num += 1

    sys.setprofile(count)
    try:
        function(text)
    finally:
        sys.setprofile(None)
    return num


# --- sentences --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "num"),
    [
        ("", 1),
        ("no end", 1),
        ("One.", 1),
        ("One. Two! Three?", 3),
        ("One. Two", 2),
        ("He said “Go!” and went.", 2),
        ("Mr. Fox of the U.S. came. He saw.", 2),
        ("Wait... what? Yes…", 2),
        ("What?! No.", 2),
        ("end.Next", 2),
        ("3.5 is 7/2.", 1),
        ("一。 二。", 2),
        ("ایک۔ دو۔", 2),
        ("...", 1),
    ],
)
def test_sentences(line: str, num: int) -> None:
    assert count_sentences(line) == num


def test_what_ends_a_sentence() -> None:
    assert set(".!?。！？۔।։؟") <= sentence_terminals()
    assert not sentence_terminals() & set("…,;:\"')aé1\n")


# --- Gopher -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "\u2028"])
def test_gopher_of_nothing_is_nothing(text: str) -> None:
    assert gopher(text) == Gopher(*[0] * len(Gopher._fields))


def test_gopher_of_words() -> None:
    got = gopher("The cat, with # 12 ... ab!")  # The cat , with # 12 ... ab !
    assert got.gopher_words == 5  # The cat with 12 ab
    assert got.gopher_word_length == (3 + 3 + 4 + 2 + 2) / 5
    assert got.gopher_hashes == 1 / 9
    assert got.gopher_ellipses == 1 / 9
    assert got.gopher_alphabetic_words == 4 / 9
    assert got.gopher_stop_words == 1  # with; "The" is another word


def test_gopher_counts_a_stop_word_once() -> None:
    assert gopher("the the be to of and that have with the").gopher_stop_words == 8


def test_signs_are_no_words_but_symbols_and_bullets_are() -> None:
    assert gopher("! ... — “ ” $ = ~ 。 ` ^").gopher_words == 0
    assert gopher("• ‘ © 😀 €").gopher_words == 5


def test_gopher_of_lines() -> None:
    got = gopher("• one\n  - two\n-three ... \nfour…\n\nfive - six.")
    assert got.gopher_bullet_lines == 3 / 6
    assert got.gopher_ellipsis_lines == 2 / 6


def test_gopher_of_repeated_lines_and_paragraphs() -> None:
    text = "ab\n\nab\n\ncdef\nab\n\n\nab"
    got = gopher(text)
    assert got.gopher_duplicate_lines == 3 / 5  # ab ab cdef ab ab
    assert got.gopher_duplicate_line_characters == 6 / len(text)
    assert got.gopher_duplicate_paragraphs == 2 / 4  # ab, ab, cdef ab, ab
    assert got.gopher_duplicate_paragraph_characters == 4 / len(text)


def test_the_commonest_n_gram() -> None:
    text = "one two six one two ten one two"
    got = gopher(text)
    assert got.gopher_top_2_grams == 3 * len("one two") / len(text)
    # Each stands once but "one two six" is the first of them.
    assert got.gopher_top_3_grams == len("one two six") / len(text)
    assert got.gopher_top_4_grams == len("one two six one") / len(text)
    # Both twice: the first of them counts.
    assert gopher("aa bb c dd e aa bb x dd e").gopher_top_2_grams == 2 * len("aa bb") / 25
    assert gopher("a a a a").gopher_top_2_grams == 3 * len("a a") / 7  # they overlap: more than all
    assert gopher("one").gopher_top_2_grams == 0


def test_repeated_n_grams() -> None:
    phrase = "one two three four five"
    text = f"{phrase} x {phrase} y {phrase}"
    got = gopher(text)
    assert got.gopher_duplicate_5_grams == 2 * len("onetwothreefourfive") / len(text)
    assert got.gopher_duplicate_6_grams == 0
    ten = " ".join(["a"] * 10)
    # Five are new; the next start is one on, its five are old, and none are left after those.
    assert gopher(ten).gopher_duplicate_5_grams == 5 / len(ten)


def slow_top(words: Sequence[str], n: int) -> int:
    counts = Counter(" ".join(words[at : at + n]) for at in range(len(words) - n + 1))
    return next((len(phrase) * num for phrase, num in counts.most_common(1)), 0)


def slow_repeated(words: Sequence[str], n: int) -> int:
    said, at, num = set(), 0, 0
    while at + n <= len(words):
        phrase = tuple(words[at : at + n])
        if phrase in said:
            num += sum(map(len, phrase))
            at += n
        else:
            said.add(phrase)
            at += 1
    return num


@settings(max_examples=150)
@given(st.lists(st.sampled_from(["a", "b", "cc", "ddd", "."]), max_size=80), st.integers(0, 40))
def test_n_grams_are_those_of_the_plain_way(words: list[str], num_again: int) -> None:
    words = words + words[:num_again]
    text = " ".join(words)
    got = measure_gopher(text, words)._asdict()
    for n in range(2, 11):
        name, plain = (f"top_{n}", slow_top) if n < 5 else (f"duplicate_{n}", slow_repeated)
        assert got[f"gopher_{name}_grams"] == (plain(words, n) / len(text) if text else 0)


NO_SHARES = {
    *("gopher_words", "gopher_word_length", "gopher_stop_words", "gopher_hashes", "gopher_ellipses"),
    *(f"gopher_top_{n}_grams" for n in (2, 3, 4)),
}


@given(TEXTS)
def test_gopher_is_finite_and_shares_are_shares(text: str) -> None:
    for name, value in gopher(text)._asdict().items():
        assert math.isfinite(value), name
        assert 0 <= value <= (math.inf if name in NO_SHARES else 1), name
        assert type(value) is Gopher.__annotations__[name], name


# --- C4 ---------------------------------------------------------------------------------------------------


def test_without_rules_lines_are_stripped_and_nothing_else() -> None:
    text = "\n  One. Two.\r\n\nlong[1] { Lorem Ipsum javascript use cookies \n"
    assert clean_lines(text, NO_RULES) == (
        "One. Two.\n\nlong[1] { Lorem Ipsum javascript use cookies",
        C4(5, 1, 1, 0, 0, 0, 0, 0),  # an empty line counts as a sentence
    )


@pytest.mark.parametrize(
    ("rule", "line", "field"),
    [
        ({"max_word_length": 5}, "six sixsix six", "c4_lines_long_word"),
        ({"terminal_punctuation": True}, "it goes on,", "c4_lines_open_end"),
        ({"terminal_punctuation": True}, "it goes on...", "c4_lines_open_end"),
        ({"min_words": 3}, "two words.", "c4_lines_few_words"),
        ({"javascript": True}, "Please enable JavaScript now.", "c4_lines_javascript"),
        ({"policy": True}, "Read our Privacy Policy here.", "c4_lines_policy"),
        ({"policy": True}, "This site uses cookies.", "c4_lines_policy"),
    ],
)
def test_each_rule_removes_its_lines_and_counts_them(rule: dict[str, Any], line: str, field: str) -> None:
    rules = NO_RULES._replace(**rule)
    text, got = clean_lines(f"Here it is.\n{line}\nAnd that is all.", rules)
    assert text == "Here it is.\nAnd that is all."
    assert got == C4(*[0] * len(C4._fields))._replace(c4_sentences=2, **{field: 1})
    assert clean_lines(line, NO_RULES)[0] == line


def test_the_boundaries_of_the_rules() -> None:
    rules = NO_RULES._replace(max_word_length=5, min_words=3)
    assert clean_lines("fiver is fine", rules)[0] == "fiver is fine"
    for end in ".?!\"'":
        line = f"it ends{end}"
        assert clean_lines(line, NO_RULES._replace(terminal_punctuation=True))[0] == line


def test_citations_are_taken_out_before_the_end_is_looked_at() -> None:
    text = "One [1] two[edit] three.[citation needed]\nfour [] five [a] six.[23]"
    assert clean_lines(text, C4_LINES)[0] == "One  two three.\nfour  five [a] six."


def test_words_are_counted_before_citations_are_taken_out() -> None:
    assert clean_lines("[1] [2] three", FINEWEB_LINES)[1].c4_lines_few_words == 0


def test_a_phrase_that_a_citation_parted_is_found() -> None:
    assert clean_lines("Please enable java[1]script now", FINEWEB_LINES)[1].c4_lines_javascript == 1


def test_the_first_rule_that_a_line_breaks_counts() -> None:
    long = "x" * 1_001
    text = (
        f"{long} {{\ntwo {{words\nno end here lorem ipsum\njavascript {{ use cookies.\nuse cookies {{ here."
    )
    left, got = clean_lines(text, C4_LINES)
    assert left == ""
    # A brace is looked for in lines that come so far: not in those with a script, but in those with a policy.
    assert got == C4(
        c4_sentences=0,
        c4_lorem_ipsum=0,
        c4_curly_brackets=1,
        c4_lines_long_word=1,
        c4_lines_open_end=2,
        c4_lines_few_words=0,
        c4_lines_javascript=1,
        c4_lines_policy=1,
    )


def test_lorem_ipsum_and_braces_are_counted_and_stay() -> None:
    text = "Lorem ipsum and LOREM IPSUM {a} {b} here."
    assert clean_lines(text, C4_LINES) == (text, C4(1, 2, 2, 0, 0, 0, 0, 0))


def test_fineweb_s_rules_are_c4_s_but_for_the_ends_of_lines() -> None:
    assert tuple(C4_LINES) == (1_000, True, True, 3, True, True)
    assert tuple(FINEWEB_LINES) == (1_000, True, False, 3, True, True)
    assert clean_lines("it just goes on", FINEWEB_LINES)[0] == "it just goes on"


def test_c4_of_nothing_is_nothing() -> None:
    assert clean_lines("", C4_LINES) == ("", C4(*[0] * len(C4._fields)))


@given(TEXTS, st.sampled_from([C4_LINES, FINEWEB_LINES, NO_RULES, C4_LINES._replace(min_words=0)]))
def test_every_line_stays_or_is_counted(text: str, rules: LineRules) -> None:
    left, got = clean_lines(text, rules)
    num_removed = sum(value for name, value in got._asdict().items() if name.startswith("c4_lines_"))
    assert all(value >= 0 for value in got)
    assert num_removed <= len(text.splitlines())
    assert got.c4_sentences >= len(text.splitlines()) - num_removed
    if rules is not NO_RULES:
        again, more = clean_lines(left, rules._replace(citations=False))
        assert len(again) <= len(left)
        assert more.c4_lines_javascript == more.c4_lines_policy == 0
    assert left == left.strip()


def test_bad_words_are_whole_words_in_any_case() -> None:
    pattern = bad_words(["Darn", " what the heck ", "", "c++", "糞"])
    assert pattern is not None
    assert count_bad_words("DARN it, darn. Darned; what the heck? c++, 大糞だ, darn_it", pattern) == 5
    assert count_bad_words("", pattern) == 0
    assert bad_words([]) is None
    assert bad_words(["", " "]) is None


def test_neighbouring_bad_words_are_each_counted() -> None:
    pattern = bad_words(["heck", "heck no"])
    assert pattern is not None
    assert count_bad_words("heck heck,heck no", pattern) == 3


# --- FineWeb ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n"])
def test_fineweb_of_nothing_is_nothing(text: str) -> None:
    assert fineweb(text) == FineWeb(0, 0, 0, 0)


def test_fineweb_by_hand() -> None:
    text = f"{'x' * 30}.\n\n{'y' * 30}\nshort!\nshort!\n \nhas “one.”\n文。\nspace. "
    got = fineweb(text)
    assert got.fineweb_punctuated_lines == 4 / 7  # x, short, short, 文
    assert got.fineweb_short_lines == 6 / 7
    assert got.fineweb_duplicate_characters == len("short!") / len(text.replace("\n", ""))
    words = [
        *("x" * 30, "."),
        "y" * 30,
        *("short", "!") * 2,
        "has",
        "“",
        "one",
        ".",
        "”",
        *"文。",
        "space",
        ".",
    ]
    assert split_words(text) == words
    assert got.fineweb_lines_a_word == 8 / len(words)


@given(TEXTS)
def test_fineweb_is_finite_and_shares_are_shares(text: str) -> None:
    got = fineweb(text)
    assert all(map(math.isfinite, got))
    assert all(0 <= value <= 1 for value in got[:3])
    assert 0 <= got.fineweb_lines_a_word <= text.count("\n")
    assert all(type(value) is float for value in got)
