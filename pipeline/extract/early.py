"""Pages that the filter would reject whatever their text, told before the slow extractor is asked.

What is rejected here would hardly ever be kept otherwise (measured: benchmarks/extract.py): a page is given
the benefit of every doubt.
"""

import re

from pipeline.config import Hopeless
from pipeline.extract.page import Page
from pipeline.filter.language import load_detector
from pipeline.records import Reason, Rejection

_MOST_WORDS_OF_AN_ERROR = 150  # a main text of so many is one, whatever the title
_MOST_WORDS_OF_A_SHELL = 400  # a page of more words, all told, may have a text that a quick look misses

_LEAST_WORDS_TO_TELL_A_LANGUAGE = 50
_SURE = 0.6

_ERROR_TITLE = re.compile(
    r"^(?:error |http )?(?:40[0-9]|410|429|50[0-4])(?:$|\s?[-–—|:(!]"
    r"|\s(?:error|not|page|file|forbidden|unauthori|bad|gone|too|internal|service|gateway))"
    r"|\b(?:not found|access denied|forbidden|bad gateway|service unavailable)\W*$"
    r"|\b(?:page|file|site|server) (?:was |could |can|can )?(?:not |n.t )(?:be )?(?:found|available)"
    r"|^(?:just a moment|attention required|are you a robot|pardon our interruption)\b"
    r"|^(?:account suspended|under construction|coming soon|log ?in|sign ?in)\W*$"
    r"|\bdomain (?:name )?(?:is |has )?(?:for sale|parked|expired)\b",
    re.IGNORECASE,
)
_ARTICLE_IN_A_SCRIPT = re.compile(r"""["']articleBody["']\s*:""")
_TITLE = re.compile(r"<title[^>]*>([^<]{1,300})", re.IGNORECASE)
_MOST_BEFORE_HEAD = 5_000  # characters
_LANG = re.compile(r"<html[^>]*?\slang\s*=\s*[\"']?([a-z]{2,3})\b", re.IGNORECASE)


def reject_early(page: Page, hopeless: Hopeless) -> Rejection | None:
    """Why a page is hopeless; None where it is not, or may not be."""
    if "articleBody" in page.html and _ARTICLE_IN_A_SCRIPT.search(page.html):  # trafilatura finds it there
        return None
    num_visible = len(page.visible_text.split())
    if num_visible < hopeless.min_words:
        return Rejection(Reason.TOO_SHORT, f"{num_visible} words in all")
    return _error(page) or _shell(page, num_visible, hopeless) or _other_language(page, hopeless)


def _error(page: Page) -> Rejection | None:
    found = _TITLE.search(page.html)
    title = "" if found is None else " ".join(found[1].split())
    if _ERROR_TITLE.search(title) and _num_words(page) < _MOST_WORDS_OF_AN_ERROR:
        return Rejection(Reason.ERROR_PAGE, title)
    return None


def _shell(page: Page, num_visible: int, hopeless: Hopeless) -> Rejection | None:
    if num_visible < _MOST_WORDS_OF_A_SHELL and _num_words(page) < hopeless.min_words:
        return Rejection(Reason.TOO_SHORT, f"{_num_words(page)} words at a quick look")
    return None


def _other_language(page: Page, hopeless: Hopeless) -> Rejection | None:
    declared = _LANG.search(page.html, 0, _MOST_BEFORE_HEAD)
    if not hopeless.languages or (declared is not None and declared[1].lower() in hopeless.languages):
        return None
    if _num_words(page) < _LEAST_WORDS_TO_TELL_A_LANGUAGE:
        return None
    language, score = load_detector()(page.quick_text)
    if language not in hopeless.languages and score >= _SURE:
        return Rejection(Reason.LANGUAGE, f"{language} {score:.4f} at a quick look")
    return None


def _num_words(page: Page) -> int:
    return len(page.quick_text.split())
