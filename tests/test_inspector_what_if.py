"""Other thresholds: the same answer as `webtext try-filters`; recounts of what karma and similarity do."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html

from pipeline.filter.decide import decide
from pipeline.filter.rules import RULES
from pipeline.filter.settings import FilterSettings, rules_in_force
from pipeline.filter.what_if import KEPT_NAME, what_if
from pipeline.inspector.judging.trial import PRESETS, changes, read_trial
from pipeline.runs import Folder, read_manifest
from tests.browser import browsing, fits, keep_picture, page_of
from tests.inspected import ask, inspecting
from tests.synthetic_run import SETTINGS, write_run
from webtext.settings import Settings, render, with_values
from webtext.trying import try_values


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    run = write_run(tmp_path_factory.mktemp("what-if") / "run", 600)
    run.write("webtext.toml", render(Settings(filter=SETTINGS["filter"])).encode())
    return run


@pytest.fixture(scope="module")
def address(made: Folder) -> Iterator[str]:
    with inspecting(made) as address:
        yield address


# --- what is tried ----------------------------------------------------------------------------------------


def test_documents_are_decided_as_one_by_one(made: Folder) -> None:
    folder = made / "filtered"
    manifest = read_manifest(folder)
    assert manifest is not None
    measured = pa.concat_tables(folder.read_table(f"measured-{n:05d}.parquet") for n in range(2))
    now, then = SETTINGS["filter"], FilterSettings(languages=("en",), min_words=100, preset="c4")
    found = what_if(folder, manifest, now, then, 7)
    before, after = (
        [KEPT_NAME if one is None else str(one.reason) for one in decide(measured, settings)]
        for settings in (now, then)
    )
    assert (found.now, found.then) == (Counter(before), Counter(after))
    words = measured["num_words"].to_pylist()
    assert found.words_then == sum(num for num, name in zip(words, after, strict=True) if name == KEPT_NAME)
    moved = [
        (one, *names)
        for one, *names in zip(measured["id"].to_pylist(), before, after, strict=True)
        if names[0] != names[1]
    ]
    assert [(one.id, one.now, one.then) for one in found.examples] == moved[:7]
    assert what_if(folder, manifest, now, now, 7).examples == ()


NUMBERS = st.floats(0, 1000).map(lambda number: f"{number:.3g}")
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "preset": st.sampled_from(PRESETS),
        "languages": st.lists(st.sampled_from(["en", "de", "fr"]), unique=True).map(", ".join),
        "min_language_score": st.floats(0, 1).map(str),
        "min_words": st.integers(0, 10**6).map(str),
        "wikipedia": st.sampled_from(["keep", "leave out"]),
        **{f"rules.{rule.name}": NUMBERS | st.just("") for rule in RULES[::5]},
    },
)


@given(FIELDS)
def test_a_form_says_what_the_command_says(sent: Mapping[str, str]) -> None:
    now = FilterSettings(preset="c4", languages=("en",))
    trial = read_trial(now, changes(now, sent))
    assert trial.then is not None
    assert trial.then == with_values(Settings(filter=now), trial.assignments).filter
    typed = {field.name: field.typed for field in trial.fields}
    for field in trial.fields:
        assert typed[field.name] == sent.get(field.name, typed[field.name])
    # The form that comes back, sent as it is, asks for the same.
    changed = changes(now, {**typed, "shown": typed["preset"]})
    assert changes(now, changed) == changed
    again = read_trial(now, changed)
    assert again.then is not None
    assert list(rules_in_force(again.then)) == list(rules_in_force(trial.then))
    assert again.then.model_dump(exclude={"rules"}) == trial.then.model_dump(exclude={"rules"})


def test_a_form_that_is_sent_as_it_came_asks_for_nothing() -> None:
    for preset in PRESETS:
        now = FilterSettings(preset=preset, min_language_score=0.25)
        typed = {field.name: field.typed for field in read_trial(now, {}).fields}
        assert changes(now, {**typed, "shown": preset}) == {}


def test_another_preset_brings_its_rules_and_takes_them_away() -> None:
    now = FilterSettings()
    typed = {field.name: field.typed for field in read_trial(now, {"preset": "gopher"}).fields}
    assert typed["rules.gopher_hashes"] == "0.1"
    back = {**typed, "shown": "gopher", "preset": "webtext"}
    assert changes(now, back) == {}
    without = {**typed, "shown": "gopher", "rules.gopher_hashes": ""}
    trial = read_trial(now, changes(now, without))
    assert trial.then is not None
    assert "gopher_hashes" not in {rule.name for rule in rules_in_force(trial.then)}


WRONG = {
    "min_words": ("many", "1.5", "-3", "", "NaN", "9" * 30 + "x"),
    "min_language_score": ("2", "-0.1", "sure", "inf"),
    "preset": ("mine", ""),
    "rules.gopher_hashes": ("x", "nan", "1e999"),
}


def test_what_is_wrong_is_told_at_its_field() -> None:
    for name, texts in WRONG.items():
        for text in texts:
            trial = read_trial(FilterSettings(), {name: text, "wikipedia": "keep"})
            assert trial.then is None, (name, text)
            assert [field.name for field in trial.fields if field.error] == [name]
            assert trial.field(name).error.endswith(".")
            assert trial.field(name).typed == text


# --- the page ---------------------------------------------------------------------------------------------


def table_of(page: str, section: str) -> list[list[str]]:
    tree = html.fromstring(page)
    rows = tree.xpath(f"(//section[@id='{section}']//table)[1]/tbody/tr")
    return [[cell.text_content().strip() for cell in row.xpath("td")] for row in rows]


def test_the_page_says_what_the_command_says(made: Folder, address: str) -> None:
    for query in ("min_words=60", "languages=en&wikipedia=keep", "preset=gopher&rules.gopher_few_words=30"):
        page = ask(f"{address}/what-if?{query}").text
        (command,) = html.fromstring(page).xpath("//section[@id='filter']//pre/text()")
        values = [word for word in shlex.split(command)[3:] if word != "--set"]
        tried = try_values(made, values, 20)
        shown = {
            row[0]: (int(row[1].replace(",", "")), int(row[3].replace(",", "")))
            for row in table_of(page, "filter")
        }
        assert shown == {
            name: (tried.found.now[name], tried.found.then[name])
            for name in tried.found.now | tried.found.then
        }
        assert f"{tried.found.words_then:,} then" in page
        assert all(one.url in page for one in tried.found.examples)
        assert all(f"! {caveat}" in html.fromstring(page).text_content() for caveat in tried.caveats)


def test_the_command_compares_with_what_filter_was_done_by(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 60, "filter")
    manifest = read_manifest(run / "filtered")
    assert manifest is not None
    newer = SETTINGS["filter"].model_copy(update={"min_words": 9999})
    run.write("webtext.toml", render(Settings(filter=newer)).encode())
    tried = try_values(run, ["filter.min_words=60"], 5)
    assert tried.found.now == Counter({KEPT_NAME: manifest.counts.kept}) + Counter(manifest.counts.rejected)
    assert tried.found.then[KEPT_NAME] > 0
    (caveat,) = (one for one in tried.caveats if "webtext.toml" in one)
    assert "another filter.min_words than" in caveat


def test_a_form_leads_to_an_address_that_says_only_what_is_tried(address: str) -> None:
    tree = html.fromstring(ask(f"{address}/what-if").text)
    (form, *_) = tree.forms
    form.fields["min_words"] = "77"
    answer = ask(
        f"{address}/what-if?"
        + "&".join(f"{name}={value}" for name, value in form.form_values() if " " not in value)
    )
    assert answer.status == 303
    assert answer.headers["location"] == "/what-if?min_words=77#filter"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("min_words=many", "Write a number, such as 50."),
        ("min_language_score=3", "less than or equal to 1."),
        ("preset=%3Cscript%3E", "It should be"),
        ("karma=much", "Write a whole number"),
        ("karma=1e300", "Write a whole number"),
        ("similarity=7", "between 0 and 1"),
        ("similarity=x", "such as 0.85"),
        ("shown=nonsense&nonsense=1", ""),
    ],
)
def test_nonsense_is_told(address: str, query: str, said: str) -> None:
    answer = ask(f"{address}/what-if?{query}")
    if answer.status == 303:
        answer = ask(address + answer.headers["location"].partition("#")[0])
    assert answer.status == 200
    assert said in answer.text
    assert "<script>" not in answer.text


def test_karma_is_as_recounted(made: Folder, address: str) -> None:
    rows = {row[0]: row[1:4] for row in table_of(ask(f"{address}/what-if?karma=42").text, "karma")}
    links = duckdb.read_parquet([made.path(f"links/part-{n:05d}.parquet") for n in range(2)])
    corpus = duckdb.read_parquet([made.path(f"corpus/part-{n:05d}.parquet") for n in range(2)])
    for least in ("3", "5", "42", "100"):
        num_links = links.filter(f"karma >= {least}").count("*").fetchall()[0][0]
        num, words = corpus.filter(f"karma >= {least}").aggregate("count(*), sum(num_words)").fetchall()[0]
        assert rows[least] == [f"{num_links:,}", f"{num:,}", f"{words:,}"]
    manifest = read_manifest(made / "links")
    assert manifest is not None
    assert rows["1"] == [f"{manifest.facts['links_by_max']['1']:,}", "–", "–"]


def test_similarity_is_as_recounted(made: Folder, address: str) -> None:
    page = ask(f"{address}/what-if?similarity=0.83").text
    rows = {row[0]: row[1:3] for row in table_of(page, "similarity")}
    clusters = made.path("corpus/clusters.parquet")
    measured = [made.path(f"filtered/measured-{n:05d}.parquet") for n in range(2)]
    for threshold in ("0.75", "0.83", "0.95", "1"):
        gone = duckdb.read_parquet(clusters).filter(f"not kept and similarity < {threshold}::FLOAT")
        joined = gone.join(duckdb.read_parquet(measured).set_alias("m"), "id")
        num, words = joined.aggregate("count(*), coalesce(sum(num_words), 0)").fetchall()[0]
        assert rows[threshold] == [f"{num:,}", f"{words:,}"]
    assert rows["0.7"] == ["0", "0"]
    assert rows["0.5"][0] == "not known"
    urls = (
        duckdb.read_parquet(clusters).filter("not kept and similarity < 0.83::FLOAT").order("similarity, id")
    )
    assert all(url in page for (url,) in urls.select("url").limit(10).fetchall())


def test_a_run_without_stages_says_which_are_missing(tmp_path: Path) -> None:
    with inspecting(write_run(tmp_path / "run", 30, "link")) as address:
        page = ask(f"{address}/what-if?min_words=9&similarity=0.9&karma=10").text
    assert "filter is not finished" in page
    assert "dedupe is not finished" in page
    assert {row[0]: row[2] for row in table_of(page, "karma")}["10"] == "–"


def test_thresholds_are_tried_in_a_browser(made: Folder) -> None:
    with inspecting(made, indexed=True) as address, browsing() as browser:
        with page_of(browser) as page:
            page.goto(f"{address}/what-if")
            page.get_by_label("The fewest words").fill("100")
            page.get_by_text("Rules that are not in force").click()
            page.locator("[name='rules.gopher_few_words']").fill("20")
            page.get_by_role("button", name="Try").first.click()
            page.wait_for_url("**/what-if?**min_words=100**")
            assert "rules.gopher_few_words=20" in page.url
            assert re.search(r"[1-9]\d* documents? would go", page.inner_text("#filter"))
            keep_picture(page, "what-if")
            page.get_by_label("The fewest words").fill("plenty")
            page.get_by_role("button", name="Try").first.click()
            page.locator("[id='min_words-error']").wait_for()
            keep_picture(page, "what-if-wrong")
            page.get_by_text("As it is now").click()
            page.wait_for_url(f"{address}/what-if")
        with page_of(browser, dark=True, phone=True, javascript=False) as page:
            page.goto(f"{address}/what-if?min_words=100&similarity=0.9")
            assert fits(page)
            keep_picture(page, "what-if-phone-dark")
