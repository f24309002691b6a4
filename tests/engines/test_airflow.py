"""The DAGs in a real Airflow: parsed, run, backfilled by a real scheduler, and started by an asset."""

import json
import os
import re
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import zstandard

from tests.command import webtext
from tests.conftest import SHARED
from tests.engines.airflow_home import ROOT, Airflow, Served, at_home, environment, served
from tests.real_pages import SETTINGS

TINY = '[model]\npreset = "tiny"\n[train]\nsteps = 2\nbatch_tokens = 256\nmicro_batch = 1\n'

# A webtext that tells what it was given, and ends as its last argument says.
TALKER = """#!/usr/bin/env python3
import json, sys, time
print("about to answer", file=sys.stderr)
print(json.dumps({"given": sys.argv[1:], "nothing": float("nan")}))
if sys.argv[-1] == "sleep":
    time.sleep(600)
sys.exit(int(sys.argv[-1]) if sys.argv[-1].isdigit() else 0)
"""

# Runs the operator by itself, and tells what came of it.
OPERATOR = """
import json, sys, threading
sys.path.insert(0, sys.argv[1])
from webtext_command import WebtextOperator
given, folder = json.loads(sys.argv[2]), sys.argv[3]
operator = WebtextOperator(task_id="one", arguments=lambda context: given)
if given[-1] == "sleep":
    threading.Timer(1.0, operator.on_kill).start()
try:
    answer = operator.execute({"params": {"settings": folder + "/webtext.toml"}})
    print(json.dumps(["done", answer]))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""

# A value for --set, of any characters.
LISTED = """
import sys
sys.path.insert(0, sys.argv[1] + "/dags")
from webtext_corpus import toml_list
print(toml_list(sys.argv[2:]))
"""

# What parsing the DAGs brings in.
PARSED = """
import sys
sys.path[:0] = [sys.argv[1] + "/dags", sys.argv[1]]
import webtext_corpus, webtext_pretrain
print("\\n".join(sys.modules))
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """An Airflow for two months, whose dumps have links in common."""
    folder = tmp_path_factory.mktemp("corpora")
    text = re.sub(r"(?m)^(dir|dumps) = .*\n", "", SETTINGS.format(realweb=SHARED / "realweb"))
    settings = folder / "webtext.toml"
    settings.write_text(text + TINY)
    (folder / "lambada.jsonl").write_text(json.dumps({"text": "the cat sat on the mat"}) + "\n")
    with (SHARED / "realweb" / "RS_2019-12.zst").open("rb") as file:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(file)
        lines = reader.read().splitlines(keepends=True)
    (folder / "dumps").mkdir()
    for month, kept in {"2019-11": lines[:120], "2019-12": lines}.items():
        packed = zstandard.ZstdCompressor().compress(b"".join(kept))
        (folder / "dumps" / f"RS_{month}.zst").write_bytes(packed)
    return at_home(
        tmp_path_factory.mktemp("airflow") / "home",
        WEBTEXT_SETTINGS=str(settings),
        WEBTEXT_FIRST_MONTH="2019-11",
        WEBTEXT_LAST_MONTH="2019-12",
    )


def corpus(run: Path) -> dict[str, set[str]]:
    """The documents of a run's corpus with their submissions, by id."""
    parts = str(run / "corpus" / "part-*[0-9].parquet")
    rows = duckdb.read_parquet(parts).select("id, submissions").fetchall()
    return {row[0]: set(row[1]) for row in rows}


def wait_for(what: Callable[[], bool], log: Path, timeout_s: float = 900) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-5000:]
        time.sleep(1)


# The operator


def python() -> str:
    """Airflow's own Python."""
    return str(environment() / "bin" / "python")


def operate(tmp_path: Path, *given: str, program: str | None = TALKER) -> list[Any]:
    folder = tmp_path / "it's; $(touch injected)"
    folder.mkdir()
    if program:
        (tmp_path / "webtext").write_text(program)
        (tmp_path / "webtext").chmod(0o755)
    command = [python(), "-c", OPERATOR, f"{ROOT}/dags", json.dumps(given), str(folder)]
    path = f"{tmp_path}:/usr/bin:/bin"
    answer = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
    )
    assert not list(tmp_path.rglob("injected"))
    told: list[Any] = json.loads(answer.stdout.splitlines()[-1])
    return told


def test_what_is_given_reaches_the_command_as_it_is(tmp_path: Path) -> None:
    given = ["build", "$(touch injected)", "; touch injected", "{{ params }}", "'\"`", "--json"]
    assert operate(tmp_path, *given) == ["done", {"given": given, "nothing": None}]


@pytest.mark.parametrize(("status", "error"), [("2", "AirflowFailException"), ("1", "AirflowException")])
def test_bad_input_is_not_tried_again(tmp_path: Path, status: str, error: str) -> None:
    told = operate(tmp_path, "build", status)
    assert told == [error, f"webtext build ended with exit status {status}: see its messages above."]


