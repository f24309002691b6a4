"""filter: the decision on one document, and the stage over parts."""

import contextlib
import hashlib
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest

from pipeline.config import FilterSettings
from pipeline.filter.decide import Document, Measures, decide, wikipedia_host
from pipeline.filter.language import Language, load_detector
from pipeline.records import DOCUMENTS, FILTERED, REJECTED, Reason, Rejection
from pipeline.runs import Counts, Folder, Manifest, PartWriter
from pipeline.stages import BY_NAME, Job, execute

PAGE = "https://example.org/page"

# Article 1 of the Universal Declaration of Human Rights.
DECLARATION = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason and "
    "conscience and should act towards one another in a spirit of brotherhood.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und "
    "Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison "
    "et de conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de "
    "razón y conciencia, deben comportarse fraternalmente los unos con los otros.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и "
    "совестью и должны поступать в отношении друг друга в духе братства.",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。人間は、理性と"
    "良心とを授けられており、互いに同胞の精神をもって行動しなければならない。",
    "zh": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
}


def fixed(code: str, score: float) -> Any:
    return lambda text: Language(code, score)  # noqa: ARG005


def refuse(text: str) -> NoReturn:
    raise AssertionError(f"the detector was asked about {text}")


@pytest.mark.parametrize("code", DECLARATION)
def test_languages_are_told(code: str) -> None:
    wanted = FilterSettings(languages=(code,), min_words=0)
    answer = decide(Document(PAGE, DECLARATION[code]), wanted, load_detector())
    assert isinstance(answer, Measures)
    assert answer.language == code
    assert 0.5 <= answer.language_score <= 1


@pytest.mark.parametrize("code", set(DECLARATION) - {"en"})
def test_other_languages_are_rejected_with_what_was_measured(code: str) -> None:
    english = FilterSettings(languages=("en",), min_words=0)
    answer = decide(Document(PAGE, DECLARATION[code]), english, load_detector())
    assert isinstance(answer, Rejection)
    assert answer.reason is Reason.LANGUAGE
    assert answer.value.startswith(f"{code} 0.") or answer.value == f"{code} 1.0000"


def test_the_detector_needs_no_network_and_repeats_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object) -> NoReturn:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket, "socket", no_socket)
    load_detector.cache_clear()
    first = [load_detector()(text) for text in DECLARATION.values()]
    load_detector.cache_clear()
    assert [load_detector()(text) for text in DECLARATION.values()] == first


@pytest.mark.parametrize(
    "text", ["", "\n", "\0", "...", "1 2 3", "\r\n\x0b\x0c\x85\u2028", "😀" * 3000, "\ufffd"]
)
def test_any_text_has_an_answer(text: str) -> None:
    language = load_detector()(text)
    assert language.code
    assert 0 <= language.score <= 1


def test_line_breaks_and_what_is_far_down_do_not_matter() -> None:
    detect = load_detector()
    text = DECLARATION["en"]
    assert detect(text.replace(" ", "\n")) == detect(text)
    begun = (text * 20)[:2000]
    assert detect(begun + DECLARATION["ru"] * 50) == detect(begun)


@pytest.mark.parametrize(
    ("score", "languages", "kept"),
    [
        (0.7, ("en",), True),
        (0.6999, ("en",), False),
        (0.7, ("de", "en"), True),
        (1.0, ("de",), False),
        (0.01, (), True),  # none named: every language, however unsure
    ],
)
def test_the_score_s_boundary(score: float, languages: tuple[str, ...], kept: bool) -> None:
    wanted = FilterSettings(languages=languages, min_language_score=0.7, min_words=1)
    answer = decide(Document(PAGE, "word"), wanted, fixed("en", score))
    assert answer == (Measures("en", score, 1) if kept else Rejection(Reason.LANGUAGE, f"en {score:.4f}"))


