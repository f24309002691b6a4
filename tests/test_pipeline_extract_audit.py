"""The comparison of extractors: numbers made by hand, and a page on which strangers' texts stay texts."""

import base64
import hashlib
import html
import json
import random
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fastwarc.warc import ArchiveIterator
from rich.console import Console
from typer.testing import CliRunner

from pipeline.config import Extraction, ExtractSettings
from pipeline.errors import InputError
from pipeline.extract.extractors import EXTRACTORS
from pipeline.records import LEDGER
from pipeline.report import extract_audit
from pipeline.report.extract_audit import (
    Answer,
    Audit,
    ComparedPage,
    audit_extractors,
    choose,
    compare,
    summarise,
    tables,
    words_of,
)
from pipeline.report.extract_audit_page import MOST_CHARACTERS, columns, render, write_page
from pipeline.runs import Counts, Folder, Manifest, Part, PartWriter, read_manifest
from tests.test_pipeline_extract_run import NOTHING_FETCHED, article, row, warc_of
from webtext.cli import app

NAMES = ("trafilatura", "trafilatura-fast", "resiliparse")
EVIL = "</p></script><script>alert(1)</script><img src=x onerror=alert(1)>"


def write_pages(run: Folder, parts: list[tuple[list[dict[str, Any]], bytes]]) -> Manifest:
    """A run of which nothing is there but what fetch leaves: for each part its ledger and its WARC file."""
    done: list[Part] = []
    for index, (rows, warc) in enumerate(parts):
        writer = PartWriter(run / "pages", f"part-{index:05d}", "f")
        with writer.open("warc.gz") as sink:
            sink.write(warc)
        writer.table("ledger.parquet", pa.Table.from_pylist(rows, LEDGER))
        num = sum(one["outcome"] == "fetched" for one in rows)
        counts = Counts(len(rows), num, {"dns": len(rows) - num})
        done.append(writer.commit(counts, seconds=0))
    total = Counts.total(part.counts for part in done if part.counts is not None)
    manifest = Manifest("fetch", "0", "f", {}, {}, total, tuple(done), {})
    (run / "pages").write("manifest.json", manifest.encode())
    return manifest


def page(number: int, **texts: str) -> ComparedPage:
    """A page for which the extractors gave these texts, the first of them a second for each of its number."""
    answers = {
        name: Answer(texts[short], "" if texts[short] else "no_text", number if short == "t" else 0.25)
        for name, short in zip(NAMES, ("t", "f", "r"), strict=True)
    }
    return compare(f"{number:032x}", f"http://example.com/{number}", f"Page {number}", answers)


@pytest.fixture(scope="module")
def by_hand() -> Audit:
    """Three pages: all agree but for a word; one extractor has another text; one alone has any."""
    pages = [
        page(1, t="The cat sat down.", f="the CAT, sat", r="the cat sat down down"),
        page(2, t="one two", f="one two", r="three four five six"),
        page(3, t="", f="", r="alone here"),
    ]
    return summarise("runs/hand", 7, pages)


def test_f1_is_that_of_multisets_of_words(by_hand: Audit) -> None:
    assert words_of("It's 5 Ärzte_und.") == ["it", "s", "5", "ärzte_und"]
    first, second, third = by_hand.pages
    assert list(first.f1.values()) == [pytest.approx(one) for one in (6 / 7, 8 / 9, 6 / 8)]
    assert list(second.f1.values()) == [1, 0, 0]
    assert third.f1 == {NAMES[::2]: 0, NAMES[1:]: 0}  # two texts without words are not compared
    assert first.agreement == pytest.approx((6 / 7 + 8 / 9 + 6 / 8) / 3)
    assert [one.id[-1] for one in by_hand.by_disagreement()] == ["3", "2", "1"]
    assert page(4, t="", f="–", r="").agreement is None


