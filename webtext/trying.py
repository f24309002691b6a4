"""Other filter settings, tried on what a run has measured: what would go, what would come, and why."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.markup import escape

from pipeline.config import deciding
from pipeline.errors import InputError
from pipeline.filter.settings import FilterSettings
from pipeline.filter.what_if import KEPT_NAME, WhatIf, caveats, never_extracted, what_if
from pipeline.plain_table import percentage, plain_table
from pipeline.runs import Folder, Manifest, read_manifest
from pipeline.stages import BY_NAME
from pipeline.status import require_run
from webtext.settings import load_run, with_values


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried, what it would change, what the answer leaves out, and how long it took to tell."""

    values: tuple[str, ...]
    found: WhatIf
    caveats: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As ``webtext try-filters --json`` prints it."""
        return {
            "set": list(self.values),
            **self.found.to_json(),
            "caveats": list(self.caveats),
            "seconds": round(self.seconds, 3),
        }


def try_values(run: Folder, values: Sequence[str], num_examples: int) -> Tried:
    """Decides a run's documents by the settings that its filter was done by, and by others.

    Raises:
        InputError: There is no run, its filter is not finished, or a value is no setting of [filter].
    """
    started = time.monotonic()
    require_run(run)
    folder = run / BY_NAME["filter"].folder
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(
            f"{run.uri}: filter is not finished, so nothing is measured yet: run `webtext build` with "
            "--until filter first."
        )
    strange = [value for value in values if not value.strip().startswith("filter.")]
    if strange:
        raise InputError(f"{strange[0]}: only settings of [filter] can be tried, as in filter.min_words=100.")
    settings, now = load_run(run), _done_by(run, manifest)
    then = with_values(settings.model_copy(update={"filter": now}), values).filter
    found = what_if(folder, manifest, now, then, num_examples)
    said = [*_newer(settings.filter, now), *caveats(now, then)]
    extract = read_manifest(run / BY_NAME["extract"].folder)
    if extract is not None:
        said += never_extracted(extract, then)
    return Tried(tuple(values), found, tuple(said), time.monotonic() - started)


def _done_by(run: Folder, manifest: Manifest) -> FilterSettings:
    """The settings that a finished filter was done by: the run's file may have others by now."""
    try:
        return FilterSettings.model_validate(manifest.settings)
    except ValidationError as error:
        raise InputError(
            f"{run.uri}: filter was done by another version of webtext, which had other settings: run "
            "`webtext build` with --until filter first."
        ) from error


def _newer(settings: FilterSettings, now: FilterSettings) -> Iterator[str]:
    """A caveat where the run's file has other settings than those that filter was done by."""
    done = deciding(now)
    names = [f"filter.{name}" for name, value in deciding(settings).items() if value != done[name]]
    if names:
        yield (
            f"the run's webtext.toml has another {', '.join(names)} than filter was done by: this answer is "
            "about what is there, and the next build goes by the file"
        )


def render(tried: Tried) -> RenderableType:
    """The answer as people read it."""
    found = tried.found
    total = found.now.total()
    table = plain_table("documents", "now", "of all", "then", "of all", "change")
    names = sorted(
        found.now.keys() | found.then.keys(), key=lambda one: (one != KEPT_NAME, -found.now[one], one)
    )
    for name in names:
        now, then = found.now[name], found.then[name]
        style = "bold" if name == KEPT_NAME else "" if now != then else "dim"
        table.add_row(
            name,
            f"{now:,}",
            percentage(now, total),
            f"{then:,}",
            percentage(then, total),
            _change(then - now),
            style=style,
        )
    words = _change(found.words_then - found.words_now)
    noun = "document" if found.num_going == 1 else "documents"
    said = f"{found.num_going:,} {noun} would go, {found.num_coming:,} would come"
    lines = [
        f"\nwith {escape(', '.join(tried.values))}: {said}; {found.words_then:,} words ({words})",
        *(f"[yellow]![/] {escape(caveat)}" for caveat in tried.caveats),
        f"[dim]told in {tried.seconds:.1f} s[/]",
    ]
    return Group(table, *_examples(found), *lines)


def _change(difference: int) -> str:
    return f"{difference:+,}".replace("-", "−") if difference else ""


def _examples(found: WhatIf) -> list[str]:
    """A line for each document that would move."""
    width = max((len(f"{one.now} → {one.then}") for one in found.examples), default=0)
    lines = [
        f"  {f'{one.now} → {one.then}':<{width}}  {escape(one.value)}  [dim]{escape(one.url)}[/]"
        for one in found.examples
    ]
    return ["\nfor example", *lines] if lines else []
