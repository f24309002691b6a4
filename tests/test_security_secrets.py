"""No secret is in what a run leaves or says: real commands with planted ones, and every byte looked at."""

import base64
import gzip
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote
from urllib.request import HTTPCookieProcessor, build_opener

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.collect.dumps import zstd
from tests import reddit_replay
from tests.command import webtext
from tests.reddit_replay import Reddit, answer, publish_two, token
from tests.removal_run import SETTINGS, Page, text_of, write_sources
from tests.synthetic_run import write_run
from tests.test_inspector_command import inspecting

pytest.importorskip("praw")

ROOT = Path(__file__).resolve().parents[1]
NOWHERE = "127.0.0.1:9"  # nobody listens there

SECRETS = {
    name: f"planted-{name.lower().replace('_', '-')}/with+signs"
    for name in (
        *("REDDIT_CLIENT_ID", "REDDIT_CLIENT_SECRET", "praw_password", "praw_refresh_token"),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("WANDB_API_KEY", "HF_TOKEN"),
    )
}
TOKEN = "planted-token-of-reddit"  # noqa: S105 - what the stand-in for Reddit gives
IN_FILES = "planted-in-the-users-files"
IN_PROXY = "planted-in-a-proxy"
ASKED = "planted-in-what-was-asked"
PLANTED = (*SECRETS.values(), TOKEN, IN_FILES, IN_PROXY, ASKED)

PAGES = [Page(f"https://site{n}.example/", text_of(str(n))) for n in range(8)]
MORE = """
[collect.reddit]
subreddits = ["a"]
listings = ["new"]
contact = "a_name"
url = "{url}"
oauth_url = "{url}"
[model]
preset = "tiny"
context = 32
[train]
steps = 2
batch_tokens = 64
eval_every = 9
device = "cpu"
"""

# Several commands in one process: starting Python takes longer than most of them.
RUNS = """
import json, sys
from webtext.cli import main
for line in json.loads(sys.argv[1]):
    sys.argv = ["webtext", *line]
    try:
        main()
    except SystemExit as ended:
        print("status", ended.code, flush=True)
"""


