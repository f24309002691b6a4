"""Plans of demos by what a smaller demo has measured, against what they came to."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.results import record
from tests.finished_run import came_to
from webtext.demo.dump import FILE_NAME, write_dump
from webtext.demo.run import demo_settings
from webtext.demo.server import serve
from webtext.demo.site import build_site
from webtext.settings import render


def main() -> None:
    """Builds demos of several sizes, and plans each larger one like the smallest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, nargs="+", default=[300, 600, 1_200])
    arguments = parser.parse_args()
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as place:
        folders = [_build(Path(place) / str(num), num) for num in arguments.pages]
        for num, folder in zip(arguments.pages[1:], folders[1:], strict=True):
            foreseen = json.loads(
                _webtext(folder, "plan", "webtext.toml", "--json", "--like", str(folders[0] / "run"))
            )
            for name, foretold, found in _compared(foreseen, folder):
                low, likely, high = (foretold[end] for end in ("low", "likely", "high"))
                held = "yes" if low <= found <= high else "no"
                off = f"{likely / found - 1:+.1%}"
                rows.append(
                    [
                        f"{num:,}",
                        name,
                        f"{low:,.0f}",
                        f"{likely:,.0f}",
                        f"{high:,.0f}",
                        f"{found:,}",
                        off,
                        held,
                    ]
                )
    record(
        f"plan: demos foreseen by one of {arguments.pages[0]:,} pages",
        ["pages", "what", "low", "likely", "high", "came to", "off by", "within"],
        rows,
        "The dumps are read whole. Goal: likely within 20 %.",
    )


def _build(folder: Path, num_pages: int) -> Path:
    folder.mkdir()
    site = build_site(num_pages)
    write_dump(site, folder / FILE_NAME)
    with serve(site) as server:
        (folder / "webtext.toml").write_text(render(demo_settings(server.resolve)), "utf-8")
        _webtext(folder, "build", "webtext.toml")
    return folder


def _webtext(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "webtext", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout


def _compared(foreseen: Any, folder: Path) -> Iterator[tuple[str, Any, float]]:
    for section, numbers in came_to(folder / "run").items():
        for name, number in numbers.items():
            yield f"bytes of {name}" if section == "bytes" else name, foreseen[section][name], number


if __name__ == "__main__":
    main()
