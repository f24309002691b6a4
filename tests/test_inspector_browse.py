"""Pages of documents: filters, orders and searches against Python's, from files and from the catalogue."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.inspector.catalogue.build import make
from pipeline.inspector.catalogue.catalogue import Catalogue, Opened
from pipeline.inspector.catalogue.place import place
from pipeline.inspector.search import browse as browsing
from pipeline.inspector.search.browse import Asked, Shown, browse
from pipeline.inspector.search.filters import OPERATORS, Filter
from pipeline.records import CORPUS
from pipeline.runs import Folder
from tests.document_parts import document, table, write_parts
from tests.synthetic_run import write_run

Row = Mapping[str, Any]

LANGUAGES = ("en", "de", "fr")
TEXTS = ("red fox", "red dog and blue dog", "blue whale", "Red, red wine", "nothing at all")


def _row(n: int) -> dict[str, Any]:
    """A document whose columns differ from others', some of them null."""
    return document(
        f"{n:032x}",
        f"{TEXTS[n % 5]} {n}",
        title=None if n % 11 == 0 else f"Title {n * 7 % 50}",
        karma=n * 37 % 101 - 5,
        language=LANGUAGES[n % 3],
        language_score=n % 10 / 10,
        gopher_hashes=n % 7 / 7,
        published=None if n % 4 else date(2015 + n % 6, 1 + n % 12, 1 + n % 28),
        created=None if n % 13 == 5 else datetime(2016 + n % 5, 1 + n % 12, 1 + n % 28, n % 24, tzinfo=UTC),
        subreddits=sorted({("News", "science", "pics")[n % 3], "all"}),
        url=f"https://Example{n % 8}.com/{n}",
    )


ROWS = [_row(n) for n in range(230)]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Opened, Opened]:
    """The run from its files, and from its catalogue."""
    run = Folder(str(tmp_path_factory.mktemp("run")))
    write_parts(run, "dedupe", [table(ROWS[:100], CORPUS), table([], CORPUS), table(ROWS[100:], CORPUS)])
    before = Catalogue(run).now()
    make(run, place(run))
    after = Catalogue(run).now()
    assert (before.is_built, after.is_built) == (False, True)
    return before, after


def ids(shown: Shown) -> list[str]:
    return [one.row["id"] for one in shown.documents]


def test_without_a_wish_documents_are_shown_as_they_lie(both: tuple[Opened, Opened]) -> None:
    for opened in both:
        pages = [browse(opened, Asked(page=page, size=50)) for page in range(1, 6)]
        assert [one for page in pages for one in ids(page)] == [row["id"] for row in ROWS]
        assert {(page.total, page.notes) for page in pages} == {(230, ())}
        first = pages[0].documents[3]
        assert first.row["domain"] is None  # the run has no links
        assert {name: first.row[name] for name in ("url", "karma", "title", "created", "part")} == {
            **{name: ROWS[3][name] for name in ("url", "karma", "title", "created")},
            "part": "part-00000",
        }


