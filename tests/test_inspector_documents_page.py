"""The pages of documents and of SQL, as a person uses them in a browser, with and without JavaScript."""

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from pipeline.inspector.search.browse import PAGE_SIZES
from pipeline.records import CORPUS
from pipeline.report.queries import QUERIES
from pipeline.runs import Folder
from tests.browser import browsing, fits, keep_picture, page_of
from tests.document_parts import document, table, write_parts
from tests.inspected import ask, inspecting
from tests.synthetic_run import write_run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    run = write_run(tmp_path_factory.mktemp("pages") / "run", num_links=120)
    with inspecting(run, indexed=True) as served:
        yield served


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A run that nothing was made of."""
    with inspecting(write_run(tmp_path_factory.mktemp("young") / "run", num_links=120)) as served:
        yield served


def titles(page: Page) -> list[str]:
    return page.locator("tr[data-row] .title").all_inner_texts()


def column(page: Page, name: str) -> list[str]:
    return page.locator(f'td[data-name="{name}"]').all_inner_texts()


def test_a_person_finds_a_document_with_keys_alone(browser: Browser, address: str) -> None:
    with page_of(browser) as page:
        page.goto(address)
        assert page.locator("#building").is_hidden()
        total = int(re.findall(r"of (\d+) documents", page.inner_text("main"))[0])
        assert total > 20
        first = titles(page)
        assert len(first) == 20
        page.keyboard.press("n")
        page.wait_for_url("**/?page=2")
        assert len(titles(page)) == min(20, total - 20)
        assert set(titles(page)).isdisjoint(first)
        page.keyboard.press("p")
        page.wait_for_url(f"{address}/")
        page.keyboard.press("/")
        page.keyboard.type('word31 OR "end of page 9"')
        page.keyboard.press("Enter")
        page.wait_for_url("**/?q=*")
        assert {text.lower() for text in page.locator("mark").all_inner_texts()} <= {
            "word31",
            "end of page 9",
        }
        assert len(page.locator("tr[data-row]:has(mark)").all()) == len(titles(page)) > 0
        keep_picture(page, "documents-found")
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        wanted = page.locator("tr[data-row] .title").first
        expect(wanted).to_be_focused()
        there = wanted.get_attribute("href")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{there}")
        page.go_back()
        page.keyboard.press("?")
        assert page.locator("#keys").is_visible()


def test_filters_are_built_without_javascript(browser: Browser, address: str) -> None:
    with page_of(browser, javascript=False) as page:
        page.goto(address)
        page.click("summary")
        page.select_option("select[name=c]", "karma")
        page.select_option("select[name=o]", "ge")
        page.fill("input[name=v]", "50")
        page.select_option("select[name=sort]", "num_words")
        page.select_option("select[name=desc]", "1")
        page.select_option("select[name=size]", "50")
        page.click("text=Apply")
        assert all(int(text) >= 50 for text in column(page, "karma"))
        sizes = [int(text.replace(",", "")) for text in column(page, "words")]
        assert sizes == sorted(sizes, reverse=True)
        assert page.locator("th[aria-sort=descending]").inner_text() == "words ↓"
        page.locator(".filter").last.locator("[name=c]").select_option("language")
        page.locator(".filter").last.locator("[name=v]").fill("de")
        page.click("text=Apply")
        assert set(column(page, "language")) == {"de"}
        assert page.locator(".chip").all_inner_texts() == ["karma ≥ 50 ✕", "language = de ✕"]
        keep_picture(page, "documents-filtered")
        page.click("text=karma ≥ 50")
        assert page.locator(".chip").all_inner_texts() == ["language = de ✕"]
        assert min(map(int, column(page, "karma"))) < 50
        page.click("th >> text=karma")
        page.click("th >> text=karma")
        karma = [int(text) for text in column(page, "karma")]
        assert karma == sorted(karma)
        page.locator('td[data-name="domain"] a').first.click()
        assert len(set(column(page, "domain"))) == 1
        page.click("text=everything")
        assert page.locator(".chip").count() == 0


def test_a_column_that_is_asked_about_is_shown(browser: Browser, address: str) -> None:
    with page_of(browser) as page:
        page.goto(f"{address}/?c=subreddits&o=has&v=NEWS&sort=gopher_words&desc=1")
        assert all("news" in text for text in column(page, "subreddits"))
        assert len(column(page, "gopher_words")) == len(titles(page)) > 0


@pytest.mark.parametrize("path", ["/", "/?q=page&c=karma&o=ge&v=5&sort=karma&desc=1", "/sql?sql=FROM+links"])
def test_pages_fit_every_window_in_light_and_dark(browser: Browser, address: str, path: str) -> None:
    name = "sql" if "sql" in path else "documents-asked" if "q=" in path else "documents"
    for dark, phone in ((False, False), (True, False), (False, True), (True, True)):
        with page_of(browser, dark=dark, phone=phone) as page:
            page.goto(address + path)
            assert fits(page)
            keep_picture(page, f"{name}-{'phone' if phone else 'desk'}-{'dark' if dark else 'light'}")


def test_before_anything_is_made_the_first_page_is_there(browser: Browser, young: str) -> None:
    with page_of(browser) as page:
        page.goto(young)
        assert len(titles(page)) == 20
        assert "which is slower" in page.inner_text("#building")
        page.goto(f"{young}/?sort=karma&desc=1")
        karma = [int(text) for text in column(page, "karma")]
        assert karma == sorted(karma, reverse=True)
        page.goto(f"{young}/?q=page")
        assert "once all of them are indexed" in page.inner_text("main")
        keep_picture(page, "documents-young")
    answer = json.loads(ask(f"{young}/building.json").text)
    assert answer["is_ready"] is False
    assert answer["line"].startswith("Reading tables")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"q": '"open'}, "A quotation mark is not closed"),
        ({"q": "a OR"}, "Something is missing behind the last OR"),
        ({"q": "?!"}, "has no word to look for"),
        ({"q": "(" * 900}, "has no word to look for"),
        ({"c": "karma", "o": "ge", "v": "<b>"}, "karma is a number, and “<b>” is none"),
        ({"c": "text", "o": "has", "v": "x"}, "no column “text”"),
        ({"c": "karma", "o": "xx", "v": "1"}, "no operator “xx”"),
        ({"sort": "1; DROP TABLE documents"}, "no column"),
        ({"q": "zzz"}, "No document is like that"),
        ({"q": "\0"}, "has no word to look for"),
    ],
)
def test_what_cannot_be_is_told_with_the_form_as_it_was(
    address: str, young: str, query: dict[str, str], said: str
) -> None:
    for served in (address, young) if "v" in query or "sort" in query else (address,):
        answer = ask(f"{served}/?{urlencode(query)}")
        assert answer.status == 200
        assert said in html.unescape(answer.text)
        assert query.get("q", query.get("v", "")) in html.unescape(answer.text)


@pytest.mark.parametrize(
    "query", ["page=-1", "page=x&size=7&desc=z", "page=9999999999999", "c=karma", "o=ge&v=1"]
)
def test_what_has_no_sense_is_as_if_it_were_not_there(address: str, query: str) -> None:
    answer = ask(f"{address}/?{query}")
    assert answer.status == 200
    assert "data-row" in answer.text


def test_an_id_leads_to_its_story(address: str) -> None:
    found = re.search(r'href="/documents/([0-9a-f]{32})"', ask(address).text)
    assert found is not None
    answer = ask(f"{address}/?q=+{found[1]}+")
    assert (answer.status, answer.headers["location"]) == (303, f"/documents/{found[1]}")
    assert "No document is like that" in ask(f"{address}/?q={'0' * 32}").text


def test_page_sizes_are_kept(address: str) -> None:
    for size in PAGE_SIZES:
        text = ask(f"{address}/?size={size}&sort=url").text
        assert text.count("data-row") <= size
        kept = re.search(r'rel="next" href="([^"]*)"', text)
        assert kept is None or ("size=50" in kept[1]) == (size == 50)


def test_documents_are_shown_as_text_whatever_is_in_them(browser: Browser, run: Folder) -> None:
    script = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
    rows = [
        document(
            "0" * 32, f"needle {script} end", title=script, url=f"https://x.example/{script}", language=script
        ),
        document("1" * 32, "وجدنا needle هنا", title="عنوان الصفحة", url="https://عربي.example/صفحة"),
        document(
            "2" * 32, "needle " + "x" * 10_000_000, title="t" * 5_000, url="https://x.example/" + "u" * 5_000
        ),
    ]
    write_parts(run, "dedupe", [table(rows, CORPUS)])
    with inspecting(run, indexed=True) as served:
        for phone in (False, True):
            with page_of(browser, phone=phone) as page:
                page.goto(f"{served}/?q=needle&c=language&o=some")
                assert page.title() == "Documents · run · webtext"
                assert len(titles(page)) == 3
                assert script in titles(page)
                assert page.locator("mark").all_inner_texts() == ["needle"] * 3
                assert fits(page)
                keep_picture(page, f"documents-hostile-{'phone' if phone else 'desk'}")


def test_runs_without_documents_say_so(tmp_path: Path, browser: Browser) -> None:
    with inspecting(write_run(tmp_path / "run", num_links=20, upto="link"), indexed=True) as served:
        assert "There are no documents yet" in ask(served).text
        assert "links" in ask(f"{served}/sql").text
    empty = Folder(str(tmp_path / "empty"))
    empty.write("webtext.toml", b"# Settings digest: 0\n")
    with inspecting(empty, indexed=True) as served, page_of(browser) as page:
        page.goto(served)
        assert "There are no documents yet" in page.inner_text("main")
        page.goto(f"{served}/sql")
        assert "There are no tables yet" in page.inner_text("main")
        keep_picture(page, "sql-empty")
    write_parts(empty, "dedupe", [table([], CORPUS)])
    for indexed in (False, True):
        with inspecting(empty, indexed=indexed) as served:
            assert "The corpus is empty" in ask(served).text


def test_sql_is_asked_and_answered(browser: Browser, address: str) -> None:
    with page_of(browser) as page:
        page.goto(f"{address}/sql")
        page.fill("textarea", "SELECT language, 1000 * count(*) AS num, NULL AS no FROM documents GROUP BY 1")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(".answer")
        assert page.locator(".answer th").all_inner_texts() == ["language", "num", "no"]
        rows = [row.locator("td").all_inner_texts() for row in page.locator(".answer tbody tr").all()]
        assert {row[0] for row in rows} == {"en", "de"}
        assert all(re.fullmatch(r"\d+,000", row[1]) and row[2] == "NULL" for row in rows)
        assert re.search(r"2 rows in \d+ ms", page.inner_text("#answer"))
        with page.expect_download() as download:
            page.click("a >> text=as CSV")
        lines = list(csv.reader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
        assert lines[0] == ["language", "num", "no"]
        assert sorted(line[1] for line in lines[1:]) == sorted(row[1].replace(",", "") for row in rows)
        page.fill("textarea", "DROP TABLE documents")
        page.click("text=Ask")
        assert "This is DROP and not a query" in page.inner_text("[role=alert]")
        keep_picture(page, "sql-refused")
        query = next(one for one in QUERIES if one.name == "domains")
        page.click(f"text='{query.title}'")
        assert page.input_value("textarea") == query.sql
        assert page.locator(".answer tbody tr").count() > 0


def test_long_values_and_answers_are_cut_on_the_page_alone(address: str) -> None:
    sql = urlencode({"sql": "SELECT repeat('x', 5000) AS long FROM range(1200)"})
    page = ask(f"{address}/sql?{sql}").text
    assert "The first 1,000 rows" in page
    assert f"{'x' * 160} …" in page
    assert "x" * 161 not in page
    lines = ask(f"{address}/sql.csv?{sql}").text.splitlines()
    assert lines == ["long", *["x" * 5000] * 1200]
    listed = ask(f"{address}/sql.csv?sql=SELECT+[1,NULL]+AS+one,+'a,%22b%0Ac'+AS+two").text
    assert list(csv.reader(io.StringIO(listed))) == [["one", "two"], ["[1, null]", 'a,"b\nc']]


def test_csv_of_what_is_no_query_is_told(address: str) -> None:
    answer = ask(f"{address}/sql.csv?sql=DELETE+FROM+documents")
    assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert "This is DELETE and not a query" in answer.text
    assert ask(f"{address}/sql.csv").status == 400
