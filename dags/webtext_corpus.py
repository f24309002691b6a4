"""A month's dump to a corpus and its shards: one task a stage, one run a month, in their order.

A month is an increment: nothing is said in it again that an earlier month's corpus says
(``dedupe.against``). So each month needs all before it, from ``WEBTEXT_FIRST_MONTH`` on; where
``WEBTEXT_LAST_MONTH`` is not set, each new month follows. No two months are crawled at once.
"""

import glob
import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Context, CronDataIntervalTimetable, Param, chain, task
from airflow.sdk.exceptions import AirflowFailException
from webtext_command import CORPUS, RETRIES, WebtextOperator, settings_param

STAGES = ("collect", "link", "fetch", "extract", "filter", "dedupe", "tokenizer", "shard")


def begin_of(month: str) -> datetime:
    """The logical date of a month such as 2019-06."""
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)


FIRST = begin_of(os.environ.get("WEBTEXT_FIRST_MONTH", "2005-06"))  # Reddit's own first
LAST = begin_of(os.environ["WEBTEXT_LAST_MONTH"]) if "WEBTEXT_LAST_MONTH" in os.environ else None


def month_of(dag_run: Any) -> str:
    """The month that a DAG run is for, such as 2019-06: that of its logical date."""
    date = dag_run.logical_date
    if date is None or date < FIRST:
        raise AirflowFailException(
            "a run's logical date says which month's dump it is for, in "
            f"{FIRST:%Y-%m} (WEBTEXT_FIRST_MONTH) or later; this one's is {date}."
        )
    return f"{date:%Y-%m}"


def months_before(month: str) -> list[str]:
    """All months from the first to the one before this."""
    first, end = 12 * FIRST.year + FIRST.month - 1, 12 * int(month[:4]) + int(month[5:]) - 1
    return [f"{number // 12}-{number % 12 + 1:02}" for number in range(first, end)]


def dumps_of(month: str, params: Mapping[str, Any]) -> str:
    """A month's dump: a path or a glob, relative to the settings file's folder."""
    return params["dumps"].replace("{month}", month)


def toml_list(texts: list[str]) -> str:
    """A list of strings is the same in JSON as in TOML, but for escapes that are half of a character."""
    return json.dumps(texts, ensure_ascii=False)


def build_until(stage: str) -> Callable[[Context], list[str]]:
    """The command that brings a month's run up to a stage."""

    def arguments(context: Context) -> list[str]:
        params, month = context["params"], month_of(context["dag_run"])
        earlier = [f"{params['runs']}/{one}" for one in months_before(month)]
        dumps, against = toml_list([dumps_of(month, params)]), toml_list(earlier)
        return [
            *("build", params["settings"], "--run", f"{params['runs']}/{month}", "--until", stage),
            *("--set", f"collect.dumps={dumps}", "--set", f"dedupe.against={against}"),
        ]

    return arguments


@task.sensor(mode="reschedule", poke_interval=timedelta(hours=1), timeout=timedelta(days=90))
def dump(params, dag_run) -> bool:
    """Waits for the month's dump, which is published weeks after the month's end."""
    pattern, folder = dumps_of(month_of(dag_run), params), Path(params["settings"]).parent
    print(f"waits for {pattern} in {folder}")
    return bool(glob.glob(pattern, root_dir=folder))  # noqa: PTH207 (patterns may be absolute)


@task(outlets=[CORPUS])
def announce(params, dag_run, outlet_events) -> None:
    """Tells the DAGs that are scheduled on a finished corpus which one it is."""
    run = f"{params['runs']}/{month_of(dag_run)}"
    if "://" not in run:
        run = str(Path(params["settings"]).parent / run)
    outlet_events[CORPUS].extra = {"run": run}


with DAG(
    "webtext_corpus",
    description="A month of Reddit's submissions to token shards, nothing said again",
    schedule=CronDataIntervalTimetable("@monthly", timezone="UTC"),
    start_date=FIRST,
    end_date=LAST,
    catchup=True,
    # A task waits for the same task of the month before: that is the order. Months that wait are active to
    # Airflow, and must not take the place of one that has failed and is tried again.
    max_active_runs=1_000,
    default_args={**RETRIES, "depends_on_past": True},
    params={
        "settings": settings_param(),
        "dumps": Param(
            "dumps/RS_{month}.zst",
            type="string",
            description="A month's dump, or a glob: {month} is the month, such as 2019-06.",
        ),
        "runs": Param(
            "runs",
            type="string",
            pattern="^[^-]",
            description="The folder, or URI, that the months' run directories are in.",
        ),
    },
    tags=["webtext"],
) as dag:
    stages = [WebtextOperator(task_id=stage, arguments=build_until(stage)) for stage in STAGES]
    chain(dump(), *stages, announce())
