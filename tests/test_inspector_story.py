"""Stories of documents: what is told, held against the run's own files; tokens; and what cannot be read."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.filter.decide import decide
from pipeline.filter.rules import RULES
from pipeline.filter.settings import FilterSettings
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.document.excerpts import excerpt
from pipeline.inspector.document.measures import judge
from pipeline.inspector.document.story import Story, tell
from pipeline.inspector.document.tokens import read_tokens
from pipeline.records import MEASURED, MEASURES
from pipeline.runs import Folder
from tests.document_parts import NOTHING_MEASURED
from tests.inspected import ask, inspecting, remote
from tests.synthetic_run import write_run
from tokenizer.encode import Tokenizer

NUM_LINKS = 90


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A finished run, some of whose links were tried again."""
    return write_run(tmp_path_factory.mktemp("run") / "run", NUM_LINKS, retried=True)


@pytest.fixture(scope="module")
def catalogue(made: Folder) -> Iterator[Catalogue]:
    with Catalogue(made) as opened:
        opened.build()
        opened.wait()
        assert opened.state().is_ready
        yield opened


@pytest.fixture(scope="module")
def stories(made: Folder, catalogue: Catalogue) -> dict[str, Story]:
    """That of every link."""
    return {document_id: story(catalogue, document_id) for document_id in parts(made, "links")}


def tables(run: Folder, pattern: str) -> list[dict[str, Any]]:
    return [row for path in sorted(Path(run.path()).glob(pattern)) for row in pq.read_table(path).to_pylist()]


def parts(run: Folder, stage: str) -> dict[str, dict[str, Any]]:
    """The documents of a stage, by id."""
    files = [f for f in sorted(Path(run.path(stage)).glob("part-*.parquet")) if f.name.count(".") == 1]
    return {row["id"]: row for file in files for row in pq.read_table(file).to_pylist()}


def story(catalogue: Catalogue, document_id: str) -> Story:
    told = tell(catalogue, document_id)
    assert told is not None
    return told


def test_every_link_is_told_to_its_end(made: Folder, stories: dict[str, Story]) -> None:
    links, corpus = parts(made, "links"), parts(made, "corpus")
    last = {row["id"]: row for row in sorted(tables(made, "pages/*.parquet"), key=lambda row: row["attempt"])}
    rejected = {
        row["id"]: (stage, row["reason"])
        for stage, folder in (("extract", "documents"), ("filter", "filtered"), ("dedupe", "corpus"))
        for row in tables(made, f"{folder}/*.rejected.parquet")
    }
    assert len(links) > 70
    outcomes = set()
    for document_id, link in links.items():
        told = stories[document_id]
        assert told.problems == []
        assert told.link is not None
        assert told.link["submissions"] == link["submissions"]
        assert told.fate is not None
        if last[document_id]["outcome"] != "fetched":
            expected = ("fetch", "rejected", last[document_id]["outcome"])
        elif document_id in rejected:
            stage, reason = rejected[document_id]
            expected = (stage, "rejected", reason)
        else:
            assert document_id in corpus
            expected = ("shard", "kept", "")
        assert (told.fate.stage, told.fate.outcome, told.fate.reason) == expected
        assert all(step.outcome == "kept" for step in told.steps[:-1])
        outcomes.add(expected)
    assert len(outcomes) == 9


def test_the_text_is_the_one_of_the_last_stage_that_kept_it(made: Folder, stories: dict[str, Story]) -> None:
    """Texts of documents that filter or dedupe rejected are in the stage before, and nowhere else."""
    kept = {stage: parts(made, stage) for stage in ("documents", "filtered", "corpus")}
    for document_id, one in stories.items():
        rows = [kept[stage][document_id] for stage in kept if document_id in kept[stage]]
        assert (one.document is None) == (not rows)
        if rows:
            assert one.document == rows[-1]
    fates = [(one.fate.stage, one.document is not None) for one in stories.values() if one.fate is not None]
    assert {("extract", False), ("filter", True), ("dedupe", True), ("shard", True)} <= set(fates)


