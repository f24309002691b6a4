"""Submissions to links: karma over all submissions of a URL, each counted once."""

from collections import defaultdict
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import LinkSettings, UrlSettings
from pipeline.link.deal import group_bounds, parts_of
from pipeline.link.group import THRESHOLDS, group
from pipeline.link.opt_out import OptOuts
from pipeline.records import LINKS, SUBMISSIONS
from pipeline.urls import domain_hash, parse

PAGES = [f"https://{host}/{page}" for host in ("a.example.com", "b.example.org") for page in "xyz"]
NOBODY = OptOuts.of()
RULES = UrlSettings()


class Submission(NamedTuple):
    """A row of SUBMISSIONS by what matters to link."""

    page: str
    id: str
    score: int
    created: int | None = 1  # seconds
    retrieved: int | None = None  # seconds


def submission_table(submissions: list[Submission]) -> pa.Table:
    """The rows as they are read from the dealt files."""
    columns: dict[str, list[Any]] = defaultdict(list)
    for one in submissions:
        url = parse(one.page)
        assert url is not None
        times = (None if time is None else time * 1000 for time in (one.created, one.retrieved))
        created, retrieved = times
        hashed = domain_hash(url.domain)
        values = (url.key, hashed, one.page, one.id, one.score, f"r{one.id}", created, retrieved)
        for name, value in zip(SUBMISSIONS.names, values, strict=True):
            columns[name].append(value)
    return pa.table({name: columns[name] for name in SUBMISSIONS.names}, schema=SUBMISSIONS)


times = st.none() | st.integers(1, 9)
rows = st.lists(
    st.builds(
        Submission,
        st.sampled_from([*PAGES, "http://www.a.example.com/x", "https://b.example.org/y#part"]),
        st.text("0za", max_size=2) | st.sampled_from(["longer_than_8", "longer_than_9", "\0", "é"]),
        st.integers(-5, 20),
        times,
        times,
    ),
    max_size=40,
)
entries = st.builds(
    OptOuts.of,
    st.sets(st.sampled_from(["example.com", "b.example.org", "www.a.example.com", "co.uk"])),
    st.sets(st.sampled_from([url.key for page in PAGES if (url := parse(page))]), max_size=2),
    st.sets(st.sampled_from(["0", "za", "longer_than_8"])),
)


@given(rows, st.sampled_from(["max", "sum"]), st.integers(-3, 10), entries)
def test_grouping_agrees_with_a_plain_loop(
    submissions: list[Submission], karma: str, min_karma: int, opt_outs: OptOuts
) -> None:
    settings = LinkSettings.model_validate({"karma": karma, "min_karma": min_karma})
    grouped = group(submission_table(submissions), settings, opt_outs, RULES)
    links, rejected, thresholds = plain_loop(submissions, karma, min_karma, opt_outs)
    assert grouped.links.schema == LINKS
    assert [described(link) for link in grouped.links.to_pylist()] == links
    assert grouped.counts.to_json() == {"in": len(submissions), "kept": len(links), "rejected": rejected}
    grouped.counts.reconcile("group")
    assert (grouped.by_max, grouped.by_sum) == thresholds


def plain_loop(
    submissions: list[Submission], karma: str, min_karma: int, opt_outs: OptOuts
) -> tuple[list[dict[str, Any]], dict[str, int], tuple[dict[str, int], dict[str, int]]]:
    """What grouping should give, a submission at a time."""
    by_key: dict[bytes, dict[str, Submission]] = defaultdict(dict)
    rejected: dict[str, int] = defaultdict(int)
    for one in submissions:
        url = parse(one.page)
        assert url is not None
        present = by_key[url.key].get(one.id)
        rejected["same_submission"] += present is not None
        if present is None or (one.retrieved or 0) >= (present.retrieved or 0):
            by_key[url.key][one.id] = one
    links = []
    thresholds: tuple[dict[str, int], ...] = tuple({str(least): 0 for least in THRESHOLDS} for _ in "ab")
    for key, by_id in sorted(by_key.items()):
        asked = [one for one in by_id.values() if one.id not in opt_outs.submissions.to_pylist()]
        rejected["opt_out"] += len(by_id) - len(asked)
        hosts = {url.host for one in asked if (url := parse(one.page))}
        out = any(
            host == domain or host.endswith(f".{domain}") for host in hosts for domain in opt_outs.domains
        )
        if out or key in opt_outs.keys.to_pylist():
            rejected["opt_out"] += len(asked)
            continue
        if not asked:
            continue
        asked.sort(key=lambda one: (one.created is None, one.created, one.id))
        scores = [one.score for one in asked]
        for table, value in zip(thresholds, (max(scores), sum(scores)), strict=True):
            for least in THRESHOLDS:
                table[str(least)] += value >= least
        if (max(scores) if karma == "max" else sum(scores)) < min_karma:
            rejected["low_karma"] += len(asked)
            continue
        rejected["same_link"] += len(asked) - 1
        links.append(
            {
                "id": key.hex(),
                "url": asked[scores.index(max(scores))].page,
                "karma": max(scores) if karma == "max" else sum(scores),
                "karma_max": max(scores),
                "karma_sum": sum(scores),
                "created": asked[0].created,
                "submissions": [(one.id, one.score, f"r{one.id}", one.created) for one in asked],
            }
        )
    counted = {reason: num for reason, num in sorted(rejected.items()) if num}
    return links, counted, (thresholds[0], thresholds[1])


