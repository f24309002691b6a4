"""The page on which other thresholds are tried: filter's, the least karma, and how similar is too similar."""

import math
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pipeline.errors import InputError
from pipeline.filter.settings import FilterSettings
from pipeline.filter.what_if import KEPT_NAME, WhatIf, caveats, never_extracted, what_if
from pipeline.inspector.catalogue.tables import damage
from pipeline.inspector.inspection import Inspection
from pipeline.inspector.judging.thresholds import coming_back, karma_levels, similarity_levels
from pipeline.inspector.judging.trial import PRESETS, Trial, changes, read_trial
from pipeline.inspector.web.asking import asking
from pipeline.inspector.web.rendering import inspection_of, render
from pipeline.plain_table import percentage
from pipeline.runs import Folder, Manifest
from pipeline.stages import BY_NAME

_NUM_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class _Filter:
    """What becomes of filter's documents by the settings that are tried; without any, what became of them."""

    trial: Trial
    command: str
    rows: list[dict[str, Any]]
    found: WhatIf | None
    caveats: list[str]
    seconds: float


def what_if_page(request: Request) -> Response:
    """Thresholds in force with forms to try others, and what these would change."""
    inspection = inspection_of(request)
    sent = dict(request.query_params)
    manifests = inspection.catalogue.contents.manifests
    filtered = manifests.get("filter")
    if filtered is not None and "shown" in sent:  # the form says everything: its address only what is tried
        changed = changes(FilterSettings.model_validate(filtered.settings), sent)
        return RedirectResponse(f"/what-if?{urlencode(changed)}#filter", 303)
    return render(
        request,
        "what_if.html.jinja",
        filter=None
        if filtered is None
        else _filter(inspection.run, filtered, manifests.get("extract"), sent),
        presets=PRESETS,
        karma=_karma(inspection, manifests.get("link"), sent.get("karma", "")),
        similarity=_similarity(inspection, manifests.get("dedupe"), sent.get("similarity", "")),
    )


def _filter(run: Folder, filtered: Manifest, extract: Manifest | None, sent: Mapping[str, str]) -> _Filter:
    now = FilterSettings.model_validate(filtered.settings)
    trial = read_trial(now, changes(now, sent))
    command = ["webtext", "try-filters", run.name]
    for assignment in trial.assignments:
        command += ["--set", assignment]
    counts = {KEPT_NAME: filtered.counts.kept, **filtered.counts.rejected}
    if trial.then is None or not trial.assignments:
        return _Filter(trial, shlex.join(command), _rows(counts, counts), None, [], 0.0)
    started = time.monotonic()
    try:
        found = what_if(run / BY_NAME["filter"].folder, filtered, now, trial.then, _NUM_EXAMPLES)
    except (OSError, pa.ArrowException) as error:
        raise InputError(damage("A file of filtered/", error)) from error
    said = [*caveats(now, trial.then), *([] if extract is None else never_extracted(extract, trial.then))]
    return _Filter(
        trial, shlex.join(command), _rows(found.now, found.then), found, said, time.monotonic() - started
    )


def _rows(now: Mapping[str, int], then: Mapping[str, int]) -> list[dict[str, Any]]:
    """A row for what is kept and each reason, the most frequent first."""
    total = sum(now.values())
    names = sorted({*now, *then}, key=lambda name: (name != KEPT_NAME, -now.get(name, 0), name))
    return [
        {
            "name": name,
            "now": before,
            "then": after,
            "share_now": percentage(before, total),
            "share_then": percentage(after, total),
            "change": after - before,
        }
        for name, before, after in ((name, now.get(name, 0), then.get(name, 0)) for name in names)
        if before or after
    ]


@dataclass(frozen=True, slots=True)
class _Levels:
    """A table of levels, the one that was typed, and what is wrong with that."""

    levels: list[Any]
    now: str
    typed: str
    asked: float | None
    error: str = ""
    examples: list[Any] | None = None


def _karma(inspection: Inspection, link: Manifest | None, typed: str) -> _Levels | None:
    if link is None:
        return None
    asked, error = _read(typed, whole=True)
    with asking(inspection.catalogue) as cursor:
        tables = inspection.catalogue.contents.tables
        levels = karma_levels(cursor, link, tables, None if asked is None else int(asked))
    return _Levels(levels, str(link.settings["karma"]), typed, asked, error)


def _similarity(inspection: Inspection, dedupe: Manifest | None, typed: str) -> _Levels | None:
    if dedupe is None:
        return None
    threshold = float(dedupe.settings["threshold"])
    asked, error = _read(typed, whole=False)
    if asked is not None and not 0 < asked <= 1:
        asked, error = None, "A similarity lies between 0 and 1."
    with asking(inspection.catalogue) as cursor:
        levels = similarity_levels(cursor, threshold, asked)
        examples = coming_back(cursor, asked) if asked is not None and asked > threshold else None
    return _Levels(levels, f"{threshold:g}", typed, asked, error, examples)


def _read(typed: str, *, whole: bool) -> tuple[float | None, str]:
    """The number that was typed, or what is wrong with it."""
    if not typed.strip():
        return None, ""
    try:
        number = float(typed.replace(",", ""))
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 2**53 or (whole and number != int(number)):
        return None, f"Write a {'whole number, such as 10' if whole else 'number, such as 0.85'}."
    return number, ""


ROUTES = (Route("/what-if", what_if_page),)