def test_a_page_behind_the_last_is_the_last(both: tuple[Opened, Opened]) -> None:
    for opened in both:
        for asked in (Asked(), Asked(sort="karma"), Asked("red", sort="url"), Asked("red")):
            if asked.typed and opened.index is None:
                continue
            last = browse(opened, replace(asked, page=10**9))
            assert last.page == -(-last.total // 20)
            assert ids(last) == ids(browse(opened, replace(asked, page=last.page)))
            assert len(last.documents) == (last.total - 1) % 20 + 1


FILTERS: list[tuple[Filter, Callable[[Row], bool]]] = [
    (Filter("karma", "ge", "40"), lambda row: row["karma"] >= 40),
    (Filter("karma", "lt", " 1_0 "), lambda row: row["karma"] < 10),
    (Filter("karma", "eq", "12.0"), lambda row: row["karma"] == 12),
    (Filter("karma", "ne", "12"), lambda row: row["karma"] != 12),
    (Filter("karma", "gt", "12.5"), lambda row: row["karma"] > 12.5),
    (Filter("language_score", "eq", "0.3"), lambda row: row["language_score"] == 0.3),
    (Filter("language_score", "le", "0.3"), lambda row: row["language_score"] <= 0.3),
    (Filter("gopher_hashes", "gt", "0.5"), lambda row: row["gopher_hashes"] > 0.5),
    (Filter("language", "eq", "de"), lambda row: row["language"] == "de"),
    (Filter("language", "gt", "de"), lambda row: row["language"] > "de"),
    (Filter("url", "has", "EXAMPLE3"), lambda row: "example3" in row["url"].lower()),
    (Filter("url", "has", "%"), lambda _: False),
    (Filter("title", "eq", "'; DROP TABLE documents; --"), lambda _: False),
    (Filter("title", "ne", "Title 7"), lambda row: row["title"] != "Title 7"),
    (Filter("title", "none"), lambda row: row["title"] is None),
    (Filter("title", "some"), lambda row: row["title"] is not None),
    (Filter("subreddits", "has", "news"), lambda row: "News" in row["subreddits"]),
    (Filter("subreddits", "has", "new"), lambda _: False),
    (Filter("num_bytes", "ge", "12"), lambda row: len(row["text"].encode()) >= 12),
    (Filter("part", "eq", "part-00002"), lambda row: int(row["id"], 16) >= 100),
]


def _created(compare: Callable[[Any, Any], bool], *at: int) -> Callable[[Row], bool]:
    moment = datetime(*at, tzinfo=UTC)  # type: ignore[arg-type,misc]
    return lambda row: row["created"] is not None and compare(row["created"], moment)


FILTERS += [
    (Filter("created", "ge", "2018"), _created(operator.ge, 2018, 1, 1)),
    (Filter("created", "gt", "2018"), _created(operator.ge, 2019, 1, 1)),
    (Filter("created", "le", "2018-06"), _created(operator.lt, 2018, 7, 1)),
    (Filter("created", "lt", "2018-6-9"), _created(operator.lt, 2018, 6, 9)),
    (Filter("created", "ge", "2018-06-09 07:00"), _created(operator.ge, 2018, 6, 9, 7)),
    (Filter("created", "ge", "2018-06-09T09:00+02:00"), _created(operator.ge, 2018, 6, 9, 7)),
    (Filter("created", "eq", "2017"), lambda row: row["created"] is not None and row["created"].year == 2017),
    (Filter("created", "ne", "2017"), lambda row: row["created"] is None or row["created"].year != 2017),
    (
        Filter("published", "eq", "2016-12"),
        lambda row: (
            row["published"] is not None and (row["published"].year, row["published"].month) == (2016, 12)
        ),
    ),
]


@pytest.mark.parametrize(("one", "expected"), FILTERS, ids=[str(one) for one, _ in FILTERS])
def test_filters_leave_what_python_leaves(
    both: tuple[Opened, Opened], one: Filter, expected: Callable[[Row], bool]
) -> None:
    right = [row["id"] for row in ROWS if expected(row)]
    for opened in both:
        shown = browse(opened, Asked(filters=(one,), size=100))
        assert (shown.total, ids(shown)) == (len(right), right[:100])
    asked = Asked("red", filters=(one,), size=100)
    searched = [*ids(browse(both[1], asked)), *ids(browse(both[1], replace(asked, page=2)))]
    assert set(searched) == {row["id"] for row in ROWS if expected(row) and "red" in row["text"].lower()}


def test_all_filters_hold_at_once(both: tuple[Opened, Opened]) -> None:
    filters = (Filter("karma", "gt", "20"), Filter("language", "eq", "en"), Filter("karma", "lt", "70"))
    right = [row["id"] for row in ROWS if 20 < row["karma"] < 70 and row["language"] == "en"]
    for opened in both:
        assert ids(browse(opened, Asked(filters=filters, size=100))) == right


SORTED = ["karma", "title", "created", "published", "gopher_hashes", "url", "subreddits", "num_bytes", "id"]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("column", SORTED)
def test_orders_are_pythons_with_nulls_last(
    both: tuple[Opened, Opened], column: str, *, descending: bool
) -> None:
    def value(row: Row) -> Any:
        return len(row["text"].encode()) if column == "num_bytes" else row[column]

    there = [row for row in ROWS if value(row) is not None]
    right = sorted(there, key=value, reverse=descending)  # equal ones stay as they lie
    right += [row for row in ROWS if value(row) is None]
    for opened in both:
        asked = Asked(sort=column, descending=descending, size=50)
        pages = [browse(opened, replace(asked, page=page)) for page in range(1, 6)]
        shown = [one.row for page in pages for one in page.documents]
        assert [row[column] for row in shown] == [value(row) for row in right]
        assert sorted(row["id"] for row in shown) == [row["id"] for row in ROWS]
    if column != "id":
        searched = browse(both[1], replace(asked, typed="red", size=100)).documents
        red = [value(row) for row in right if "red" in row["text"].lower()]
        assert [one.row[column] for one in searched] == red[:100]


def test_a_search_shows_the_best_with_snippets(both: tuple[Opened, Opened]) -> None:
    shown = browse(both[1], Asked("red -dog", size=100))
    right = {row["id"] for row in ROWS if "red" in row["text"].lower() and "dog" not in row["text"]}
    assert (set(ids(shown)), shown.total) == (right, len(right))
    scores = [one.score for one in shown.documents]
    assert scores == sorted(scores, key=lambda score: -(score or 0))
    for one in shown.documents:
        text = ROWS[int(one.row["id"], 16)]["text"]
        assert "".join(piece.text for piece in one.snippet) == text
        assert {piece.text.lower() for piece in one.snippet if piece.is_marked} == {"red"}


def test_a_filtered_search_keeps_the_best_first(both: tuple[Opened, Opened]) -> None:
    every = ids(browse(both[1], Asked("red OR blue", size=100)))
    some = browse(both[1], Asked("red OR blue", filters=(Filter("language", "eq", "en"),), size=100))
    english = [one for one in every if ROWS[int(one, 16)]["language"] == "en"]
    assert [one for one in ids(some) if one in english] == english


def test_more_matches_than_can_be_sifted_are_told(
    both: tuple[Opened, Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "MAX_MATCHES", 10)
    shown = browse(both[1], Asked("red", sort="karma"))
    assert shown.total == 10
    assert shown.notes == ("138 match; filters and orders see the 10 best of them.",)


def test_before_the_index_a_search_says_so(both: tuple[Opened, Opened]) -> None:
    shown = browse(both[0], Asked("red"))
    assert shown.documents == ()
    assert "once all of them are indexed" in shown.notes[0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(sort="nothing"), "Documents have no column “nothing”"),
        (Asked(sort='karma" --'), "Documents have no column"),
        (Asked(filters=(Filter("text", "has", "x"),)), "Documents have no column “text”"),
        (Asked(filters=(Filter("karma", "like", "x"),)), "There is no operator “like”"),
        (Asked(filters=(Filter("karma", "ge", "many"),)), "karma is a number, and “many” is none"),
        (Asked(filters=(Filter("karma", "ge", "nan"),)), "karma is a number, and “nan” is none"),
        (Asked(filters=(Filter("karma", "ge", ""),)), "karma is a number, and “” is none"),
        (
            Asked(filters=(Filter("karma", "has", "1"),)),
            "“contains” does not go with karma, which is a number",
        ),
        (Asked(filters=(Filter("subreddits", "eq", "news"),)), "“=” does not go with subreddits"),
        (Asked(filters=(Filter("created", "ge", "May"),)), "created is a time, and “May” is none"),
        (Asked(filters=(Filter("created", "ge", "2019-13"),)), "created is a time"),
        (Asked(filters=(Filter("created", "le", "9999"),)), "created is a time"),
        (Asked(filters=(Filter("url", "eq", "x" * 2_001),)), "at most 2,000 characters"),
        (Asked("red OR"), "behind the last OR"),
    ],
)
def test_what_has_no_sense_is_told(both: tuple[Opened, Opened], asked: Asked, said: str) -> None:
    for opened in both:
        with pytest.raises(InputError) as raised:
            browse(opened, asked)
        assert said in str(raised.value)


