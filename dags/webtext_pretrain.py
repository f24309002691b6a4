"""Pretrains the model of a settings file on a finished corpus, evaluates it, and writes the run's report.

It is started by a corpus that ``webtext_corpus`` finishes, or by hand with the run directory to train on.
"""

from airflow.sdk import DAG, Context, Param, chain
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from webtext_command import CORPUS, RETRIES, WebtextOperator, settings_param


def run_of(context: Context) -> str:
    """The run directory to train on: the one named, or that of the corpus finished last."""
    if named := context["params"]["run"]:
        return named
    finished = [event for events in context["triggering_asset_events"].values() for event in events]
    if not finished:
        raise AirflowFailException(
            'no corpus is named: give the run directory as the parameter "run", or leave it to a finished '
            "corpus to start this."
        )
    return max(finished, key=lambda event: event.timestamp).extra["run"]


def pretrain(context: Context) -> list[str]:
    """The command that trains; it goes on from the newest checkpoint."""
    return ["pretrain", context["params"]["settings"], "--run", run_of(context), "--json"]


def evaluate(context: Context) -> list[str]:
    """The command that puts the trained model to the tasks whose data is given."""
    tasks = context["params"]["data"]
    if not tasks:
        raise AirflowSkipException('nothing to evaluate on: the parameter "data" names no TASK=PATH')
    checkpoint = context["ti"].xcom_pull(task_ids="pretrain")["checkpoint"]
    data = [word for one in tasks for word in ("--data", one)]
    return ["evaluate", checkpoint, *data, "--out", f"{run_of(context)}/evaluation"]


def report(context: Context) -> list[str]:
    """The command that writes the run's report."""
    return ["report", run_of(context)]


with DAG(
    "webtext_pretrain",
    description="A finished corpus to a model, its evaluation and the report",
    schedule=CORPUS,
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    params={
        "settings": settings_param(),
        "run": Param(
            "",
            type="string",
            pattern="^([^-].*)?$",
            description="The run directory to train on; empty: that of the corpus that was finished last.",
        ),
        "data": Param(
            [],
            type="array",
            items={"type": "string", "pattern": "^[a-z0-9-]+=."},
            description="What to evaluate on: TASK=PATH each, as webtext evaluate --list names them.",
        ),
    },
    tags=["webtext"],
) as dag:
    chain(
        WebtextOperator(task_id="pretrain", arguments=pretrain),
        WebtextOperator(task_id="evaluate", arguments=evaluate),
        # Without data there is no evaluation, and a report all the same.
        WebtextOperator(task_id="report", arguments=report, trigger_rule="none_failed"),
    )
