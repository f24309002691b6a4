"""``webtext plan``: what a build would come to, before a month is spent on it."""

from pathlib import Path
from typing import Annotated

import typer

from webtext.terminal import JsonOption, errors, print_json, print_whole


def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The settings file (webtext init).")],
    like: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="A finished run of the same kind: what it has measured replaces constants."
        ),
    ] = None,
    machines: Annotated[int, typer.Option(metavar="N", help="Machines, each like this one.", min=1)] = 1,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A GPU to train on, such as H100; more than once; else four common ones."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="Seconds to read of the dumps; measuring takes ten more.", min=0.0)
    ] = 45.0,
    as_json: JsonOption = False,
) -> None:
    """Foresee a build from a sample of its dumps: links, hours of fetching, bytes, core-hours, tokens, days.

    Every number is a range with what it rests on. Nothing is written, and no network is asked.

    Example: webtext plan webtext.toml --machines 4 --gpu H100
    """
    from webtext.plan_tables import tables, to_json
    from webtext.planning import GPUS, make_plan
    from webtext.settings import load

    settings = load(file)
    with errors.status("reading a sample of the dumps") as status:
        found = make_plan(
            settings,
            like=like,
            machines=machines,
            gpus=tuple(gpu or GPUS),
            seconds=seconds,
            say=status.update,
        )
    if as_json:
        print_json(to_json(found))
    else:
        print_whole(tables(found))