def test_the_number_of_words_has_its_boundary_and_comes_before_the_language() -> None:
    wanted = FilterSettings(min_words=3)
    assert decide(Document(PAGE, " one\ntwo\u00a0three "), wanted, fixed("en", 1)) == Measures("en", 1, 3)
    answer = decide(Document(PAGE, " one, two\n"), wanted, refuse)
    assert answer == Rejection(Reason.TOO_SHORT, "2 words")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://en.wikipedia.org/wiki/Reddit", "en.wikipedia.org"),
        ("http://wikipedia.org/", "wikipedia.org"),
        ("https://www.wikipedia.org/", "www.wikipedia.org"),
        ("https://de.m.wikipedia.org/wiki/Reddit", "de.m.wikipedia.org"),
        ("https://zh-classical.wikipedia.org/", "zh-classical.wikipedia.org"),
        ("https://EN.Wikipedia.ORG:443/wiki/X", "en.wikipedia.org"),
        ("https://en.wikipedia.org./wiki/X", "en.wikipedia.org"),
        ("http://www.wikipedia.de/", "www.wikipedia.de"),
        ("https://en.wikipedia.com/wiki/X", "en.wikipedia.com"),
        ("https://en.wikinews.org/wiki/X", None),
        ("https://wikipedia.example.org/", None),
        ("https://notwikipedia.org/", None),
        ("https://example.org/?u=en.wikipedia.org", None),
        ("not a URL", None),
    ],
)
def test_wikipedia_by_domain(url: str, host: str | None) -> None:
    assert wikipedia_host(url) == host
    document = Document(url, "words " * 60)
    answer = decide(document, FilterSettings(), fixed("en", 1))
    assert answer == (Measures("en", 1, 60) if host is None else Rejection(Reason.WIKIPEDIA, host))
    assert decide(document, FilterSettings(wikipedia=True), fixed("en", 1)) == Measures("en", 1, 60)


def document(number: int, text: str, final_url: str = PAGE) -> dict[str, Any]:
    moment = datetime(2019, 12, 15, tzinfo=UTC)
    return {
        "id": f"{number:032x}",
        "url": f"http://linked.example/{number}",
        "final_url": final_url,
        "text": text,
        "title": None,
        "karma": number,
        "submissions": ["one"],
        "subreddits": ["all"],
        "created": moment,
        "source": "web",
        "fetched": moment,
        "warc": "part-00000.warc.gz",
        "offset": 0,
        "length": 1,
        "extractor": "none",
    }


def make_job(root: Path, parts: list[list[dict[str, Any]]], settings: FilterSettings) -> Job:
    run = Folder(str(root))
    done = []
    for index, rows in enumerate(parts):
        writer = PartWriter(run / "documents", f"part-{index:05d}", "f")
        writer.table("parquet", pa.Table.from_pylist(rows, DOCUMENTS))
        writer.table("rejected.parquet", REJECTED.empty_table())
        done.append(writer.commit(Counts(len(rows), len(rows)), seconds=0))
    counts = Counts.total(part.counts for part in done if part.counts is not None)
    extracted = Manifest("extract", "0", "f", {}, {}, counts, tuple(done), {})
    return Job(BY_NAME["filter"], run, settings, {"extract": extracted})


def run_filter(job: Job) -> Manifest:
    return execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())


def digests(job: Job) -> dict[str, str]:
    names = [name for name in job.folder.sizes() if name == "manifest.json" or not name.endswith(".json")]
    return {name: hashlib.sha256(job.folder.read(name)).hexdigest() for name in names}


def test_part_by_part_with_measures_and_reasons(tmp_path: Path) -> None:
    english, german = DECLARATION["en"], DECLARATION["de"]
    parts = [
        [document(1, english), document(2, "too short"), document(3, german)],
        [document(4, english, "https://en.wikipedia.org/wiki/X"), document(5, f"{english}\n{english}")],
        [],
    ]
    job = make_job(tmp_path, parts, FilterSettings(languages=("en",), min_words=20))

    done = run_filter(job)

    assert done.counts == Counts(5, 2, {"language": 1, "too_short": 1, "wikipedia": 1})
    assert done.facts == {"words": 90, "text_bytes": 3 * len(english) + 1}
    first, second, third = (job.folder.read_table(f"part-0000{index}.parquet") for index in range(3))
    assert all(table.schema.equals(FILTERED) for table in (first, second, third))
    assert first.select(DOCUMENTS.names).to_pylist() == [parts[0][0]]
    assert (first["language"].to_pylist(), first["num_words"].to_pylist()) == (["en"], [30])
    assert second["num_words"].to_pylist() == [60]
    rejected = job.folder.read_table("part-00000.rejected.parquet").to_pylist()
    assert [(row["id"], row["url"], row["reason"]) for row in rejected] == [
        (f"{2:032x}", "http://linked.example/2", "too_short"),
        (f"{3:032x}", "http://linked.example/3", "language"),
    ]
    assert rejected[0]["value"] == "2 words"

    before = digests(job)
    job.folder.remove(["manifest.json", "part-00001.json"])
    run_filter(job)
    assert digests(job) == before
