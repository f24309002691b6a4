"""What `webtext tokenizer show` measures, against other libraries' tokenizers and plain counting."""

import gzip
import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tiktoken
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from pipeline.errors import InputError
from pipeline.records import CORPUS
from pipeline.report.vocabulary import NUM_EXAMPLES, OWN, Amount, Fit, Use, measure_fit, readable, together
from pipeline.report.vocabulary_page import coverage_chart, render, write_page
from pipeline.report.vocabulary_tables import NUM_LANGUAGES, figure_rows, folded, tables
from pipeline.runs import Folder
from pipeline.where_runs_are import DIGEST, SETTINGS
from tests.command import webtext
from tests.conftest import RunStage
from tests.document_parts import document, table, write_parts
from tokenizer.config import TokenizerSettings
from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.files import import_gpt2, write_tokenizer
from tokenizer.train import sampled
from tokenizer.vocabulary import Vocabulary
from webtext.cli import app

EVIL = "</td></svg><script>alert(1)</script><img src=x onerror=alert(1)>"
LANGUAGES = {
    "en": "The cat number {} sat on the mat; it's there still, isn't it?\n",
    "de": "Die Katze Nummer {} saß auf der Matte – für Jahre.\n",
    "hi": "बिल्ली संख्या {} चटाई पर बैठी थी।\n",
    "zh": "第{}只猫坐在垫子上。",
}
TEXTS = [
    (language, f"{text.format(n)}[/red] {EVIL}" if n % 10 == 0 else text.format(n) * (1 + n % 3))
    for n in range(60)
    for language, text in LANGUAGES.items()
]
MakeRun = Callable[..., Folder]


@pytest.fixture
def make_run(run: Folder, run_stage: RunStage) -> MakeRun:
    """A run with these texts as its corpus, in two parts, and a tokenizer trained on it."""

    def make(
        texts: list[tuple[str, str]] = TEXTS, vocab_size: int = 400, sizes: tuple[int, int] = (100, 1000)
    ) -> Folder:
        rows = [document(f"{n:032x}", text, language=language) for n, (language, text) in enumerate(texts)]
        parts = [table(rows[: sizes[0]], CORPUS), table(rows[sizes[0] : sum(sizes)], CORPUS)]
        run.write(SETTINGS, DIGEST.encode())
        corpus = write_parts(run, "dedupe", parts)
        run_stage("tokenizer", TokenizerSettings(vocab_size=vocab_size), dedupe=corpus)
        return run

    return make


@pytest.fixture
def of_bytes(tmp_path: Path) -> Path:
    """The folder of a tokenizer without merges."""
    write_tokenizer(Vocabulary(()), tmp_path / "bytes")
    return tmp_path / "bytes"


def ids_by_library(run: Folder, text: str) -> list[int]:
    library = tokenizers.Tokenizer.from_file(run.path("tokenizer/tokenizer.json"))
    found: list[int] = library.encode(text).ids
    return found


def test_all_numbers_against_plain_counting(make_run: MakeRun, of_bytes: Path) -> None:
    run = make_run()
    fit = measure_fit(run, {"bytes": Tokenizer.load(of_bytes)}, 1 << 30)
    encoded = [(language, text, ids_by_library(run, text)) for language, text in TEXTS]
    for amount in fit.languages:
        own = [(text, ids) for language, text, ids in encoded if language == amount.language]
        num_bytes = sum(len(text.encode()) for text, _ in own)
        assert amount == Amount(
            language=amount.language,
            num_documents=len(own),
            num_bytes=num_bytes,
            num_characters=sum(len(text) for text, _ in own),
            num_words=sum(len(text.split()) for text, _ in own),
            num_tokens=(sum(len(ids) for _, ids in own), num_bytes),
        )
        assert amount.bytes_a_token(0) == num_bytes / amount.num_tokens[0]
        assert amount.bytes_a_token(1) == 1
        assert amount.tokens_a_word(0) == amount.num_tokens[0] / amount.num_words
    assert {one.language for one in fit.languages} == set(LANGUAGES)
    assert [one.num_bytes for one in fit.languages] == sorted(
        (one.num_bytes for one in fit.languages), reverse=True
    )
    assert fit.total == together("all", fit.languages)
    assert (fit.total.num_documents, fit.num_documents, fit.num_trained) == (240, 240, 240)

    count = Counter(one for _, _, ids in encoded for one in ids)
    of_run, of_other = fit.uses
    assert of_run.counts.tolist() == [count[one] for one in range(399)]
    used = Counter("".join(text for _, text in TEXTS).encode())
    assert {of_other.tokens[one][0]: num for one, num in enumerate(of_other.counts.tolist()) if num} == used
    assert of_other.num_never_bytes() == 256 - len(used) == len(of_other.never())
    assert of_other.examples() == []