def test_a_worker_without_the_command_is_told(tmp_path: Path) -> None:
    error, message = operate(tmp_path, "build", program=None)
    assert error == "AirflowFailException"
    assert "webtext cannot be started in" in message
    assert "on its PATH" in message


def test_a_killed_task_leaves_no_command_behind(tmp_path: Path) -> None:
    error, message = operate(tmp_path, "build", "sleep")
    assert (error, message.partition(": ")[0]) == (
        "AirflowException",
        "webtext build ended with exit status -15",
    )


# The DAGs


def test_parsing_imports_nothing_of_ours() -> None:
    command = [python(), "-c", PARSED, str(ROOT)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    parsed = {name.partition(".")[0] for name in answer.stdout.split()}
    assert {"airflow", "webtext_command"} < parsed
    assert not parsed & {
        "webtext",
        "pipeline",
        "tokenizer",
        "model",
        "apache_beam",
        "torch",
        "numpy",
        "pyarrow",
    }


def test_a_list_of_any_characters_is_toml() -> None:
    names = ['dumps/\N{PILE OF POO} "{month}".zst', "a\\b\tc", "é"]
    command = [python(), "-c", LISTED, str(ROOT), *names]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert tomllib.loads(f"names = {answer.stdout.splitlines()[-1]}")["names"] == names


def test_both_dags_are_parsed_without_an_error(airflow: Airflow) -> None:
    airflow.run("dags", "reserialize")
    assert "No data found" in airflow.run("dags", "list-import-errors")


def test_months_are_backfilled_and_say_nothing_again(airflow: Airflow, tmp_path: Path) -> None:
    folder = Path(airflow.variables["WEBTEXT_SETTINGS"]).parent
    log = tmp_path / "airflow.log"
    months = ["--from-date", "2019-11-01", "--to-date", "2019-12-01", "--max-active-runs", "1000"]
    again = ["--reprocess-behavior", "failed"]
    airflow.run("dags", "reserialize")
    airflow.run("backfill", "create", "--dag-id", "webtext_corpus", *months, *again)
    with served(airflow, log) as whole:
        wait_for(whole.answers, log)
        for name in ("webtext_pretrain", "webtext_corpus"):
            whole.ask(f"/dags/{name}", "PATCH", is_paused=False)
        wait_for(lambda: finished(whole, "webtext_corpus", 2), log)
        wait_for(lambda: finished(whole, "webtext_pretrain", 1), log)
    november, december = (folder / "runs" / month for month in ("2019-11", "2019-12"))
    first, second = corpus(november), corpus(december)
    assert not first.keys() & second.keys()
    assert len(first) + len(second) == len(expected_pages())
    counts = json.loads((december / "corpus" / "manifest.json").read_bytes())["counts"]
    assert counts["rejected"] == {"exact_duplicate": len(first)}
    # A finished corpus started the other DAG, which was told where it is.
    (trained, *_) = (folder / "runs").glob("*/checkpoints/gpt2-tiny/step-00000002")
    assert (trained.parents[2] / "report" / "index.html").is_file()


def test_a_whole_run_of_each_dag(airflow: Airflow) -> None:
    folder = Path(airflow.variables["WEBTEXT_SETTINGS"]).parent
    conf = {"runs": "whole", "dumps": f"{SHARED}/realweb/RS_2019-12.zst"}
    airflow.run("dags", "test", "webtext_corpus", "2019-11-01", "--conf", json.dumps(conf))
    run = folder / "whole" / "2019-11"
    kept = corpus(run)
    assert len(kept) == len(expected_pages())
    assert set().union(*kept.values()) == set().union(*expected_pages())
    assert webtext("verify", str(run)).returncode == 0

    given = {"run": "whole/2019-11", "data": ["lambada=lambada.jsonl"]}
    airflow.run("dags", "test", "webtext_pretrain", "--conf", json.dumps(given))
    (result,) = json.loads((run / "evaluation" / "results.json").read_bytes())
    assert result["task"] == "lambada"
    assert (run / "report" / "index.html").is_file()


def expected_pages() -> list[set[str]]:
    """The submissions of each page that a right run over the real pages keeps."""
    pages = json.loads((SHARED / "realweb" / "expected.json").read_bytes())["pages"].values()
    return [set(page["submissions"]) for page in pages if page["max"] >= 3]


def finished(whole: Served, dag: str, number: int) -> bool:
    """Whether as many runs of a DAG have succeeded; fails where one has failed."""
    states = [run["state"] for run in whole.ask(f"/dags/{dag}/dagRuns")["dag_runs"]]
    assert "failed" not in states
    return states.count("success") >= number