def run_all(folder: Path, commands: Sequence[Sequence[str]], **environment: str) -> tuple[list[int], str]:
    """Runs commands with every secret at its place; their statuses, and all that they said."""
    home = folder.parent / "home"
    (home / ".aws").mkdir(parents=True, exist_ok=True)
    (home / ".netrc").write_text(f"machine 127.0.0.1 login me password {IN_FILES}\n")
    (home / ".aws" / "credentials").write_text(
        f"[default]\naws_access_key_id = {IN_FILES}\naws_secret_access_key = {IN_FILES}\n"
    )
    proxy = f"http://user:{IN_PROXY}@{NOWHERE}"
    done = subprocess.run(
        [sys.executable, "-c", RUNS, json.dumps(commands)],
        cwd=folder,
        env={
            **os.environ,
            **SECRETS,
            **{f"{kind}_PROXY": proxy for kind in ("HTTP", "HTTPS", "ALL")},
            "NO_PROXY": "127.0.0.1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(one) for one in re.findall(r"(?m)^status (\d+)$", done.stdout)], done.stdout + done.stderr


def readings(path: Path) -> Iterator[bytes]:
    """A file as it is, and as its readers see it."""
    yield path.read_bytes()
    if path.suffix == ".gz":
        yield gzip.decompress(path.read_bytes())
    elif path.suffix == ".zst":
        with zstd.open(path) as file:
            yield file.read()
    elif path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        yield repr((file.read().to_pylist(), file.schema_arrow.metadata)).encode()
    elif path.suffix == ".arrow":
        yield repr(pa.ipc.open_file(path.read_bytes()).read_all().to_pylist()).encode()


def spellings(secret: str) -> Iterable[bytes]:
    """A secret as it is, as a URL has it, and as HTTP's basic authentication may."""
    pair = f"{SECRETS['REDDIT_CLIENT_ID']}:{secret}".encode()
    return secret.encode(), quote(secret, safe="").encode(), base64.b64encode(pair)


def places_with_secrets(folder: Path, said: str) -> set[str]:
    """Where a planted secret stands: files, and what was said."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    texts = [(str(path.relative_to(folder)), data) for path in files for data in readings(path)]
    return {
        f"{place}: {secret}"
        for place, data in [*texts, ("said", said.encode())]
        for secret in PLANTED
        if any(one in data for one in spellings(secret))
    }


def write_settings(folder: Path, text: str) -> None:
    (folder / "webtext.toml").write_text(text)


@pytest.fixture
def reddit() -> Iterator[Reddit]:
    with reddit_replay.serving() as server:
        publish_two(server)
        yield server


def test_the_search_finds_what_is_planted(tmp_path: Path) -> None:
    secret = SECRETS["AWS_SECRET_ACCESS_KEY"]
    (tmp_path / "one.gz").write_bytes(gzip.compress(secret.encode()))
    pq.write_table(pa.table({"text": [f"so {TOKEN} it is"]}), tmp_path / "two.parquet", compression="zstd")
    (tmp_path / "three.txt").write_text(quote(secret, safe=""))
    found = places_with_secrets(tmp_path, f"error: {IN_PROXY}")
    assert found == {
        f"one.gz: {secret}",
        f"said: {IN_PROXY}",
        f"three.txt: {secret}",
        f"two.parquet: {TOKEN}",
    }


def test_a_whole_run_keeps_its_secrets(tmp_path: Path, reddit: Reddit) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    write_sources(folder, PAGES)
    reddit.faults[0] = token(TOKEN)
    write_settings(folder, SETTINGS.format(dumps='"RS_*.ndjson"') + MORE.format(url=reddit.url))
    (folder / "gone.txt").write_text("https://site0.example/\n")
    passage = {"text": " ".join(text_of("1").split()[:30])}
    (folder / "lambada.jsonl").write_text("".join(f"{json.dumps(passage)}\n" for _ in range(2)))
    model = "run/checkpoints/gpt2-tiny"
    commands = [
        ["build", "webtext.toml", "--", f"--s3_secret_access_key={ASKED}"],
        ["status", "run", "--json"],
        ["try-filters", "run", "--set", "filter.min_words=60"],
        ["verify", "run"],
        ["report", "run"],
        ["export", "run", "--format", "jsonl", "--out", "exported"],
        ["inspect-shard", "run/shards/train-00000.bin"],
        ["pretrain", "webtext.toml"],
        ["generate", model, "--prompt", "a", "--max-tokens", "4", "--device", "cpu"],
        ["evaluate", model, "--data", "lambada=lambada.jsonl", "--out", "evaluated", "--device", "cpu"],
        ["model", "export", model, "--out", "given"],
        ["remove", "run", "--urls", "gone.txt"],
        ["build", "webtext.toml"],
    ]
    statuses, said = run_all(folder, commands)
    assert statuses == [0] * len(commands), said
    sent = [one.headers.get("authorization", "") for one in reddit.log]
    assert any(TOKEN in one for one in sent)  # so the secrets were in use
    assert any(one.startswith("Basic ") for one in sent)
    assert places_with_secrets(folder, said) == set()
    assert (folder / "reddit.zst").exists()


WRONG = [
    ["build", "webtext.toml", "--set", f"collect.dumps=s3://KEY:{ASKED}@bucket/RS_2019-06.zst"],
    ["build", "webtext.toml", "--set", f"run.dir=['s3://KEY:{ASKED}@bucket/run']"],
    ["build", "webtext.toml", "--set", f"collect.dumps=['s3://KEY:{ASKED}@bucket/x']"],
    ["build", "webtext.toml", "--set", f"dedupe.against=['s3://KEY:{ASKED}@bucket/x']"],
    ["build", "webtext.toml", "--set", f"filter.bad_words='s3://KEY:{ASKED}@bucket/x'"],
    ["build", "webtext.toml", "--set", f"fetch.wayback.url=http://user:{ASKED}@archive.example"],
    ["build", "webtext.toml", "--set", f"s3://KEY:{ASKED}@bucket/run"],
    ["build", "webtext.toml", "--set", f"collect.reddit.client_secret={ASKED}"],
    ["build", "webtext.toml", "--run", f"s3://KEY:{ASKED}@bucket/run"],
    ["plan", "webtext.toml", "--set", f"collect.reddit.oauth_url=https://{ASKED}@reddit.example"],
    ["status", f"s3://KEY:{ASKED}@bucket/run"],
    ["status", f"s3://bucket/run?endpoint_override=http://KEY:{ASKED}@{NOWHERE}"],
    ["status", f"s3://bucket/run?endpoint_override=KEY:{ASKED}%40{NOWHERE}&scheme=http"],
    ["status", f"s3://bucket/run?secret_key={ASKED}"],
    ["status", f"s3://KEY%3A{ASKED}%40bucket/run"],
    ["status", f"gs://{ASKED}@bucket/run"],
    ["status", f"abfs://:{ASKED}@account/container/run"],
    ["verify", f"hdfs://user:{ASKED}@host:8020/run"],
    ["export", "run", "--format", "jsonl", "--out", f"s3://KEY:{ASKED}@bucket/x"],
    ["pretrain", "webtext.toml", "--run", f"s3://KEY:{ASKED}@bucket/run"],
]


def test_what_fails_tells_no_secret(tmp_path: Path, reddit: Reddit) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    write_sources(folder, PAGES[:2])
    text = SETTINGS.format(dumps='"RS_*.ndjson"') + MORE.format(url=reddit.url)
    write_settings(folder, text)
    reddit.faults[0] = answer({"message": "Unauthorized", "error": 401}, 401)
    (folder / "away.toml").write_text(text.replace(reddit.url, "http://reddit.example"))
    commands = [
        *WRONG,
        ["build", "webtext.toml"],
        ["build", "away.toml"],
        ["status", f"s3://bucket/run?endpoint_override={NOWHERE}&scheme=http"],
    ]
    statuses, said = run_all(folder, commands)
    assert len(statuses) == len(commands), said
    assert set(statuses) <= {1, 2}, said
    assert "Traceback" not in said
    assert places_with_secrets(folder, said) == set()
    assert not (folder / "run").exists() or not (folder / "run" / "submissions").exists()


def test_the_inspectors_token_is_in_no_file_and_no_log(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link")
    with inspecting(run, "--host", "0.0.0.0", "--port", "0") as (process, url):  # noqa: S104 - so it wants one
        token = url.partition("token=")[2]
        assert len(token) > 30
        with build_opener(HTTPCookieProcessor()).open(url, timeout=30) as answer:
            assert b"<title>" in answer.read()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert token not in said
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert all(token.encode() not in data for data in readings(path)), path


@pytest.mark.parametrize("key", ["0123456789abcdef" * 2 + "01234567", "wandb_v1_planted_in_the_settings"])
def test_a_key_in_place_of_wandbs_project_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    (tmp_path / "webtext.toml").write_text(f'[train]\nwandb = "{key}"\n')
    answer = webtext("pretrain", "webtext.toml", cwd=tmp_path)
    assert answer.returncode == 2
    assert "train.wandb: that is an account's key" in answer.stderr.replace("train: wandb", "train.wandb")
    assert key not in answer.stdout + answer.stderr
