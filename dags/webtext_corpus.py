"""A corpus build in Airflow 3: one task a stage, each a ``webtext`` command.

A task that is retried goes on from the parts that are there. Parsing this file imports nothing of
webtext; the workers need the ``webtext`` command on their PATH.
"""

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, Param, chain

STAGES = ("collect", "link", "fetch", "extract", "filter", "dedupe", "tokenizer", "shard")

with DAG(
    "webtext_corpus",
    description="Reddit submissions to token shards",
    schedule=None,
    catchup=False,
    params={
        "settings": Param(
            "webtext.toml", type="string", description="The settings file, where the workers find it."
        )
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["webtext"],
) as dag:
    # The path goes through the environment: what a user types is never read as shell code.
    environment = {"SETTINGS": "{{ params.settings }}"}
    tasks = [
        BashOperator(
            task_id=stage,
            bash_command=f'webtext build "$SETTINGS" --until {stage}',
            env=environment,
            append_env=True,
        )
        for stage in STAGES
    ]
    tasks[-1].outlets = [Asset("webtext_corpus")]
    chain(*tasks)