def described(link: dict[str, Any]) -> dict[str, Any]:
    """A link as the plain loop gives it, once its URL's parts are checked."""
    url = parse(link["url"])
    assert url is not None
    assert (link.pop("canonical"), link.pop("domain")) == (url.canonical, url.domain)
    seconds = [link["created"], *(one["created"] for one in link["submissions"])]
    link["created"], *created = [None if time is None else int(time.timestamp()) for time in seconds]
    link["submissions"] = [
        (one["id"], one["score"], one["subreddit"], time)
        for one, time in zip(link["submissions"], created, strict=True)
    ]
    return link


def test_the_url_with_the_highest_karma_is_fetched_and_submissions_are_in_order_of_time() -> None:
    submissions = [
        Submission("https://a.example.com/x", "1", 5, created=300),
        Submission("http://www.a.example.com/x", "2", 9, created=200),
        Submission("https://a.example.com/x#z", "3", 9, created=100),
        Submission("https://a.example.com/x#first", "0", 2, created=None),
    ]
    (link,) = group(submission_table(submissions), LinkSettings(), NOBODY, RULES).links.to_pylist()
    assert link["url"] == "https://a.example.com/x#z"  # of two with 9 the earlier
    assert [one["id"] for one in link["submissions"]] == ["3", "2", "1", "0"]
    assert link["created"].timestamp() == 100


def test_the_canonical_form_is_by_the_rules_that_made_the_key() -> None:
    rules = UrlSettings(drop_trailing_slash=False, drop_mobile=False)
    table = submission_table([Submission("https://m.example.com/page/", "a", 5)])
    for by, canonical in ((rules, "m.example.com/page/"), (RULES, "example.com/page")):
        (link,) = group(table, LinkSettings(), NOBODY, by).links.to_pylist()
        assert (link["canonical"], link["url"]) == (canonical, "https://m.example.com/page/")


def test_a_submission_counts_with_the_score_that_was_read_last() -> None:
    page = PAGES[0]
    submissions = [
        Submission(page, "a", 7, retrieved=20),
        Submission(page, "a", 50, retrieved=None),  # a later source, but it does not say how old it is
        Submission(page, "a", 60, retrieved=10),
        Submission(page, "b", 1),
        Submission(page, "b", 2),
    ]
    grouped = group(submission_table(submissions), LinkSettings(), NOBODY, RULES)
    (link,) = grouped.links.to_pylist()
    assert [(one["id"], one["score"]) for one in link["submissions"]] == [("a", 7), ("b", 2)]
    assert grouped.counts.rejected == {"same_link": 1, "same_submission": 3}


def test_one_id_under_two_urls_is_a_submission_of_each() -> None:
    """So that the answer does not depend on which part either URL is dealt to."""
    submissions = [Submission(PAGES[0], "a", 5), Submission(PAGES[3], "a", 6)]
    grouped = group(submission_table(submissions), LinkSettings(), NOBODY, RULES)
    assert sorted(grouped.links["karma"].to_pylist()) == [5, 6]


def test_no_submissions_give_no_links() -> None:
    everybody = OptOuts.of(["example.com", "co.uk"], [b"0" * 16], ["a"])
    for opt_outs in (NOBODY, everybody):
        grouped = group(SUBMISSIONS.empty_table(), LinkSettings(), opt_outs, RULES)
        assert grouped.links.equals(LINKS.empty_table())
        assert grouped.counts.to_json() == {"in": 0, "kept": 0, "rejected": {}}
        assert set(grouped.by_max.values()) == set(grouped.by_sum.values()) == {0}


@pytest.mark.parametrize("karma", ["max", "sum"])
def test_duckdb_recomputes_karma_and_thresholds(karma: str) -> None:
    random = np.random.default_rng(11)
    pages = [f"https://site{number % 97}.example/{number}" for number in random.zipf(1.2, 5000).clip(0, 2000)]
    submissions = [
        Submission(page, f"{number:x}", int(random.integers(-9, 9)), int(random.integers(1, 10**9)))
        for number, page in enumerate(pages)
    ]
    table = submission_table(submissions)
    settings = LinkSettings.model_validate({"karma": karma})
    grouped = group(table, settings, NOBODY, RULES)
    with duckdb.connect() as connection:
        connection.register("submissions", table)
        connection.register("links", grouped.links)
        connection.execute(
            """
            CREATE TABLE expected AS
            SELECT lower(hex(key)) AS id, max(score) AS karma_max, sum(score) AS karma_sum,
                min(created) AS created, count(*) AS num, arg_max(url, (score, -epoch_ms(created))) AS url
            FROM submissions GROUP BY key
            """
        )
        found = connection.execute(
            "SELECT id, karma_max, karma_sum, created, len(submissions), url FROM links ORDER BY id"
        ).fetchall()
        expected = connection.execute(
            f"SELECT * FROM expected WHERE karma_{karma} >= 3 ORDER BY id"  # noqa: S608
        ).fetchall()
        assert found == expected
        assert len(found) > 200
        for name, by in (("karma_max", grouped.by_max), ("karma_sum", grouped.by_sum)):
            for least, num in by.items():
                query = f"SELECT count(*) FROM expected WHERE {name} >= {least}"  # noqa: S608
                assert connection.execute(query).fetchall() == [(num,)]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.integers(1, 5000))
def test_parts_are_contiguous_ranges(hashes: list[int], num_parts: int) -> None:
    parts = parts_of(np.array(sorted(hashes), np.uint64), num_parts)
    assert (np.diff(parts) >= 0).all()
    assert parts.min() >= 0
    assert parts.max() < num_parts


@given(st.integers(1, 10**6), st.integers(1, 10**4))
def test_every_group_has_about_as_many_parts(num_parts: int, num_groups: int) -> None:
    bounds = group_bounds(num_parts, min(num_parts, num_groups))
    sizes = np.diff(bounds)
    assert (bounds[0], bounds[-1]) == (0, num_parts)
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1