def test_the_official_vocabulary_against_tiktoken(
    make_run: MakeRun, realdata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = realdata / "text"
    with gzip.open(texts / "webtext.valid.jsonl.gz", "rt", encoding="utf-8") as lines:
        some = [json.loads(line)["text"] for _, line in zip(range(300), lines, strict=False)]
    run = make_run([("en", text) for text in some])
    import_gpt2(texts / "encoder.json", texts / "vocab.bpe", tmp_path / "gpt2")
    fit = measure_fit(run, {"gpt2": Tokenizer.load(tmp_path / "gpt2")}, 1 << 30)

    # tiktoken's own gpt2, its two downloads answered from the files.
    cache = tmp_path / "cache"
    cache.mkdir()
    for url, name in (("vocab.bpe", "vocab.bpe"), ("encoder.json", "encoder.json")):
        whole = f"https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/{url}"
        (cache / hashlib.sha1(whole.encode()).hexdigest()).write_bytes((texts / name).read_bytes())  # noqa: S324
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
    official = tiktoken.get_encoding("gpt2")
    count = Counter(one for text in some for one in official.encode_ordinary(text))
    gpt2 = fit.uses[1]
    assert gpt2.counts.tolist() == [count[one] for one in range(50_256)]
    assert fit.total.num_tokens[1] == count.total()
    assert b"".join(gpt2.tokens[one] for one in official.encode_ordinary(some[0])) == some[0].encode()
    assert len(gpt2.tokens[gpt2.longest()[0]]) == 128


def use_of(counts: list[int], tokens: list[bytes] | None = None) -> Use:
    spelled = tokens or [b"%d" % number for number in range(len(counts))]
    return Use("by hand", tuple(spelled), np.array(counts, np.int64))


def test_ids_by_how_often_they_are_used() -> None:
    counts = [0] * 300
    counts[:8] = [1, 2, 9, 10, 99, 100, 5000, 1]
    counts[260], counts[299] = 1, 7
    use = use_of(counts)
    assert list(use.to_json()["ids_by_use"].items()) == [
        ("never used", 290), ("used once", 3), ("used 2 to 9 times", 3),
        ("used 10 to 99 times", 2), ("used 100 times or more", 2),
    ]  # fmt: skip
    assert use.num_never_bytes() == 248
    assert use.examples() == [256, 257, 258, 259, *range(261, 299)]
    assert len(use_of([0] * 900).examples()) == NUM_EXAMPLES


def test_coverage_is_the_share_of_the_most_frequent() -> None:
    use = use_of([1, 0, 6, 3])
    assert use.coverage().tolist() == [0.6, 0.9, 1, 1]
    assert use.curve() == [(1, 0.6), (2, 0.9), (3, 1), (4, 1)]
    long = use_of([1] * 50_000).curve()
    assert [long[0], long[-1]] == [(1, 1 / 50_000), (50_000, 1.0)]
    assert len(long) <= 120
    assert all(share == num / 50_000 for num, share in long)
    assert use_of([0, 0]).coverage().tolist() == [0, 0]


def test_the_longest_tokens_come_with_the_least_id_first() -> None:
    use = use_of([3, 2, 1, 0], [b"a", b"abc", b"xyz", b"ab"])
    assert use.longest() == [1, 2, 3, 0]
    assert use.to_json()["longest"][0] == {"id": 1, "token": "abc", "bytes": 3, "count": 2}


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (b" caf\xc3\xa9", "␣café"),
        (b"\n\t\x00\x1b\x7f", r"\n\t\x00\x1b\x7f"),
        (b"\\n", r"\\n"),
        (b"\xe2\x80", r"\xe2\x80"),
        ("\xa0\u200b\u2028\U000e0001".encode(), r"\u00a0\u200b\u2028\U000e0001"),
        (b"\xa0", r"\xa0"),
        ("猫👍".encode(), "猫👍"),
    ],
)
def test_tokens_are_spelled_readably(token: bytes, shown: str) -> None:
    assert readable(token) == shown


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_what_is_spelled_is_printable_and_can_be_read_back(token: bytes) -> None:
    def unescape(found: re.Match[str]) -> str:
        named = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
        name, code = found[1][0], found[1][1:]
        if name == "x":
            return bytes([int(code, 16)]).decode(errors="surrogateescape")
        return named[name] if name in named else chr(int(code, 16))

    shown = readable(token)
    assert shown.isprintable()
    spaced = shown.replace("␣", " ")
    back = re.sub(r"\\(x..|u....|U.{8}|.)", unescape, spaced)
    assert back.encode(errors="surrogateescape") == token.replace("␣".encode(), b" ")