def test_figures_of_each_extractor(by_hand: Audit) -> None:
    slow, fast, other = by_hand.extractors
    assert (slow.num_texts, fast.num_texts, other.num_texts) == (2, 2, 3)
    assert (slow.num_words, fast.num_words, other.num_words) == (6, 5, 11)
    assert (slow.median_words, other.median_words) == (3, 4)
    assert other.mean_words == pytest.approx(11 / 3)
    assert [one.num_only for one in by_hand.extractors] == [0, 0, 1]
    assert [one.num_missed for one in by_hand.extractors] == [0, 0, 0]
    # Of resiliparse's words the second "down" and all of the pages 2 and 3.
    assert [one.alone for one in by_hand.extractors] == [0, 0, pytest.approx(7 / 11)]
    assert [one.rejected for one in by_hand.extractors] == [{"no_text": 1}, {"no_text": 1}, {}]
    assert (slow.seconds, slow.pages_per_s, slow.slowest_s) == (6, 0.5, 3)
    assert slow.slowest_url == "http://example.com/3"
    missed = summarise("r", 1, [page(1, t="a", f="a", r="")])
    assert [one.num_missed for one in missed.extractors] == [0, 0, 1]


def test_figures_of_each_pair(by_hand: Audit) -> None:
    both, *with_other = by_hand.pairs
    assert (both.names, both.num_pages) == (NAMES[:2], 2)
    assert both.mean_f1 == pytest.approx((6 / 7 + 1) / 2)
    assert both.agree == 0.5
    assert [(one.num_pages, one.agree) for one in with_other] == [(3, 0), (3, 0)]
    assert with_other[0].mean_f1 == pytest.approx(8 / 27)


def test_json_has_all_of_it(by_hand: Audit) -> None:
    value = json.loads(json.dumps(by_hand.to_json(), allow_nan=False))
    assert list(value) == ["run", "pages_in_run", "extractors", "pairs", "worst", "pages"]
    assert [one["name"] for one in value["extractors"]] == list(NAMES) == list(EXTRACTORS)
    assert set(value["extractors"][0]) == {
        "name", "version", "pages_with_text", "words", "median_words", "mean_words", "pages_it_alone_has",
        "pages_it_alone_misses", "share_of_words_alone", "rejected", "seconds", "pages_a_second", "slowest",
    }  # fmt: skip
    assert set(value["pairs"][0]) == {"extractors", "pages", "mean_f1", "share_that_agree"}
    assert value["worst"] == [f"{number:032x}" for number in (3, 2, 1)]
    assert value["pages"][2] == {
        "id": f"{3:032x}",
        "url": "http://example.com/3",
        "title": "Page 3",
        "f1": 0,
        "words": {"trafilatura": 0, "trafilatura-fast": 0, "resiliparse": 2},
        "reasons": {"trafilatura": "no_text", "trafilatura-fast": "no_text"},
    }


def test_the_terminal_shows_the_same_and_obeys_no_page(by_hand: Audit) -> None:
    long = "http://example.com/" + 100 * "long"
    strange = compare("0" * 32, f"{long}\x1b[2J", "", by_hand.pages[1].answers)
    console = Console(soft_wrap=True, width=80)
    with console.capture() as capture:
        console.print(*tables(summarise("r", 9, [*by_hand.pages, strange])), sep="\n")
    shown = capture.get()
    assert "4 of 9 pages" in shown
    assert re.search(r"no_text +1 +1 +0\n", shown)
    assert re.search(r"words no other has +0\.0 % +0\.0 % +73\.3 %", shown)
    assert re.search(r"trafilatura and trafilatura-fast +3 +0\.952 +66\.7 %", shown)
    assert f"  {long}�[2J\n" in shown
    assert "\x1b[2J" not in shown


