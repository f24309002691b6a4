"""What is typed into the search box, what the index finds for it, and the snippets: against plain Python."""

import contextlib
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.inspector.search.query import MAX_CHARS, Query, Term, parse_query
from pipeline.inspector.search.snippets import snippet
from pipeline.inspector.search.text_index import Index, Indexed, open_index, words, write_index

_VOCABULARY = ["alpha", "beta", "gamma", "delta", "epsilon", "Zeta", "éclair", "c3po"]

Condition = Callable[[Indexed], bool]


def _documents() -> list[Indexed]:
    """Made of few words, so that every query finds some and leaves some."""
    random_ = random.Random(1)
    made = []
    for number in range(300):
        text = random_.choice([" ", ", ", ".\n"]).join(random_.choices(_VOCABULARY, k=random_.randint(1, 6)))
        title = " ".join(random_.choices(_VOCABULARY, k=random_.randint(0, 3)))
        domain = f"site{number % 3}.example"
        made.append(Indexed(number, title, text, f"https://www.{domain}/{number}/{title}", domain))
    return made


DOCUMENTS = _documents()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    path = tmp_path_factory.mktemp("index") / "index"
    write_index(path, DOCUMENTS)
    opened = open_index(path)
    assert opened is not None
    return opened


def has(*wanted: str, fields: tuple[str, ...] = ("title", "text")) -> Condition:
    """The words stand behind one another in one of the fields."""

    def check(document: Indexed) -> bool:
        for field in fields:
            own = [word.lower() for word in re.findall(r"[^\W_]+", getattr(document, field))]
            if any(tuple(own[at : at + len(wanted)]) == wanted for at in range(len(own))):
                return True
        return False

    return check


FOUND: list[tuple[str, Condition]] = [
    ("alpha", has("alpha")),
    ("ALPHA beta", lambda one: has("alpha")(one) and has("beta")(one)),
    ("alpha -beta", lambda one: has("alpha")(one) and not has("beta")(one)),
    ("-alpha", lambda one: not has("alpha")(one)),
    ("-alpha -title:beta", lambda one: not has("alpha")(one) and not has("beta", fields=("title",))(one)),
    ("alpha OR beta", lambda one: has("alpha")(one) or has("beta")(one)),
    (
        "alpha OR beta gamma",
        lambda one: (has("alpha")(one) or has("beta")(one)) and has("gamma")(one),
    ),
    ('"alpha beta"', has("alpha", "beta")),
    ('"Alpha, BETA" OR "zeta zeta"', lambda one: has("alpha", "beta")(one) or has("zeta", "zeta")(one)),
    ('-"alpha beta" gamma', lambda one: has("gamma")(one) and not has("alpha", "beta")(one)),
    ("alpha,beta", has("alpha", "beta")),
    ("title:alpha", has("alpha", fields=("title",))),
    ('text:"beta beta"', has("beta", "beta", fields=("text",))),
    ("url:alpha", has("alpha", fields=("url",))),
    ("https://www.site1.example/7/", has("https", "www", "site1", "example", "7", fields=("url",))),
    ("domain:SITE1.example", lambda one: one.domain == "site1.example"),
    ("domain:site1", lambda _: False),
    ("éclair", has("éclair")),
    ("eclair", lambda _: False),
    ("nothing:alpha", lambda _: False),
    ("alpha or beta", lambda _: False),
]


@pytest.mark.parametrize(("typed", "expected"), FOUND, ids=[typed for typed, _ in FOUND])
def test_the_index_finds_what_python_finds(index: Index, typed: str, expected: Condition) -> None:
    right = {one.number for one in DOCUMENTS if expected(one)}
    found = index.all(parse_query(typed), len(DOCUMENTS))
    assert set(found.numbers.tolist()) == right
    assert found.total == len(right) == len(found.numbers)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert len(right) < len(DOCUMENTS)


def test_pages_of_the_best_are_those_of_all(index: Index) -> None:
    query = parse_query("alpha OR beta")
    every = index.all(query, 1_000)
    pages = [index.best(query, 20, start) for start in range(0, every.total + 20, 20)]
    assert [number for page in pages for number in page.numbers.tolist()] == every.numbers.tolist()
    assert {page.total for page in pages} == {every.total}
    few = index.all(query, 7)
    assert (few.numbers.tolist(), few.total) == (every.numbers[:7].tolist(), every.total)


def test_a_word_counts_more_in_a_title(tmp_path: Path) -> None:
    texts = ["fish and chips and more", "chips and more and more"]
    write_index(
        tmp_path / "index",
        [Indexed(0, "", texts[0], "", ""), Indexed(1, "fish and some and more", texts[1], "", "")],
    )
    opened = open_index(tmp_path / "index")
    assert opened is not None
    assert opened.best(parse_query("fish"), 2).numbers.tolist() == [1, 0]


