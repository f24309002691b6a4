"""fetch on the hostile web: every row of the ledger, and what the web's own log proves."""

from pathlib import Path

from tests.hostile_crawl import crawl, write_settings
from tests.hostile_web import running


def test_a_crawl_of_the_hostile_web_does_what_is_right_and_nothing_else(tmp_path: Path) -> None:
    with running(tmp_path / "log", num_hosts=50, num_pages=2_000) as web:
        write_settings(tmp_path, web)
        done = crawl(tmp_path, web, num_kills=0)
    assert done.complaints == []
    assert len(done.outcomes) == len(web.web.links())


def test_kills_lose_nothing_and_make_nobody_be_asked_too_often(tmp_path: Path) -> None:
    with running(tmp_path / "log", seed=11, num_hosts=40, num_pages=1_200) as web:
        write_settings(tmp_path, web)
        done = crawl(tmp_path, web, num_kills=2)
    assert done.num_kills == 2
    assert done.complaints == []
    assert len(done.outcomes) == len(web.web.links())
