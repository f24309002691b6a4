"""The page that shows a run's vocabulary and what its ids cover: it needs nothing but itself."""

import json
from typing import Any

import altair as alt
from markupsafe import Markup

from pipeline.report.charts import inline, to_svg
from pipeline.report.rendering import load_template
from pipeline.report.vocabulary import Fit, Use
from pipeline.report.vocabulary_tables import (
    figure_rows,
    folded,
    language_row,
    sample_size,
    shown,
    trained_on,
)
from pipeline.runs import Folder

PAGE = "tokenizer.html"
NUMBERS = "tokenizer.json"

_COLORS = ("var(--accent)", "var(--second)", "var(--third)", "var(--soft)")
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])  # colours are not all that tells the curves apart


def write_page(run: Folder, fit: Fit) -> str:
    """Writes the page and its numbers into the run's ``report`` folder; the page's path, or URI."""
    report = run / "report"
    numbers = json.dumps(fit.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    report.write(NUMBERS, f"{numbers}\n".encode())
    report.write(PAGE, render(fit).encode())
    return f"{report.uri}/{PAGE}"


def render(fit: Fit) -> str:
    """The page: the figures, the coverage, the languages, each vocabulary's longest and never-used tokens."""
    return load_template("vocabulary.html.jinja", {}).render(
        run=Folder(fit.run).name,
        sample=sample_size(fit),
        trained=trained_on(fit),
        names=[use.name for use in fit.uses],
        figures=figure_rows(fit),
        chart=Markup(coverage_chart(fit)),  # noqa: S704 - our own SVG
        languages=[language_row(one) for one in folded(fit.languages)],
        vocabularies=[_vocabulary(use) for use in fit.uses],
    )


def _vocabulary(use: Use) -> dict[str, Any]:
    return {
        "name": use.name,
        "longest": [
            (shown(use.tokens[one]), f"{len(use.tokens[one]):,}", f"{use.counts[one]:,}", f"{one:,}")
            for one in use.longest()
        ],
        "never": [shown(use.tokens[one]) for one in use.examples()],
        "num_never": f"{len(use.never()) - use.num_never_bytes():,}",
    }


def coverage_chart(fit: Fit) -> str:
    """What share of the tokens the most frequent ids have, a curve a vocabulary: SVG."""
    rows = [
        {"ids": num, "share": share, "vocabulary": use.name} for use in fit.uses for num, share in use.curve()
    ]
    names = [use.name for use in fit.uses]
    legend = alt.Legend(orient="top", direction="vertical", labelLimit=300) if len(names) > 1 else None
    chart = (
        alt.Chart(inline(rows))
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X(
                "ids:Q",
                title="the most frequent ids",
                scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(format=",~f", values=[10**power for power in range(7)]),
            ),
            y=alt.Y("share:Q", title="share of all tokens", axis=alt.Axis(format=".0%", tickCount=5)),
            color=alt.Color(
                "vocabulary:N", title=None, sort=None, scale=_scale(names, _COLORS), legend=legend
            ),
            strokeDash=alt.StrokeDash("vocabulary:N", sort=None, scale=_scale(names, _DASHES), legend=legend),
        )
    )
    return to_svg(chart, height=280)


def _scale(names: list[str], values: tuple[Any, ...]) -> alt.Scale:
    """A value for each name, from the first again where there are more names."""
    return alt.Scale(domain=names, range=[values[place % len(values)] for place in range(len(names))])
