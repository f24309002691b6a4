"""Random samples: the same for a seed, fair by documents, words and domains, and read in a browser."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest

from pipeline.inspector.judging.samples import WAYS, By, Draw, draw, languages
from pipeline.records import CORPUS
from pipeline.runs import Folder
from tests.browser import browsing, fits, keep_picture, page_of
from tests.inspected import ask, inspecting
from tests.synthetic_run import write_run

NUM = 3_000


@pytest.fixture(scope="module")
def documents() -> Iterator[duckdb.DuckDBPyConnection]:
    """Documents of 10 to 1,000 words, on domains of 1 to 77 of them."""
    rng = np.random.default_rng(11)
    rows = [
        (
            hashlib.md5(str(n).encode(), usedforsecurity=False).hexdigest(),
            f"site{int(np.sqrt(n * 2))}.example",
            int(rng.integers(10, 1_000)),
            ("en", "de", "fr")[n % 3],
        )
        for n in range(NUM)
    ]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE documents (id TEXT, domain TEXT, num_words INT, language TEXT)")
        connection.executemany("INSERT INTO documents VALUES (?, ?, ?, ?)", rows)
        yield connection


@pytest.mark.parametrize("by", WAYS)
def test_a_seed_always_draws_the_same(documents: duckdb.DuckDBPyConnection, by: By) -> None:
    first = draw(documents, Draw(7, 20, by))
    assert len(set(first)) == 20
    assert draw(documents, Draw(7, 20, by)) == first
    assert draw(documents, Draw(7, 5, by)) == first[:5]
    assert draw(documents, Draw(8, 20, by)) != first


@pytest.mark.parametrize("by", WAYS)
def test_only_a_language(documents: duckdb.DuckDBPyConnection, by: By) -> None:
    found = draw(documents, Draw(7, 20, by, "de"))
    sql = "SELECT DISTINCT language FROM documents WHERE list_contains(?, id)"
    assert documents.execute(sql, [found]).fetchall() == [("de",)]
    assert draw(documents, Draw(7, 20, by, "xx")) == []
    assert languages(documents) == [("de", 1000), ("en", 1000), ("fr", 1000)]


def test_of_few_documents_all_are_drawn() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE documents (id TEXT, domain TEXT, num_bytes INT)")
        connection.execute("INSERT INTO documents VALUES ('aa', 'x', 3), ('bb', 'x', 0), ('cc', 'y', 5)")
        assert set(draw(connection, Draw(1, 10))) == {"aa", "bb", "cc"}
        assert set(draw(connection, Draw(1, 10, "words"))) == {"aa", "cc"}  # by bytes, of which bb has none
        assert len(draw(connection, Draw(1, 10, "domains"))) == 2
        assert languages(connection) == []


def drawn(documents: duckdb.DuckDBPyConnection, by: By, num_seeds: int) -> list[tuple[str, int, str]]:
    """The first document that each of many seeds draws: domain, words, id."""
    ids = [draw(documents, Draw(seed, 1, by))[0] for seed in range(num_seeds)]
    sql = "SELECT domain, num_words, id FROM unnest($ids) ids(id) JOIN documents USING (id)"
    return documents.execute(sql, {"ids": ids}).fetchall()


def test_documents_are_as_likely_as_each_other(documents: duckdb.DuckDBPyConnection) -> None:
    found = drawn(documents, "documents", 400)
    mean = documents.execute("SELECT avg(num_words) FROM documents").fetchall()[0][0]
    assert abs(np.mean([words for _, words, _ in found]) / mean - 1) < 0.1
    assert max(Counter(one for *_, one in found).values()) < 8


def test_words_are_as_likely_as_each_other(documents: duckdb.DuckDBPyConnection) -> None:
    found = drawn(documents, "words", 400)
    sql = "SELECT sum(num_words * num_words) / sum(num_words) FROM documents"
    mean = documents.execute(sql).fetchall()[0][0]
    assert abs(np.mean([words for _, words, _ in found]) / mean - 1) < 0.1


def test_domains_are_as_likely_as_each_other(documents: duckdb.DuckDBPyConnection) -> None:
    num_domains = documents.execute("SELECT count(DISTINCT domain) FROM documents").fetchall()[0][0]
    found = Counter(domain for domain, *_ in drawn(documents, "domains", num_domains * 10))
    assert len(found) > 0.95 * num_domains
    assert max(found.values()) < 30


# --- in the inspector -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_run(tmp_path_factory.mktemp("samples") / "run")


def text_of(run: Folder, document: str) -> str:
    tables = [run.path(f"corpus/part-{n:05d}.parquet") for n in range(2)]
    found = duckdb.read_parquet(tables).filter(f"id = '{document}'").select("text").fetchall()
    return str(found[0][0])


def test_an_address_can_be_shared(made: Folder) -> None:
    with inspecting(made) as address:
        answer = ask(f"{address}/samples?n=5&by=words&language=en")
        assert answer.status == 303
        there = answer.headers["location"]
        assert there.endswith("&n=5&by=words&language=en")
        page = ask(f"{address}{there}")
        assert page.status == 200
        assert page.text.count('class="panel sample"') == 5
        again = ask(f"{address}{there}")
        assert again.text == page.text
        for query in ("seed=abc", "seed=-4", "seed=1&n=0&by=x&language=%00", "seed=1&n=100000"):
            answer = ask(f"{address}/samples?{query}")
            while answer.status == 303:
                answer = ask(f"{address}{answer.headers['location']}")
            assert answer.status == 200


def test_a_run_without_documents_says_so(tmp_path: Path) -> None:
    with inspecting(write_run(tmp_path / "run", 30, "link")) as address:
        assert "webtext build" in ask(f"{address}/samples?seed=1").text


def test_a_damaged_part_leaves_the_others_to_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 60)
    with inspecting(run, indexed=True) as address:
        Path(run.path("corpus/part-00000.parquet")).write_bytes(b"no table")
        page = ask(f"{address}/samples?seed=1&n=100").text
    assert "webtext verify" in page
    assert page.count("the end of page") > 5


def test_the_longest_text_and_the_other_way_round(tmp_path: Path) -> None:
    """A text of 10 MB, one in Hebrew, and one that is markup."""
    run = write_run(tmp_path / "run", 60)
    folder = run / "corpus"
    for n, text in enumerate(("שלום עולם " * 50, "<script>alert('here')</script>" + "word " * 2_000_000)):
        table = folder.read_table(f"part-{n:05d}.parquet")
        texts = [text, *table["text"].to_pylist()[1:]]
        table = table.set_column(CORPUS.names.index("text"), CORPUS.field("text"), [texts])
        with folder.writing(f"part-{n:05d}.parquet") as sink:
            import pyarrow.parquet as pq

            pq.write_table(table, sink)
    with inspecting(run) as address, browsing() as browser:
        page = ask(f"{address}/samples?seed=1&n=100").text
        assert len(page) < 1_000_000
        assert "more characters" in page
        assert "<script>alert" not in page
        with page_of(browser, javascript=False) as shown:
            shown.goto(f"{address}/samples?seed=1&n=100")
            assert fits(shown)
            hebrew = shown.locator(".reading", has_text="שלום").first
            assert hebrew.evaluate("one => getComputedStyle(one).direction") == "rtl"


def test_samples_are_read_in_a_browser(made: Folder) -> None:
    with inspecting(made, indexed=True) as address, browsing() as browser:
        with page_of(browser) as page:
            page.goto(f"{address}/samples?seed=5&n=4&by=documents")
            ids = [one.get_attribute("id") or "" for one in page.locator(".sample").all()]
            for one in ids:
                text = page.locator(f"#{one} .reading").evaluate("one => one.textContent")
                assert text == text_of(made, one.removeprefix("document-"))
            seen = []
            for key in "jjkjjjj":
                page.keyboard.press(key)
                seen.append(ids.index(page.evaluate("document.activeElement.id")))
            assert seen == [0, 1, 0, 1, 2, 3, 3]
            page.keyboard.press("n")
            page.wait_for_url("**seed=6**")
            width = page.locator(".reading").first.bounding_box()
            assert width is not None
            assert width["width"] < 860
        with page_of(browser, dark=True, phone=True) as page:
            page.goto(f"{address}/samples?seed=5&n=2&by=domains")
            assert fits(page)
            keep_picture(page, "samples-phone-dark")
