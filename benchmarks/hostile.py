"""The hostile web in its full size, crawled by the command while it is killed again and again.

Nothing is compared here but what came out with what is right: each link's outcome, and by the web's own log
that no host was asked too often or in a pause, nothing forbidden or private was asked, nothing twice.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.results import record
from tests.hostile_crawl import DELAY_S, crawl, write_settings
from tests.hostile_web import running


def main() -> None:
    """Crawls once undisturbed, and once with kills."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--pages", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10)
    arguments = parser.parse_args()
    rows, complaints = [], []
    for num_kills in (0, arguments.kills):
        with (
            tempfile.TemporaryDirectory(prefix="webtext-hostile-") as name,
            running(Path(name) / "log", num_hosts=arguments.hosts, num_pages=arguments.pages) as web,
        ):
            folder = Path(name)
            write_settings(folder, web)
            done = crawl(folder, web, num_kills)
            outcomes = Counter(done.outcomes.values())
            complaints += done.complaints
            rows.append(
                [
                    str(done.num_kills),
                    f"{len(web.web.links()):,}",
                    f"{len(web.log):,}",
                    f"{outcomes['fetched']:,}",
                    str(len(outcomes)),
                    f"{done.seconds:.0f}",
                    str(len(done.complaints)),
                ]
            )
    record(
        f"fetch on the hostile web: {arguments.hosts} hosts, {DELAY_S:g} s a domain",
        ["kills", "links", "requests", "pages", "kinds of outcome", "s", "complaints"],
        rows,
        "\n".join(complaints[:20]),
    )


if __name__ == "__main__":
    main()