def test_no_page_at_all(tmp_path: Path) -> None:
    run = Folder(str(tmp_path))
    write_pages(run, [([row(1, "http://a.example/", outcome="dns", **NOTHING_FETCHED)], b"")])
    audit = audit_extractors(run, ExtractSettings(), 100)
    assert audit.pages == ()
    assert json.loads(json.dumps(audit.to_json()))["pairs"][0]["mean_f1"] is None
    assert "This run has no pages." in render(audit)
    run.write("webtext.toml", b"# Settings digest: 0\n")
    answer = CliRunner().invoke(app, ["extract-audit", run.uri])
    assert answer.exit_code == 0, answer.output
    assert "0 of 0 pages" in answer.stdout
    assert "most disagreement" not in answer.stdout
    assert f"the texts side by side: {run.uri}/report/extract-audit.html\n" in answer.stdout


def test_the_sample_is_the_same_again_and_a_part_of_a_larger_one(tmp_path: Path) -> None:
    draw = random.Random(6)
    ids = [draw.getrandbits(128) for _ in range(400)]
    parts = []
    for index in range(4):
        own = ids[index::4]
        fetched = [row(one, f"http://{one}.example/", "w", at, 9) for at, one in enumerate(own[10:])]
        failed = [row(one, "http://a.example/", outcome="dns", **NOTHING_FETCHED) for one in own[:10]]
        parts.append((failed + fetched, b""))
    manifest = write_pages(Folder(str(tmp_path)), parts)
    pages = Folder(str(tmp_path)) / "pages"
    samples = [choose(pages, manifest, num)["id"].to_pylist() for num in (1, 50, 50, 200, 360, 1000)]
    assert [len(one) for one in samples] == [1, 50, 50, 200, 360, 360]
    assert samples[1] == samples[2]
    for smaller, larger in pairwise(samples):
        assert set(smaller) <= set(larger)
    parts_of_sample = {ids.index(int(one, 16)) % 4 for one in samples[1]}
    assert parts_of_sample == {0, 1, 2, 3}


