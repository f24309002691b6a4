"""A dump's lines, whatever bytes they are: an answer each, the right count, and the glance agrees."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collect import glance
from pipeline.collect.batches import judge_all
from pipeline.collect.glance import read_rows
from pipeline.collect.rows import Row, parse_row
from pipeline.collect.rules import Rules, Submission, judge
from pipeline.config import CollectSettings
from pipeline.records import Reason
from tests.test_pipeline_collect import ROW

RULES = Rules.of(CollectSettings())

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
# Values that rules tell apart, beside arbitrary ones.
TELLING = st.sampled_from(
    [
        True, False, None, 0, 3, "3", "", "[removed]", "moderator", "https://i.redd.it/a.jpg",
        "https://example.com/", "https://v.redd.it/", "/r/a/", {"is_self": True}, [{"is_self": True}],
        {"was_deleted_later": True}, 1575158476, "1575158476", float("nan"), 10**40, "\ud83d",
    ]
)  # fmt: skip
FIELDS = [
    *ROW, "url_overridden_by_dest", "_meta", "crosspost_parent_list", "crosspost_parent", "retrieved_on",
    "media",
]  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """A submission with some fields changed, taken away, or in another order."""
    row = {**ROW, **draw(st.dictionaries(st.sampled_from(FIELDS), TELLING | JSON, max_size=4))}
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        row.pop(name, None)
    return {name: row[name] for name in draw(st.permutations(list(row)))}


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A row as a line: with or without spaces, escaped or not, and now and then broken."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :\t")]))
    text = json.dumps(draw(rows()), separators=separators, ensure_ascii=draw(st.booleans()))
    line = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(st.binary(max_size=3)) + line[at + draw(st.integers(0, 9)) :]
    return line.replace(b"\n", b" ")


def closely(line: bytes) -> Submission | Reason:
    row = parse_row(line)
    return row if isinstance(row, Reason) else judge(row, RULES)


def at_a_glance(line: bytes) -> Submission | Reason:
    (row,) = read_rows([line], RULES)
    return row if isinstance(row, Reason) else judge(row, RULES)


@given(lines() | st.binary(max_size=80))
def test_the_glance_gives_the_answer_that_a_close_look_gives(line: bytes) -> None:
    assert at_a_glance(line) == closely(line)


@given(st.lists(lines() | st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=12))
def test_every_line_is_counted_once(many: list[bytes]) -> None:
    (batch,) = judge_all(read_rows(many, RULES), RULES)
    assert len(batch.kept) + len(batch.reasons) == len(many)
    expected = [closely(line) for line in many]
    assert batch.kept == [one for one in expected if isinstance(one, Submission)]
    assert batch.reasons == [one for one in expected if isinstance(one, Reason)]
    assert sum(batch.months()[0].values()) == len(batch.kept)


@given(st.lists(lines(), max_size=5))
def test_without_simdjson_the_answers_are_the_same(many: list[bytes]) -> None:
    def answers() -> list[Row | Reason | Submission]:
        return [row if isinstance(row, Reason) else judge(row, RULES) for row in read_rows(many, RULES)]

    with pytest.MonkeyPatch.context() as patch:
        with_simdjson = answers()
        patch.setattr(glance, "Parser", None)
        assert answers() == with_simdjson


@pytest.mark.parametrize("url", ["https://example.com/", "https://i.redd.it/a.jpg", "/r/a/", 7])
@pytest.mark.parametrize("destination", ["https://example.com/", "https://i.redd.it/a.jpg", "/r/a/", 7, ""])
@pytest.mark.parametrize("flags", [{}, {"over_18": True}, {"removed_by_category": "moderator"}])
def test_a_removed_row_with_two_urls_has_one_reason(
    url: Any, destination: Any, flags: dict[str, Any]
) -> None:
    line = json.dumps({**ROW, "url": url, "url_overridden_by_dest": destination, **flags}).encode()
    assert at_a_glance(line) == closely(line)


def test_what_lies_inside_a_row_does_not_mislead_the_glance() -> None:
    nested = b'{"crosspost_parent_list":[{"is_self":true,"url":"https://i.redd.it/x","over_18":true}],'
    line = nested + json.dumps(dict(ROW)).encode()[1:]
    assert at_a_glance(line) == closely(line) == Reason.CROSSPOST_OF_SELF
    text = json.dumps({**ROW, "title": '"is_self":true,"url":"https://i.redd.it/x"'}).encode()
    assert isinstance(at_a_glance(text), Submission)
