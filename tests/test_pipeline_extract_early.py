"""What extract rejects before it asks the slow extractor: hopeless pages, and hardly ever another."""

from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ExtractSettings, Hopeless
from pipeline.extract.charset import decode
from pipeline.extract.early import reject_early
from pipeline.extract.extractors import EXTRACTORS
from pipeline.extract.page import Page
from pipeline.filter.language import load_detector
from pipeline.filter.settings import FilterSettings
from pipeline.records import Reason, Rejection
from webtext.settings import Settings

ENGLISH = Hopeless(languages=("en",), min_words=50)
ANY = Hopeless()

SENTENCE = "There is a good deal to be said about this, and most of it has been said before, at length. "
GERMAN = "Alle Menschen sind frei und gleich an Würde und Rechten geboren, und sie sind mit Vernunft begabt. "


def html(text: str, title: str = "A page", lang: str = "", more: str = "") -> Page:
    paragraphs = "".join(f"<p>{one}</p>" for one in text.split("\n"))
    attribute = f' lang="{lang}"' if lang else ""
    return Page(
        f"<!DOCTYPE html><html{attribute}><head><title>{title}</title></head>"
        f"<body><article>{paragraphs}</article>{more}</body></html>"
    )


def test_a_page_of_fewer_words_than_the_filter_keeps() -> None:
    assert reject_early(html("word " * 49, title=""), ENGLISH) == Rejection(
        Reason.TOO_SHORT, "49 words in all"
    )
    assert reject_early(html("word " * 49, title=""), Hopeless(min_words=40)) is None
    assert reject_early(html("word", title=""), ANY) is None


def test_words_that_only_readers_without_scripts_see_count() -> None:
    shell = html("", more=f"<noscript><p>{SENTENCE * 9}</p></noscript>")
    rejection = reject_early(shell, ENGLISH)
    assert rejection is None or not rejection.value.endswith("in all")


def test_a_text_that_stands_in_a_script_is_left_to_the_extractor() -> None:
    article = f'<script type="application/ld+json">{{"articleBody": "{SENTENCE * 9}"}}</script>'
    assert reject_early(html("", more=article), ENGLISH) is None


def test_a_page_of_much_navigation_and_nothing_else() -> None:
    links = "".join(f'<li><a href="/{number}">Section {number}</a></li>' for number in range(60))
    page = Page(f"<html lang=en><body><nav><ul>{links}</ul></nav><div id=root></div></body></html>")
    rejection = reject_early(page, ENGLISH)
    assert rejection is not None
    assert rejection.reason is Reason.TOO_SHORT
    assert rejection.value.endswith("words at a quick look")


@pytest.mark.parametrize(
    "title",
    [
        "404 Not Found",
        "404",
        "404 - Example",
        "Error 404 (Not Found)!!1",
        "Page not found | Example",
        "Example - Page Not Found",
        "Sorry, the page could not be found",
        "403 Forbidden",
        "Just a moment...",
        "Attention Required! | Cloudflare",
        "Access Denied",
        "Service Unavailable",
        "example.com: this domain is for sale",
        "Log in",
    ],
)
def test_error_pages_by_their_titles(title: str) -> None:
    text = "\n".join([SENTENCE * 3] * 2)
    assert reject_early(html(text, title), ENGLISH) == Rejection(Reason.ERROR_PAGE, title)
    assert reject_early(html(text * 4, title), ENGLISH) is None  # it has something to say about that


@pytest.mark.parametrize(
    "title",
    [
        "404 ways to cook rice",
        "The page that was never found again",
        "How access control lists work",
        "Room 404",
        "A moment of silence",
        "Log in the fireplace",
        "Finding forbidden cities",
        "",
    ],
)
def test_titles_that_are_none_of_errors(title: str) -> None:
    text = "\n".join([SENTENCE * 3] * 2)
    assert reject_early(html(text, title), ENGLISH) is None


def test_other_languages_unless_the_page_says_that_it_is_of_one_that_is_wanted() -> None:
    text = "\n".join([GERMAN * 3] * 9)
    rejection = reject_early(html(text), ENGLISH)
    assert rejection is not None
    assert rejection.reason is Reason.LANGUAGE
    assert rejection.value.startswith("de 0.") or rejection.value.startswith("de 1.")
    assert reject_early(html(text, lang="de-DE"), ENGLISH) == rejection
    assert reject_early(html(text, lang="en-US"), ENGLISH) is None  # the doubt
    assert reject_early(html(text), Hopeless(languages=("de", "fr"))) is None
    assert reject_early(html(text), ANY) is None


@given(st.text(alphabet='<>/="&; abcdivptle\0\ud7ff', max_size=300))
def test_any_page_gets_an_answer(text: str) -> None:
    for hopeless in (ENGLISH, ANY):
        answer = reject_early(Page(text), hopeless)
        assert answer is None or answer.reason in (Reason.TOO_SHORT, Reason.LANGUAGE, Reason.ERROR_PAGE)


def test_no_page_is_lost_that_would_be_kept(realdata: Path) -> None:
    """Of the labelled pages, those that are rejected early are those that the filter would reject."""
    filters = FilterSettings()
    num_pages = num_lost = num_early = 0
    with (realdata / "realweb" / "pages.warc.gz").open("rb") as stream:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
            content_type = record.http_headers.get("Content-Type") or ""
            page = Page(decode(record.reader.read(), content_type))
            num_pages += 1
            if reject_early(page, ENGLISH) is None:
                continue
            num_early += 1
            text = EXTRACTORS["trafilatura"](page)
            language, score = load_detector()(text)
            is_english = language == "en" and score >= filters.min_language_score
            num_lost += is_english and len(text.split()) >= filters.min_words
    assert num_pages == 88
    assert num_early > 0  # some are of other languages
    assert num_lost <= 0.005 * num_pages


def test_what_is_hopeless_follows_from_the_filter_and_not_from_a_stricter_one() -> None:
    def hopeless(**values: object) -> Hopeless:
        filters = FilterSettings.model_validate(values)
        section = Settings(filter=filters, extract=ExtractSettings()).section("extract")
        found: Hopeless = section.hopeless  # type: ignore[attr-defined]
        return found

    assert hopeless() == ENGLISH
    assert hopeless(min_words=500) == ENGLISH
    assert hopeless(min_words=20).min_words == 20
    assert hopeless(languages=[]).languages == ()
    off = Settings(extract=ExtractSettings(reject_early=False)).section("extract")
    assert off.hopeless == ANY  # type: ignore[attr-defined]