def boilerplate() -> bytes:
    """A page whose article stands among links and a cookie notice, with markup as text and in its title."""
    evil = html.escape(EVIL)
    links = "".join(
        f'<li><a href="/{number}">Another story, number {number}</a></li>' for number in range(30)
    )
    body = article("gardens").decode()
    body = body.replace(
        "<article>", f"<nav><ul>{links}</ul></nav><article><p>{evil} in a sentence of its own.</p>"
    )
    return body.replace("All of  gardens", f"Gardens {evil}").encode()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A run with three pages that tell and one that is damaged, in two parts."""
    run = Folder(str(tmp_path_factory.mktemp("audit") / "run"))
    first, [a, b] = warc_of(article("apples"), boilerplate())
    second, [c] = warc_of(b"<html><body></body></html>")
    name = "part-0000{}.warc.gz"
    write_pages(
        run,
        [
            (
                [
                    row(3, "http://a.example/", name.format(0), *a),
                    row(1, "http://b.example/", name.format(0), *b),
                    row(5, "http://c.example/", outcome="dns", **NOTHING_FETCHED),
                ],
                first,
            ),
            (
                [
                    row(2, "http://d.example/", name.format(1), *c),
                    row(4, "http://e.example/", name.format(1), c[0] + 1, c[1]),
                ],
                second,
            ),
        ],
    )
    run.write("webtext.toml", b'[extract]\nextractor = "resiliparse"\n')
    return run


def files_of(run: Folder) -> dict[Path, str]:
    paths = [path for path in Path(run.path()).rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def audit(stored: Folder) -> Audit:
    return audit_extractors(stored, ExtractSettings(extractor="resiliparse", deadline_s=10), 100)


def test_every_extractor_reads_the_stored_pages(audit: Audit) -> None:
    assert [one.id[-1] for one in audit.pages] == ["1", "2", "3", "4"]
    assert audit.num_pages == 4
    gardens, _, apples, _ = audit.pages
    assert apples.title == "All of apples"
    assert apples.agreement == pytest.approx(1, abs=0.05)
    assert gardens.title == f"Gardens {EVIL}"
    assert EVIL in gardens.answers["trafilatura"].text
    for one in audit.extractors:
        assert one.rejected == {"no_text": 1, "bad_record": 1}
        assert one.seconds >= one.slowest_s > 0
        assert one.label.startswith(one.name)


def test_the_command_in_json_changes_nothing_of_the_run(stored: Folder, audit: Audit) -> None:
    before = files_of(stored)
    answer = CliRunner().invoke(app, ["extract-audit", stored.uri, "--sample", "2", "--json"])
    assert answer.exit_code == 0, answer.output
    value = json.loads(answer.stdout)
    assert value["pages_in_run"] == 4
    of_all = {one["id"]: one for one in audit.to_json()["pages"]}
    assert len(value["pages"]) == 2
    assert all(one == of_all[one["id"]] for one in value["pages"])
    after = files_of(stored)
    written = Path(value["page"])
    assert written == Path(stored.path("report/extract-audit.html"))
    assert "2 of 4 pages" in written.read_text("utf-8")
    assert after.pop(written)
    assert after == {path: digest for path, digest in before.items() if path != written}


def test_warc_files_are_opened_a_few_at_once(stored: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract_audit, "_MOST_OPEN", 1)
    manifest = read_manifest(stored / "pages")
    assert manifest is not None
    rows = choose(stored / "pages", manifest, 100)
    settings = Extraction(extractor="resiliparse", reject_early=False)
    answers = list(extract_audit._ask(stored / "pages", rows, settings))
    assert sorted(page_id for page_id, _, _ in answers) == [f"{number:032x}" for number in (1, 2, 3, 4)]


def test_real_pages(tmp_path: Path, realdata: Path) -> None:
    """The sample is chosen over all parts; here they have the same WARC file."""
    file = realdata / "realweb" / "pages.warc.gz"
    with file.open("rb") as stream:
        found = [(one.headers["WARC-Target-URI"], one.stream_pos) for one in ArchiveIterator(stream)]
    ends = [*(start for _, start in found[1:]), file.stat().st_size]
    rows = [
        row(number, url, f"part-0000{number % 2}.warc.gz", start, end - start)
        for number, ((url, start), end) in enumerate(zip(found, ends, strict=True))
    ]
    run = Folder(str(tmp_path))
    write_pages(run, [(rows[0::2], file.read_bytes()), (rows[1::2], file.read_bytes())])
    audit = audit_extractors(run, ExtractSettings(), 10)
    assert [one.id for one in audit.pages] == sorted(one.id for one in audit.pages)
    assert (len(audit.pages), audit.num_pages) == (10, len(rows))
    assert {int(one.id, 16) % 2 for one in audit.pages} == {0, 1}
    assert all(one.num_texts == 10 and not one.rejected for one in audit.extractors)
    assert all(one.title for one in audit.pages)
    alike, *others = audit.pairs
    assert alike.mean_f1 is not None
    assert alike.mean_f1 > 0.95
    assert all(one.mean_f1 is not None and 0.8 < one.mean_f1 <= alike.mean_f1 for one in others)


class _Seen(HTMLParser):
    """What of a page could run, load or lead away, and its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.leads: list[str] = []
        self.policy = ""
        self.script = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href"):
                self.leads.append(value or "")
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.script += data