def test_stories_are_the_same_before_the_catalogue_and_from_afar(
    made: Folder, stories: dict[str, Story], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(made.path(), tmp_path / "bucket/run", ignore=shutil.ignore_patterns("inspect"))
    ids = list(stories)[::9]
    with Catalogue(Folder(str(tmp_path / "bucket/run"))) as catalogue:
        assert not catalogue.state().is_ready
        assert [tell(catalogue, document_id) for document_id in ids] == [stories[one] for one in ids]
    with remote(str(tmp_path)) as folder, Catalogue(folder) as catalogue:
        assert [tell(catalogue, document_id) for document_id in ids] == [stories[one] for one in ids]


def test_an_unknown_id_has_no_story(catalogue: Catalogue) -> None:
    assert tell(catalogue, "0" * 32) is None
    assert tell(catalogue, "' OR 1 = 1 --") is None


def test_a_text_that_filter_changed_is_there_twice(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 20)
    path = Path(run.path("documents/part-00000.parquet"))
    table = pq.read_table(path)
    texts = [f"{text}\nAccept all cookies." for text in table["text"].to_pylist()]
    pq.write_table(table.set_column(table.column_names.index("text"), "text", pa.array(texts)), path)
    with Catalogue(run) as catalogue:
        document_id = next(iter(parts(run, "corpus")))
        told = story(catalogue, document_id)
        assert list(told.texts) == ["extract", "dedupe"]
        assert told.texts["extract"]["text"] == told.texts["dedupe"]["text"] + "\nAccept all cookies."
    with inspecting(run) as address:
        assert "Accept all cookies" not in ask(f"{address}/documents/{document_id}").text
        assert "Accept all cookies" in ask(f"{address}/documents/{document_id}?left=extract").text


@pytest.mark.parametrize("upto", ["link", "fetch", "extract", "filter", "dedupe", "tokenizer"])
def test_a_run_that_is_not_finished_says_where_it_is(tmp_path: Path, upto: str) -> None:
    run = write_run(tmp_path / "run", 20, upto)
    following = {"link": "fetch", "fetch": "extract", "extract": "filter", "filter": "dedupe"}.get(
        upto, "shard"
    )
    with Catalogue(run) as catalogue:
        stages = [story(catalogue, document_id).steps[-1] for document_id in list(parts(run, "links"))[::2]]
    assert {step.stage for step in stages if step.outcome == "unfinished"} == {following}
    assert {step.outcome for step in stages} <= {"unfinished", "rejected"}


def test_measures_are_judged_as_filter_decides() -> None:
    rows = [
        {
            **NOTHING_MEASURED,
            "wikipedia": None,
            "num_words": words,
            "language": language,
            "language_score": score,
        }
        for words, language, score in ((9, "en", 0.9), (200, "en", 0.49), (200, "fr", 0.9), (200, "en", 0.5))
    ]
    rows.append({**rows[3], "wikipedia": "en.wikipedia.org"})
    rows.append({**rows[3], "gopher_duplicate_lines": 0.31, "gopher_words": 200})
    for preset in ("webtext", "gopher", "c4", "fineweb"):
        settings = FilterSettings.model_validate({"preset": preset, "rules": {"gopher_hashes": 7}})
        for row in rows:
            measured = pa.Table.from_pylist([{"id": "0", "url": "u", **row}], MEASURED)
            judged = judge(measured, settings)
            rejection = decide(measured, settings)[0]
            broken = next((one for one in judged.in_force if not one.passes), None)
            assert (broken and broken.rule) == (rejection and str(rejection.reason))
            assert (broken.value if broken else "") == (rejection.value if rejection else "")
            assert all(one.asked for one in (*judged.in_force, *judged.others))
            assert [name for name, _ in judged.every] == MEASURES.names
            assert not {one.rule for one in judged.in_force} & {one.rule for one in judged.others}
            assert "gopher_hashes" in {one.rule for one in judged.in_force}


def test_a_measure_at_the_threshold_of_a_rule_that_is_not_in_force_passes_it() -> None:
    row = {**NOTHING_MEASURED, "wikipedia": None, "num_words": 200, "language": "en", "language_score": 0.9}
    row |= {rule.measure: rule.threshold for rule in RULES}
    measured = pa.Table.from_pylist([{"id": "0", "url": "u", **row}], MEASURED)
    judged = {one.rule: one for one in judge(measured, FilterSettings()).others}
    for rule in RULES:
        if row[rule.measure] == rule.threshold:
            assert judged[rule.name].passes, rule.name


def test_tokens_are_the_shards_own(made: Folder, catalogue: Catalogue) -> None:
    """Together they are the text and end-of-text, by a tokenizer that knows nothing of the inspector."""
    corpus = parts(made, "corpus")
    tokenizer = Tokenizer.load(Path(made.path("tokenizer")))
    places = tables(made, "shards/*.documents.parquet")
    assert {place["split"] for place in places} == {"train", "val", "test"}
    for place in places:
        tokens = read_tokens(catalogue, place, 0, 1 << 20)
        ids = [one.id for one in tokens.tokens]
        assert tokenizer.decode(ids) == corpus[place["id"]]["text"] + "<|endoftext|>"
        assert (tokens.start, tokens.end, tokens.total) == (0, place["num_tokens"], place["num_tokens"])
        pieces = [read_tokens(catalogue, place, start, 97) for start in range(0, place["num_tokens"], 97)]
        assert tuple(one for piece in pieces for one in piece.tokens) == tokens.tokens
    behind = read_tokens(catalogue, place, 10**9, 97)
    assert behind == pieces[-1]


def test_bytes_that_are_no_character_are_shown_by_number(made: Folder, catalogue: Catalogue) -> None:
    place = tables(made, "shards/*.documents.parquet")[0]  # a dash, of three bytes, stands in each text
    tokens = read_tokens(catalogue, place, 0, 1 << 20).tokens
    dash = [one for one in tokens if not one.is_text]
    assert [one.text for one in dash] == [r"\xe2", r"\x80", r"\x94"]
    space = next(one for one in tokens if one.text == " ")
    assert (space.name, space.num_bytes, space.is_text) == ("␣", 1, True)


def test_a_shard_that_is_damaged_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 20)
    place = tables(run, "shards/*.documents.parquet")[-1]
    path = Path(run.path(f"shards/{place['split']}-{place['shard']:05d}.bin"))
    ids = np.fromfile(path, "<u2")
    (ids + 9000).astype("<u2").tofile(path)
    with Catalogue(run) as catalogue:
        with pytest.raises(InputError, match="webtext verify"):
            read_tokens(catalogue, place, 0, 10)
        path.write_bytes(b"")
        with pytest.raises(InputError, match="webtext verify"):
            read_tokens(catalogue, place, 0, 10)
        path.unlink()
        with pytest.raises(InputError, match=path.name):
            read_tokens(catalogue, place, 0, 10)
    with inspecting(run) as address:
        answer = ask(f"{address}/documents/{place['id']}")
    assert answer.status == 200
    assert path.name in answer.text


