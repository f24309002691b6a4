"""filter: languages, the decision on what was measured, and the stage over parts."""

import contextlib
import hashlib
import json
import socket
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, get_args

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.extract.metadata import Metadata
from pipeline.filter.c4 import C4_LINES, FINEWEB_LINES, LineRules
from pipeline.filter.decide import decide
from pipeline.filter.language import load_detector
from pipeline.filter.rules import RULES, Rule
from pipeline.filter.settings import (
    DecontaminateSettings,
    FilterSettings,
    LineSettings,
    PIISettings,
    Preset,
    RuleSettings,
    line_rules,
    rules_in_force,
)
from pipeline.filter.what_if import caveats, what_if
from pipeline.records import DOCUMENTS, FILTERED, MEASURED, MEASURES, REJECTED, Reason, Rejection
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


@pytest.mark.parametrize("code", DECLARATION)
def test_languages_are_told(code: str) -> None:
    language = load_detector()(DECLARATION[code])
    assert language.code == code
    assert 0.5 <= language.score <= 1


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


# --- decisions --------------------------------------------------------------------------------------------


def measures(**values: Any) -> dict[str, Any]:
    """What is measured of a document that every rule lets through, but for the values given."""
    good = {
        "id": "0" * 32,
        "url": PAGE,
        "language": "en",
        "language_score": 1.0,
        "num_words": 500,
        "gopher_words": 500,
        "gopher_stop_words": 8,
        "gopher_word_length": 5.0,
        "gopher_alphabetic_words": 1.0,
        "c4_sentences": 50,
        "fineweb_punctuated_lines": 1.0,
    }
    return {**dict.fromkeys(MEASURED.names, 0), "wikipedia": None, **good, **values}


def verdict(settings: FilterSettings, **values: Any) -> Rejection | None:
    (answer,) = decide(pa.Table.from_pylist([measures(**values)], MEASURED), settings)
    return answer


ALL_RULES = FilterSettings(preset="fineweb", rules={"c4_bad_words": 0})


def test_the_registry_s_names_are_reasons_and_its_measures_are_measured() -> None:
    assert {rule.measure for rule in RULES} <= set(MEASURES.names)
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.name in RuleSettings.model_fields for rule in RULES)
    assert {preset for rule in RULES for preset in rule.presets} == set(get_args(Preset)) - {"webtext"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_at_its_threshold_and_beyond(rule: Rule) -> None:
    step = 1 if MEASURES.field(rule.measure).type == pa.int32() else 1e-9
    beyond = rule.threshold - step if rule.at_least else rule.threshold + step
    assert verdict(ALL_RULES, **{rule.measure: rule.threshold}) is None
    answer = verdict(ALL_RULES, **{rule.measure: beyond})
    assert answer is not None
    assert answer == Rejection(rule.reason, f"{beyond:.4g}")
    assert verdict(FilterSettings(), **{rule.measure: beyond}) is None  # the paper has no such rule
    off = FilterSettings(preset="fineweb", rules={rule.name: False})
    assert verdict(off, **{rule.measure: beyond}) is None


@pytest.mark.parametrize(
    ("preset", "measure", "value", "reason"),
    [
        ("gopher", "gopher_hashes", 0.2, Reason.GOPHER_HASHES),
        ("gopher", "c4_sentences", 1, None),
        ("c4", "c4_sentences", 4, Reason.C4_SENTENCES),
        ("c4", "c4_bad_words", 1, Reason.C4_BAD_WORDS),
        ("c4", "gopher_hashes", 0.2, None),
        ("fineweb", "gopher_hashes", 0.2, Reason.GOPHER_HASHES),
        ("fineweb", "c4_curly_brackets", 1, Reason.C4_CURLY_BRACKETS),
        ("fineweb", "c4_bad_words", 1, None),
        ("fineweb", "fineweb_short_lines", 0.7, Reason.FINEWEB_SHORT_LINES),
    ],
)
def test_presets(preset: Preset, measure: str, value: float, reason: Reason | None) -> None:
    answer = verdict(FilterSettings(preset=preset), **{measure: value})
    assert (answer and answer.reason) == reason
    assert verdict(FilterSettings(preset=preset), num_words=49) == Rejection(Reason.TOO_SHORT, "49 words")


def test_another_threshold_and_a_rule_of_no_preset() -> None:
    strict = FilterSettings(rules={"gopher_hashes": 0.01})
    assert verdict(strict, gopher_hashes=0.02) == Rejection(Reason.GOPHER_HASHES, "0.02")
    assert [rule.name for rule in rules_in_force(strict)] == ["gopher_hashes"]


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
    wanted = FilterSettings(languages=languages, min_language_score=0.7)
    answer = verdict(wanted, language_score=score)
    assert answer == (None if kept else Rejection(Reason.LANGUAGE, f"en {score:.4f}"))


def test_the_first_rule_that_is_broken_is_the_reason() -> None:
    broken = {"wikipedia": "en.wikipedia.org", "num_words": 3, "language": "de", "gopher_hashes": 1.0}
    assert verdict(ALL_RULES, **broken) == Rejection(Reason.WIKIPEDIA, "en.wikipedia.org")
    kept = FilterSettings(preset="fineweb", wikipedia=True)
    assert verdict(kept, **broken) == Rejection(Reason.TOO_SHORT, "3 words")
    kept = FilterSettings(preset="fineweb", wikipedia=True, min_words=0)
    assert verdict(kept, **broken) == Rejection(Reason.LANGUAGE, "de 1.0000")
    kept = FilterSettings(preset="fineweb", wikipedia=True, min_words=0, languages=())
    assert verdict(kept, **broken) == Rejection(Reason.GOPHER_HASHES, "1")


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1), st.booleans()), max_size=20))
def test_whole_columns_are_decided_as_rows_are(rows: list[tuple[int, float, bool]]) -> None:
    settings = FilterSettings(preset="gopher", min_words=40)
    values = [
        {"num_words": words, "gopher_hashes": share, "language": "en" if english else "fr"}
        for words, share, english in rows
    ]
    table = pa.Table.from_pylist([measures(**one) for one in values], MEASURED)
    assert decide(table, settings) == [verdict(settings, **one) for one in values]