def test_texts_of_strangers_stay_texts(audit: Audit) -> None:
    bad = compare("f" * 32, "javascript:alert(1)", EVIL, {name: Answer(EVIL, "", 1) for name in NAMES})
    shown = render(summarise("run<i>", 5, [*audit.pages, bad]))
    seen = _Seen()
    seen.feed(shown)
    assert seen.tags.count("script") == 1
    assert not {"img", "link", "iframe", "i"} & set(seen.tags)
    assert sorted(seen.leads) == sorted(one.url for one in audit.pages)
    # Were there another script all the same, the browser would not run it.
    digest = base64.b64encode(hashlib.sha256(seen.script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in seen.policy
    assert "default-src 'none'" in seen.policy
    assert "alert(1)" not in seen.script
    assert EVIL in html.unescape(shown)


def test_the_page_stands_by_itself_and_shows_each_page_worst_first(stored: Folder, by_hand: Audit) -> None:
    path = write_page(stored, by_hand)
    assert path.endswith("/report/extract-audit.html")
    shown = Path(path).read_text("utf-8")
    assert re.findall(r'data-id="0*(\d)" data-rank="(\d)"', shown) == [("3", "1"), ("2", "2"), ("1", "3")]
    for needed in ("prefers-color-scheme: dark", 'name="viewport"', "3 of 7 pages", "63.6 %", "0.929"):
        assert needed in shown
    assert "@import" not in shown
    assert "url(" not in shown
    assert render(by_hand) == shown


def test_lines_that_one_alone_has_and_lines_that_it_lacks() -> None:
    first, second, third = columns(
        page(
            1,
            t="A line that all of them have.\n\n• Bread\nOnly this one has these words",
            f="A line that all of them have. Bread",
            r="a line that all of them have\nBread\nTwo have none of this.\n * * *",
        )
    )
    assert [line.text for line in first.lines if line.is_only] == ["Only this one has these words"]
    assert [line.text for line in second.lines] == ["A line that all of them have. Bread"]
    assert not any(line.is_only for line in second.lines)
    assert [line.text for line in third.lines if line.is_only] == ["Two have none of this."]
    assert [one.text for one in first.lacked] == ["Two have none of this."]
    assert {one.text: one.had_by for one in second.lacked} == {
        "Only this one has these words": ("trafilatura",),
        "Two have none of this.": ("resiliparse",),
    }
    assert [one.text for one in third.lacked] == ["Only this one has these words"]
    assert (first.num_only, second.num_only, third.num_only) == (1, 0, 1)


def test_long_texts_are_cut_with_a_note() -> None:
    lines = [f"word{number} " * 100 for number in range(100)]
    long = page(1, t="\n".join(lines), f="", r="x" * (MOST_CHARACTERS + 1))
    whole, without, one_line = columns(long)
    assert sum(len(line.text) for line in whole.lines) <= MOST_CHARACTERS + 1
    assert whole.is_cut
    assert whole.num_only == 100
    assert without.num_lacked == 101
    assert len(without.lacked) < 101
    assert one_line.lines[0].text == "x" * MOST_CHARACTERS + "…"
    shown = render(summarise("r", 1, [long]))
    assert f"the first 20,000 of {len(chr(10).join(lines)):,} characters are shown" in shown
    assert f"and {101 - len(without.lacked)} more" in shown
    assert not columns(page(1, t="x" * MOST_CHARACTERS, f="", r=""))[0].is_cut


def test_what_cannot_be_compared_says_what_to_do(tmp_path: Path) -> None:
    none = CliRunner().invoke(app, ["extract-audit", str(tmp_path / "none")])
    assert isinstance(none.exception, InputError)
    assert "there is no run here" in str(none.exception)
    zero = CliRunner().invoke(app, ["extract-audit", str(tmp_path), "--sample", "0"])
    assert zero.exit_code == 2
    (tmp_path / "webtext.toml").write_text("# Settings digest: 0\n")
    unfinished = CliRunner().invoke(app, ["extract-audit", str(tmp_path)])
    assert isinstance(unfinished.exception, InputError)
    assert "fetch is not finished" in str(unfinished.exception)
    assert "--until fetch" in str(unfinished.exception)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("lost", ["part-00000.ledger.parquet", "part-00000.warc.gz"])
def test_a_missing_file_says_what_to_do(tmp_path: Path, lost: str) -> None:
    run = Folder(str(tmp_path))
    warc, [place] = warc_of(article("apples"))
    write_pages(run, [([row(1, "http://a.example/", "part-00000.warc.gz", *place)], warc)])
    (run / "pages").remove([lost])
    with pytest.raises(InputError, match="webtext verify"):
        audit_extractors(run, ExtractSettings(), 10)
