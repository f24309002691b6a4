"""The toy study's figures as pictures.

    python -m benchmarks.toy_pictures docs/toy-study.json

writes toy-shots.svg, toy-sizes.svg, toy-sharing.svg and toy-embeddings.svg beside the figures.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

_WIDTH, _HEIGHT = 420, 260
_BY_SIZE = alt.X("parameters:Q", title="parameters", scale=alt.Scale(type="log", nice=False, padding=20))
_SIZES = alt.Axis(format="~s", values=[10**power * digit for power in (4, 5, 6) for digit in (1, 2, 5)])

Row = dict[str, Any]
AnyChart = alt.Chart | alt.LayerChart | alt.FacetChart


def main() -> None:
    """Draws all pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path, help="what benchmarks.toy_study wrote")
    file: Path = parser.parse_args().figures
    found = json.loads(file.read_text("utf-8"))
    _write(_shots(found["shots"]), file.with_name("toy-shots.svg"))
    _write(_sizes(found["shots"]), file.with_name("toy-sizes.svg"))
    _write(_sharing(found["sharing"]), file.with_name("toy-sharing.svg"))
    _write(_embeddings(found["embeddings"]), file.with_name("toy-embeddings.svg"))


def _rows(shots: Sequence[Row]) -> list[Row]:
    return [
        {
            "parameters": one["parameters"],
            "size": f"{one['parameters']:,}",
            "examples": int(count),
            "right": share,
        }
        for one in shots
        for count, share in one["accuracy"].items()
    ]


def _shots(shots: Sequence[Row]) -> alt.Chart:
    order = [f"{one['parameters']:,}" for one in reversed(shots)]
    return _lines(_rows(shots)).encode(
        x=alt.X("examples:O", title="solved examples in front of the question", axis=alt.Axis(labelAngle=0)),
        y=_right(),
        color=alt.Color("size:N", title="parameters", sort=order, scale=alt.Scale(scheme="viridis")),
    )


def _sizes(shots: Sequence[Row]) -> alt.Chart:
    names = {0: "zero-shot", 1: "one-shot", 8: "few-shot (8)"}
    rows = [{**row, "kind": names[row["examples"]]} for row in _rows(shots) if row["examples"] in names]
    return _lines(rows).encode(
        x=_BY_SIZE.axis(_SIZES),
        y=_right(),
        color=alt.Color("kind:N", title=None, sort=list(reversed(names.values()))),
    )


def _right() -> alt.Y:
    return alt.Y("right:Q", title="answered right", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))


def _sharing(models: Sequence[Row]) -> AnyChart:
    names = {"all": "all", "attention": "attention", "ffn": "feed-forward", "none": "nothing"}
    return _by_size([{**one, "name": f"shares {names[one['sharing']]}"} for one in models])


def _embeddings(models: Sequence[Row]) -> AnyChart:
    return _by_size([{**one, "name": f"E = {one['embedding']}"} for one in models])


def _by_size(rows: list[Row]) -> AnyChart:
    rows = [{**one, "loss": one["mlm_loss"] + one["sop_loss"]} for one in rows]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X(
            "parameters:Q", axis=alt.Axis(format="~s", tickCount=5), scale=alt.Scale(zero=False, padding=60)
        ),
        y=alt.Y(
            "loss:Q",
            title="loss: masked tokens + order, nats",
            scale=alt.Scale(zero=False, nice=True, padding=20),
        ),
    )
    return alt.layer(
        base.mark_line(color="#bbb"),
        base.mark_point(filled=True, size=70, opacity=1),
        base.mark_text(dy=-14).encode(text="name:N"),
    )


def _lines(rows: list[Row]) -> alt.Chart:
    chart: alt.Chart = alt.Chart(alt.InlineData(values=rows)).mark_line(point={"size": 50})
    return chart


def _write(chart: AnyChart, file: Path) -> None:
    """Writes a picture that stands by itself, on white, as readers' pages may be dark."""
    specification = chart.properties(width=_WIDTH, height=_HEIGHT).to_dict()
    specification |= {
        "background": "white",
        "padding": 12,
        "config": {
            "font": "sans-serif",
            "axis": {"labelFontSize": 12, "titleFontSize": 12, "gridOpacity": 0.5},
        },
    }
    file.write_text(vl_convert.vegalite_to_svg(specification), "utf-8")


if __name__ == "__main__":
    main()