def test_another_tokenizer_shows_no_tokens(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 20)
    place = tables(run, "shards/*.documents.parquet")[0]
    path = Path(run.path("tokenizer/tokenizer.json"))
    path.write_text(path.read_text() + " ")
    with Catalogue(run) as catalogue, pytest.raises(InputError, match="not the one of these shards"):
        read_tokens(catalogue, place, 0, 10)


@pytest.mark.parametrize(
    ("damaged", "told", "is_told"),
    [
        ("links/part-00000.parquet", "The run's links do not have it", True),
        ("pages/part-00000.ledger.parquet", "It has not been tried", True),
        ("filtered/measured-00000.parquet", "rule in force", False),
        ("corpus/part-00000.parquet", "corpus/part-00000.parquet cannot be read", True),
        ("corpus/clusters.parquet", "the whole cluster", False),
    ],
)
def test_what_is_damaged_is_told_and_the_rest_is_there(
    made: Folder, tmp_path: Path, damaged: str, told: str, is_told: bool
) -> None:
    shutil.copytree(made.path(), tmp_path / "run", ignore=shutil.ignore_patterns("inspect"))
    run = Folder(str(tmp_path / "run"))
    document_id = next(iter(parts(run, "corpus")))
    (tmp_path / "run" / damaged).write_bytes(b"PAR1 this is none")
    for indexed in (False, True) if damaged.startswith("links") else (False,):
        with inspecting(run, indexed=indexed) as address:
            answer = ask(f"{address}/documents/{document_id}")
        assert answer.status == 200
        assert "What became of it" in answer.text
        assert "webtext verify" in answer.text
        assert (told in answer.text) == is_told


def test_pieces_of_a_text_are_all_of_it() -> None:
    text = "".join(chr(0x4E00 + n) for n in range(1003))
    pieces, start = [], 0
    while True:
        piece = excerpt(text, start, 100)
        pieces.append(piece)
        if piece.after is None:
            break
        start = piece.after
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.before for piece in pieces[:3]] == [None, 0, 100]
    assert excerpt(text, 10**12, 100) == pieces[-1]
    assert excerpt("", 5, 100).text == ""


def test_a_document_of_ten_megabytes_comes_in_pieces(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 20, "extract")
    path = Path(run.path("documents/part-00000.parquet"))
    table = pq.read_table(path)
    text = "".join(f"line {n} of a long one, with <b>markup</b> & signs\n" for n in range(220_000))
    texts = [text, *table["text"].to_pylist()[1:]]
    pq.write_table(table.set_column(table.column_names.index("text"), "text", pa.array(texts)), path)
    document_id = table["id"][0].as_py()
    with inspecting(run) as address:
        first = ask(f"{address}/documents/{document_id}").text
        last = ask(f"{address}/documents/{document_id}?text=999999999999").text
        strange = ask(f"{address}/documents/{document_id}?text=-1&token=x&left=nothing").text
    assert len(first) < 200_000
    assert "line 0 of" in first
    assert "<b>markup" not in first
    assert f"{len(text):,} characters" in first
    assert "line 219999 of" in last
    assert "line 0 of" in strange


def test_pages_of_what_is_not_there(made: Folder) -> None:
    with inspecting(made) as address:
        unknown = ask(f"{address}/documents/{'0' * 32}")
        unfetched = next(row["id"] for row in tables(made, "pages/*.parquet") if row["outcome"] == "http_4xx")
        assert unknown.status == ask(f"{address}/documents/{unfetched}/page").status == 404
        assert "knows no link" in unknown.text
        told = ask(f"{address}/documents/{unfetched}").text
        assert "rejected by fetch" in told
        assert "<iframe" not in told