def test_what_is_no_index_is_none(tmp_path: Path) -> None:
    assert open_index(tmp_path) is None
    (tmp_path / "meta.json").write_text("{}")
    assert open_index(tmp_path) is None


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ('"alpha beta', "A quotation mark is not closed"),
        ('alpha "', "A quotation mark is not closed"),
        ("OR alpha", "OR stands between two"),
        ("alpha OR", "Something is missing behind the last OR"),
        ("alpha OR OR beta", "OR stands between two"),
        ("-alpha OR beta", "OR stands between two"),
        ("alpha OR -beta", "OR cannot stand before an exclusion"),
        ("x" * (MAX_CHARS + 1), "at most 1,000 characters; this one has 1,001"),
        ("a " * 51, "at most 50 words and phrases"),
    ],
)
def test_what_cannot_be_understood_is_told(typed: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        parse_query(typed)


@pytest.mark.parametrize("typed", ["!!!", "alpha -…", '""', "-", "😀", "title:___", "z" * 41])
def test_a_word_without_letters_is_told(index: Index, typed: str) -> None:
    with pytest.raises(InputError, match="has no word to look for"):
        index.best(parse_query(typed), 5)


PIECES = st.sampled_from([*'ab"-:()[]{}*~^/+ORN\n\\\0é', " OR ", "title:", "domain:", "text:"])


@given(st.lists(PIECES, max_size=40))
def test_nothing_that_is_typed_is_worse_than_told(index: Index, typed: list[str]) -> None:
    with contextlib.suppress(InputError):
        index.best(parse_query("".join(typed)), 3)


def test_thousands_of_brackets_are_only_characters(index: Index) -> None:
    """They overflow the stack of tantivy's own parser, and that is the end of the process."""
    assert index.best(parse_query("(" * 500 + "alpha" + ")" * 490), 1).total > 0


def test_fields_and_phrases_are_read_as_written() -> None:
    assert parse_query('title:"a b" -url:c 12:30 std::vector https://x.example/?q=1') == Query(
        (
            (Term("a b", ("title",)),),
            (Term("12:30"),),
            (Term("std::vector"),),
            (Term("https://x.example/?q=1", ("url",)),),
        ),
        (Term("c", ("url",)),),
    )


def test_words_are_those_of_the_index() -> None:
    text = f"Don't {'z' * 41} Straße 日本語 x_y مرحبا"
    expected = ["don", "t", None, "straße", "日本語", "x", "y", "مرحبا"]
    assert words(text) == [(at, word) for at, word in enumerate(expected) if word is not None]


def _marked(pieces: tuple[tuple[str, bool], ...]) -> str:
    return "".join(f"[{text}]" if is_marked else text for text, is_marked in pieces)


@pytest.mark.parametrize(
    ("text", "phrases", "expected"),
    [
        ("Cats, cat, CAT.", [["cat"]], "Cats, [cat], [CAT]."),
        ("a_cat concat", [["cat"]], "a_[cat] concat"),
        ("New\n\n  York new-york", [["new", "york"]], "[New York] [new-york]"),
        ("big dog", [["big"], ["big", "dog"]], "[big dog]"),
        ("(a+b)*", [["a"]], "([a]+b)*"),
        ("nothing here", [["cat"]], "nothing here"),
        ("nothing here", [], "nothing here"),
        ("قط كبير", [["قط"]], "[قط] كبير"),
        ("", [["cat"]], ""),
    ],
)
def test_a_snippet_marks_whole_words(text: str, phrases: list[list[str]], expected: str) -> None:
    assert _marked(snippet(text, phrases)) == expected


def test_a_snippet_is_where_most_of_it_is() -> None:
    filler = "some words between " * 40
    text = f"cat at first {filler} a dog and a cat {filler}dog"
    shown = _marked(snippet(text, [["cat"], ["dog"]], max_chars=120))
    assert "a [dog] and a [cat] some" in shown
    assert shown.startswith("… ")
    assert shown.endswith(" …")
    assert len(shown) < 140
    assert _marked(snippet(filler, [], max_chars=40)) == "some words between some words between …"


def test_a_snippet_of_ten_megabytes() -> None:
    text = "a cat sat on the mat. " * 450_000 + "needle"
    assert "[needle]" in _marked(snippet(text, [["needle"]]))
    assert "[cat]" in _marked(snippet(text, [["cat"]]))


@given(st.text(), st.lists(st.sampled_from(["a", "ß", "i", "ı", "é", "ق"]), min_size=1, max_size=3))
def test_a_snippet_is_the_text_but_for_its_spaces(text: str, phrase: list[str]) -> None:
    shown = "".join(piece.text for piece in snippet(text, [phrase]))
    assert shown.removeprefix("… ").removesuffix(" …").strip() in " ".join(text.split())