def test_lines_by_preset_and_by_themselves() -> None:
    def rules(preset: Preset, **values: Any) -> LineRules | None:
        return line_rules(FilterSettings(preset=preset, lines=LineSettings(**values)))

    assert rules("webtext") is rules("gopher") is None
    assert rules("c4") == C4_LINES
    assert rules("fineweb") == FINEWEB_LINES
    assert rules("c4", min_words=0, policy=False) == C4_LINES._replace(min_words=None, policy=False)
    assert rules("webtext", citations=True) == LineRules(None, True, False, None, False, False)
    none = dict.fromkeys(("terminal_punctuation", "javascript", "policy", "citations"), False)
    assert rules("c4", **none, min_words=0, max_word_length=0) is None


# --- the stage --------------------------------------------------------------------------------------------


def document(number: int, text: str, final_url: str = PAGE) -> dict[str, Any]:
    moment = datetime(2019, 12, 15, tzinfo=UTC)
    return {
        "id": f"{number:032x}",
        "url": f"http://linked.example/{number}",
        "final_url": final_url,
        "text": text,
        **Metadata()._asdict(),
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


def rows_of(job: Job, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = job.folder.read_table(f"{name}.parquet").to_pylist()
    return rows


def test_part_by_part_with_measures_and_reasons(tmp_path: Path) -> None:
    english, german = DECLARATION["en"], DECLARATION["de"]
    parts = [
        [document(1, english), document(2, "too short"), document(3, german)],
        [document(4, english, "https://en.wikipedia.org/wiki/X"), document(5, f"{english}\n{english}")],
        [],
    ]
    job = make_job(tmp_path, parts, FilterSettings(min_words=20))

    done = run_filter(job)

    assert done.counts == Counts(5, 2, {"language": 1, "too_short": 1, "wikipedia": 1})
    assert done.facts == {"words": 90, "text_bytes": 3 * len(english) + 1}
    tables = [job.folder.read_table(f"part-0000{index}.parquet") for index in range(3)]
    assert all(table.schema.equals(FILTERED) for table in tables)
    assert tables[0].select(DOCUMENTS.names).to_pylist() == [parts[0][0]]
    assert (tables[0]["language"].to_pylist(), tables[0]["num_words"].to_pylist()) == (["en"], [30])
    assert tables[1]["num_words"].to_pylist() == [60]
    assert tables[1]["gopher_duplicate_lines"].to_pylist() == [0.5]
    rejected = rows_of(job, "part-00000.rejected")
    assert [(row["id"], row["url"], row["reason"]) for row in rejected] == [
        (f"{2:032x}", "http://linked.example/2", "too_short"),
        (f"{3:032x}", "http://linked.example/3", "language"),
    ]
    assert rejected[0]["value"] == "2 words"
    measured = job.folder.read_table("measured-00000.parquet")
    assert measured.schema.equals(MEASURED)
    assert measured["language"].to_pylist()[2] == "de"  # of the rejected too

    before = digests(job)
    job.folder.remove(["manifest.json", "part-00001.json"])
    run_filter(job)
    assert digests(job) == before


def test_other_thresholds_measure_nothing_again(tmp_path: Path) -> None:
    job = make_job(tmp_path, [[document(1, DECLARATION["en"])]], FilterSettings(min_words=20))
    run_filter(job)
    before = job.folder.read("measured-00000.json")  # tells how long it took
    other = FilterSettings(min_words=40, preset="gopher", languages=())
    assert run_filter(replace(job, settings=other)).counts == Counts(1, 0, {"too_short": 1})
    assert job.folder.read("measured-00000.json") == before
    lines = FilterSettings(min_words=20, preset="c4")
    run_filter(replace(job, settings=lines))
    assert job.folder.read("measured-00000.json") != before


def test_lines_are_really_removed_and_personal_data_masked(tmp_path: Path) -> None:
    english = DECLARATION["en"]
    text = f"{english * 3}\nHome | About | Contact\nWrite to ann@example.org about it, please do.\n{english}"
    settings = FilterSettings(
        preset="c4",
        pii=PIISettings(mask=("email",)),
        rules={"c4_sentences": 2},
    )
    job = make_job(tmp_path, [[document(1, text)]], settings)
    run_filter(job)
    (kept,) = rows_of(job, "part-00000")
    assert "Home |" not in kept["text"]
    assert "Write to <EMAIL> about it" in kept["text"]
    assert kept["pii_emails"] == 1
    assert kept["c4_lines_open_end"] == 1
    assert kept["num_words"] == len(kept["text"].split())


def test_bad_words_are_those_of_the_file(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("brotherhood\n")
    settings = FilterSettings(
        bad_words=str(words),
        min_words=20,
        rules={"c4_bad_words": 0},
    )
    job = make_job(tmp_path / "run", [[document(1, DECLARATION["en"])]], settings)
    assert run_filter(job).counts == Counts(1, 0, {"c4_bad_words": 1})
    words.write_text("sisterhood\n")
    assert run_filter(job).counts == Counts(1, 1)
    words.unlink()
    with pytest.raises(InputError, match=r"words\.txt cannot be read"):
        run_filter(job)


# --- evaluation sets --------------------------------------------------------------------------------------

PROSE = " ".join(f"{DECLARATION['en']} Sentence number {number} says that." for number in range(30))
TEASER = "the quick brown fox of the seventh test set jumps over one lazy dog after another until it is dark"


def contaminated(tmp_path: Path, texts: list[str], **values: Any) -> Job:
    """A run whose evaluation set is the teaser, and another that is nowhere."""
    tmp_path.mkdir(exist_ok=True)
    for name, text in (("animals", TEASER), ("nothing", "words that no document has " * 9)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": text}) + "\n")
    sets = {name: str(tmp_path / f"{name}.jsonl") for name in ("animals", "nothing")}
    settings = FilterSettings(decontaminate=DecontaminateSettings(sets=sets, **values))
    return make_job(tmp_path / "run", [[document(n, text) for n, text in enumerate(texts)]], settings)


def test_what_evaluation_sets_say_is_cut_out(tmp_path: Path) -> None:
    middle = f"{PROSE} The Quick, brown fox{TEASER[19:]}! {PROSE}"
    job = contaminated(tmp_path, [PROSE, middle, f"{DECLARATION['en']} {TEASER} {DECLARATION['en']}"])

    done = run_filter(job)

    assert done.counts == Counts(3, 2, {"contaminated": 1})
    whole, cut = rows_of(job, "part-00000")
    assert whole["text"] == PROSE
    assert whole["contaminated_grams"] == 0
    first, second = cut["text"].split("\n\n")
    assert PROSE.startswith(first)
    assert PROSE.endswith(second)
    assert len(PROSE) - 210 < len(first) <= len(PROSE) - 199  # with the window of 200 characters
    assert cut["contaminated_grams"] == len(TEASER.split()) - 12
    (rejected,) = rows_of(job, "part-00000.rejected")
    assert (
        rejected["value"]
        == f"{len(TEASER.split()) - 12} runs of 13 words, no piece of 200 characters is left"
    )
    animals, _, nothing, _ = done.facts["evaluation_sets"]
    assert (animals["name"], animals["n"], animals["share"], animals["num_examples_hit"]) == (
        "animals",
        13,
        1,
        1,
    )
    assert (nothing["name"], nothing["share"]) == ("nothing", 0)


@pytest.mark.parametrize(
    ("action", "counts"), [("remove", Counts(2, 1, {"contaminated": 1})), ("report", Counts(2, 2))]
)
def test_documents_may_be_removed_or_only_reported(tmp_path: Path, action: str, counts: Counts) -> None:
    job = contaminated(tmp_path, [PROSE, f"{PROSE} {TEASER}"], action=action)
    done = run_filter(job)
    assert done.counts == counts
    assert done.facts["evaluation_sets"][0]["num_examples_hit"] == 1
    assert rows_of(job, "part-00000")[-1]["text"] == (PROSE if action == "remove" else f"{PROSE} {TEASER}")


def test_what_many_documents_say_is_a_common_phrase(tmp_path: Path) -> None:
    job = contaminated(
        tmp_path, [f"{PROSE} {TEASER}"] * 3 + [f"{DECLARATION['de'] * 3} {TEASER}"], max_documents=2
    )
    done = run_filter(job)
    assert done.counts == Counts(4, 3, {"language": 1})
    assert [row["text"] for row in rows_of(job, "part-00000")] == [f"{PROSE} {TEASER}"] * 3
    # A document that another rule rejects is none of the corpus, and does not count.
    job = contaminated(
        tmp_path / "few", [f"{PROSE} {TEASER}", f"{DECLARATION['de'] * 3} {TEASER}"], max_documents=1
    )
    run_filter(job)
    assert TEASER not in rows_of(job, "part-00000")[0]["text"]


def test_another_set_leaves_the_measures_as_they_are(tmp_path: Path) -> None:
    job = contaminated(tmp_path, [PROSE, f"{PROSE} {TEASER}"])
    run_filter(job)
    before = digests(job)
    measured = job.folder.read("measured-00000.json")
    (tmp_path / "nothing.jsonl").write_text(json.dumps({"text": PROSE}) + "\n")
    assert run_filter(job).counts.rejected == {"contaminated": 2}
    assert job.folder.read("measured-00000.json") == measured
    assert digests(job) != before


def test_a_set_that_is_not_there(tmp_path: Path) -> None:
    job = contaminated(tmp_path, [PROSE])
    (tmp_path / "animals.jsonl").unlink()
    with pytest.raises(InputError, match=r"animals\.jsonl is not there"):
        run_filter(job)


# --- what if ----------------------------------------------------------------------------------------------


def test_other_thresholds_are_tried_on_what_was_measured(tmp_path: Path) -> None:
    texts = [PROSE, DECLARATION["en"] * 2, DECLARATION["de"] * 2, f"{PROSE} {TEASER}", "few words"]
    now = FilterSettings(min_words=50)
    job = contaminated(tmp_path, texts, action="remove")
    done = run_filter(job)
    for then in (
        job.settings.model_copy(update={"min_words": 70}),
        job.settings.model_copy(update={"languages": ("de", "en")}),
        job.settings.model_copy(update={"preset": "gopher", "min_words": 0}),
    ):
        found = what_if(job.folder, done, job.settings, then, 10)
        again = run_filter(replace(job, settings=then)).counts
        run_filter(job)
        assert found.then == Counter({"kept": again.kept, **again.rejected})
        assert found.now == Counter({"kept": done.counts.kept, **done.counts.rejected})
        assert found.num_coming - found.num_going == again.kept - done.counts.kept
        assert len(found.examples) >= found.num_coming + found.num_going
    assert list(caveats(now, FilterSettings(min_words=9))) == []
    assert "other lines" in next(caveats(now, FilterSettings(preset="c4")))