def test_every_operator_was_tried() -> None:
    assert {one.operator for one, _ in FILTERS} == set(OPERATORS)


@pytest.mark.parametrize("upto", ["fetch", "extract", "filter"])
def test_earlier_stages_have_fewer_columns(tmp_path: Path, upto: str) -> None:
    run = write_run(tmp_path / "run", num_links=30, upto=upto)
    first = browse(Catalogue(run).now(), Asked(size=50))
    make(run, place(run))
    opened = Catalogue(run).now()
    assert ids(browse(opened, Asked(size=50))) == ids(first)
    assert bool(first.documents) == (upto != "fetch")
    if upto == "extract":
        assert "num_words" not in first.documents[0].row
        assert browse(opened, Asked("page", sort="domain")).total == first.total
        with pytest.raises(InputError, match="no column “num_words”"):
            browse(opened, Asked(sort="num_words"))


def test_a_damaged_part_is_said_and_the_others_are_shown(run: Folder) -> None:
    write_parts(
        run, "dedupe", [table(ROWS[:30], CORPUS), table(ROWS[30:50], CORPUS), table(ROWS[50:80], CORPUS)]
    )
    Path(run.path("corpus/part-00001.parquet")).write_bytes(b"PAR1 no more")
    before = browse(Catalogue(run).now(), Asked(size=50, page=1))
    assert ids(before) == [row["id"] for row in (*ROWS[:30], *ROWS[50:70])]
    assert [note.split(" (")[0] for note in before.notes] == ["corpus/part-00001.parquet cannot be read"]
    with pytest.raises(InputError, match="webtext verify"):
        browse(Catalogue(run).now(), Asked(sort="karma"))
    make(run, place(run))
    opened = Catalogue(run).now()
    assert ids(browse(opened, Asked(size=100))) == [row["id"] for row in (*ROWS[:30], *ROWS[50:80])]
    Path(run.path("corpus/part-00002.parquet")).unlink()
    found = browse(opened, Asked("red", size=100))
    assert {bool(one.snippet) for one in found.documents if one.row["part"] == "part-00000"} == {True}
    assert {bool(one.snippet) for one in found.documents if one.row["part"] == "part-00002"} == {False}
    assert found.notes[0].startswith("corpus/part-00002.parquet cannot be read")