def test_the_sample_depends_on_ids_alone(make_run: MakeRun) -> None:
    num_bytes = sum(len(text.encode()) for _, text in TEXTS)
    shown = {}
    for sizes in ((100, 1000), (17, 1000)):
        run = make_run(sizes=sizes)
        shown[sizes] = json.dumps(measure_fit(run, {}, num_bytes // 3).to_json())
    assert shown[100, 1000] == shown[17, 1000]
    found = measure_fit(run, {}, num_bytes // 3).total
    assert num_bytes / 6 < found.num_bytes < num_bytes / 2
    larger = measure_fit(run, {}, num_bytes // 2).total
    assert found.num_documents < larger.num_documents
    chosen = [text for n, (_, text) in enumerate(TEXTS) if sampled(f"show {n:032x}", 1 / 3)]
    assert found.num_characters == sum(map(len, chosen))
    trained = [text for n, (_, text) in enumerate(TEXTS) if sampled(f"{n:032x}", 1 / 3)]
    assert chosen != trained


def test_few_languages_are_shown_and_many_are_folded() -> None:
    every = [Amount(f"l{n}", 1, 100 - n, 9, 5, (10, 20)) for n in range(NUM_LANGUAGES + 5)]
    shown = folded(every)
    assert shown[:NUM_LANGUAGES] == every[:NUM_LANGUAGES]
    assert shown[NUM_LANGUAGES:] == [together("5 others", every[NUM_LANGUAGES:])]
    assert shown[-1].num_bytes == sum(one.num_bytes for one in every[NUM_LANGUAGES:])
    assert shown[-1].num_tokens == (50, 100)
    assert folded(every[: NUM_LANGUAGES + 1]) == every[: NUM_LANGUAGES + 1]


def printed(fit: Fit, width: int = 80) -> str:
    console = Console(soft_wrap=True, width=width)
    with console.capture() as capture:
        console.print(*tables(fit), sep="\n")
    return capture.get()


def test_the_terminal_shows_it_and_obeys_no_token(make_run: MakeRun, of_bytes: Path) -> None:
    run = make_run(vocab_size=500)
    name = "[/a]/folder/with/a/very/long/name/in/which/the/numbers/must/not/be/lost"
    fit = measure_fit(run, {name: Tokenizer.load(of_bytes)}, 1 << 30)
    shown = printed(fit)
    assert "all 240 documents: " in shown
    assert "this run's tokenizer was trained on 240 of the 240" in shown
    assert re.search(r"\nids +499 +256\n", shown)
    assert re.search(rf"\nbytes a token +{fit.total.bytes_a_token(0):.2f} +1\.00\n", shown)
    english = next(one for one in fit.languages if one.language == "en")
    values = rf"{english.bytes_a_token(0):.2f} +1\.00 +{english.tokens_a_word(0):.2f} +"
    assert re.search(rf"\nen +60 +\S+ kB +{english.num_words:,} +{values}", shown)
    assert "merged tokens of this run that are never used: " in shown
    assert all(value in shown for _, values in figure_rows(fit) for value in values)
    strange = use_of([3, 2, 0], [b"[/red]", b"\x1b[2J", b"[bold] \x1b"])
    shown = printed(replace(fit, uses=(strange,), languages=fit.languages[:1]))
    assert "  [/red]\n" in shown
    assert r"  \x1b[2J" in shown
    assert r"  [bold]␣\x1b" in shown
    assert "\x1b" not in shown


def test_a_corpus_without_words_has_dashes(make_run: MakeRun) -> None:
    make_run()
    run = make_run([("en", ""), ("en", "")] * 20 + [("de", "x y " * 200)], vocab_size=258)
    fit = measure_fit(run, {}, 1 << 30)
    nothing = fit.languages[1]
    assert (nothing.language, nothing.bytes_a_token(0), nothing.tokens_a_word(0)) == ("en", None, None)
    assert re.search(r"\nen +40 +0 bytes +0 +– +–\n", printed(fit))
    assert json.loads(json.dumps(fit.to_json()))["languages"][1]["vocabularies"][0]["bytes_a_token"] is None


class _Seen(HTMLParser):
    """The tags of a page, and whatever it could load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, _ in attrs:
            assert name not in ("src", "href", "xlink:href"), (tag, name)
            assert not name.startswith("on"), (tag, name)


def test_the_page_stands_by_itself_and_tokens_stay_text(make_run: MakeRun, of_bytes: Path) -> None:
    run = make_run(vocab_size=500)
    name = "x<script>alert(2)</script>"
    fit = measure_fit(run, {name: Tokenizer.load(of_bytes)}, 1 << 30)
    path = write_page(run, fit)
    shown = Path(path).read_text("utf-8")
    assert path == run.path("report/tokenizer.html")
    seen = _Seen()
    seen.feed(shown)
    assert {"svg", "path", "table", "bdi"} <= seen.tags
    assert not {"script", "img", "link", "iframe"} & seen.tags
    assert "default-src 'none'" in shown
    assert "prefers-color-scheme: dark" in shown
    assert "@import" not in shown
    assert "url(" not in re.sub(r'url\("?#[\w-]+"?\)', "", shown)
    assert name in html.unescape(shown)
    assert "<" in "".join(readable(one) for one in fit.uses[0].tokens)
    for _, values in figure_rows(fit):
        assert all(value in shown for value in values)
    assert render(fit) == shown
    assert json.loads(run.read("report/tokenizer.json")) == fit.to_json()


def test_a_curve_for_each_vocabulary(make_run: MakeRun, of_bytes: Path) -> None:
    run = make_run()
    others = {name: Tokenizer.load(of_bytes) for name in ("a", "b", "c", "d", "e")}
    for against in ({}, others):
        fit = measure_fit(run, against, 1 << 30)
        svg = coverage_chart(fit)
        assert len(re.findall(r'aria-roledescription="line mark"', svg)) == len(against) + 1
        assert (f">{OWN}<" in svg) == bool(against)  # a curve alone needs no name


def files_of(run: Folder) -> dict[Path, str]:
    paths = [path for path in Path(run.path()).rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_command_in_json_changes_nothing_of_a_stage(make_run: MakeRun, of_bytes: Path) -> None:
    run = make_run()
    before = files_of(run)
    arguments = ["tokenizer", "show", run.uri, "--against", str(of_bytes), "--json"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    value = json.loads(answer.stdout)
    assert value.pop("page") == run.path("report/tokenizer.html")
    assert list(value) == [
        "run", "documents_in_corpus", "documents_trained_on", "sample", "languages", "vocabularies",
    ]  # fmt: skip
    assert [one["name"] for one in value["vocabularies"]] == [OWN, str(of_bytes)]
    assert value["sample"]["vocabularies"][1]["bytes_a_token"] == 1
    own = value["vocabularies"][0]
    assert own["ids_by_use"]["never used"] == len(own["never_used"])
    assert own["never_used_examples"][0]["count"] == 0
    assert own["coverage"][-1] == {"ids": 399, "share": 1}
    assert value == json.loads(run.read("report/tokenizer.json"))
    after = files_of(run)
    assert {path: digest for path, digest in after.items() if path.parent.name != "report"} == before


def test_the_command_as_people_type_it(make_run: MakeRun, of_bytes: Path, tmp_path: Path) -> None:
    make_run()
    shown = webtext("tokenizer", "show", "run", "--sample-bytes", "5000", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"\n\d+ of 240 documents, chosen by a hash of their ids: \d\.\d kB", shown.stdout)
    assert "webtext tokenizer import --vocab encoder.json --merges vocab.bpe --out gpt2" in shown.stdout
    assert "more tokens: run/report/tokenizer.html\n" in shown.stdout
    compared = webtext("tokenizer", "show", "run", "--against", of_bytes.name, cwd=tmp_path)
    assert re.search(r"\n +this run +bytes\n", compared.stdout)
    assert "tokenizer import" not in compared.stdout
    refused = webtext("tokenizer", "show", "run", "--against", "nowhere", cwd=tmp_path)
    assert refused.returncode == 2
    assert "nowhere: cannot be read" in refused.stderr
    assert "train or import a tokenizer first" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_is_not_there_yet_is_named_with_the_command_that_makes_it(run: Folder) -> None:
    with pytest.raises(InputError, match="there is no run here"):
        measure_fit(run, {}, 1000)
    run.write(SETTINGS, DIGEST.encode())
    with pytest.raises(InputError, match=r"dedupe is not finished.*webtext build FILE --until tokenizer"):
        measure_fit(run, {}, 1000)
    write_parts(run, "dedupe", [table([document("a", "text")], CORPUS)])
    with pytest.raises(InputError, match=r"tokenizer is not finished.*webtext build FILE --until tokenizer"):
        measure_fit(run, {}, 1000)


def test_an_empty_corpus_and_an_empty_sample(make_run: MakeRun) -> None:
    run = make_run()
    with pytest.raises(InputError, match=r"about 1 bytes has none of the 240 documents: give a greater"):
        measure_fit(run, {}, 1)
    write_parts(run, "dedupe", [table([], CORPUS)])
    with pytest.raises(InputError, match=r"the corpus is empty.*webtext status"):
        measure_fit(run, {}, 1000)


@pytest.mark.parametrize("name", ["corpus/part-00001.parquet", "tokenizer/tokenizer.json"])
def test_missing_and_damaged_files_of_the_run(make_run: MakeRun, name: str) -> None:
    run = make_run()
    path = Path(run.path(name))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises((InputError, TokenizerError), match=rf"{path}: line|cannot be read.*webtext verify"):
        measure_fit(run, {}, 1 << 30)
    path.unlink()
    with pytest.raises(InputError, match=r"cannot be read.*webtext verify"):
        measure_fit(run, {}, 1 << 30)
