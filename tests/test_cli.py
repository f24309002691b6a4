"""The command as people type it: help for everything, errors that say what to do, the right exit status."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tests.command import webtext
from tests.synthetic_run import write_run
from webtext.cli import app

ROOT = Path(__file__).resolve().parents[1]


def commands() -> list[list[str]]:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    found = []
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            found += [[name, inner] for inner in command.commands]
        else:
            found.append([name])
    return found


def test_the_commands_have_their_names() -> None:
    assert sorted(" ".join(command) for command in commands()) == [
        "build", "demo", "evaluate", "export", "extract-audit", "finetune", "generate", "init",
        "inspect", "inspect-shard", "model export", "model import", "plan", "pretrain", "remove", "report",
        "retry", "status",
        "tokenizer encode", "tokenizer import", "tokenizer show", "tokenizer train", "try-filters", "verify",
    ]  # fmt: skip


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    answer = webtext(*command, "--help")
    assert answer.returncode == 0
    assert f"Example: webtext {' '.join(command)}" in " ".join(answer.stdout.split())


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; sys.argv = ['webtext', '--help']\n"
        "from webtext.cli import main\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'apache_beam', 'duckdb', 'aiohttp') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.stdout.strip().endswith("[]")


def test_init_writes_a_file_that_build_reads(tmp_path: Path) -> None:
    assert webtext("init", "webtext.toml", cwd=tmp_path).returncode == 0
    text = (tmp_path / "webtext.toml").read_text("utf-8")
    assert "[link]" in text
    again = webtext("init", "webtext.toml", cwd=tmp_path)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    built = webtext("build", "webtext.toml", cwd=tmp_path)
    assert built.returncode == 2
    assert "collect.dumps names no file" in built.stderr


BAD = {
    "unknown key": ("[link]\nmin_carma = 3\n", "link.min_carma: unknown; did you mean min_karma?"),
    "unknown key in a section of a section": (
        '[collect.reddit]\nsubredits = ["news"]\n',
        "collect.reddit.subredits: unknown; did you mean subreddits?",
    ),
    "no contact": ('[collect]\ndumps = ["RS"]\n', "fetch.contact is empty"),
    "missing dump": ('[collect]\ndumps = ["nope"]\n', "collect.dumps: nothing is at"),
    "missing evaluation set": (
        '[collect]\ndumps = ["RS"]\n[fetch]\ncontact = "a"\n[filter.decontaminate]\nsets = {a = "nope"}\n',
        "nope is not there: give the path of an evaluation set",
    ),
    "missing list of bad words": (
        '[collect]\ndumps = ["RS"]\n[fetch]\ncontact = "a"\n[filter]\nbad_words = "nope"\n',
        "nope cannot be read",
    ),
    "no threshold": (
        "[filter.rules]\ngopher_hashes = true\n",
        "filter.rules.gopher_hashes: Input should be a number, or false: no such rule (given: True)",
    ),
    "missing warc": (
        '[collect]\ndumps = ["RS"]\n[fetch]\nsource = "warc"\nwarcs = ["nope*"]\n',
        "fetch.warcs: nothing is at",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_end_with_status_2_before_any_work(tmp_path: Path, case: str) -> None:
    text, message = BAD[case]
    (tmp_path / "RS").touch()
    (tmp_path / "webtext.toml").write_text(text)
    answer = webtext("build", "webtext.toml", cwd=tmp_path)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "nowhere"], "there is no run here"),
        (["verify", "nowhere"], "there is no run here"),
        (["report", "nowhere"], "there is no run here"),
        (["report", "nowhere", "--text"], "there is no run here"),
        (["report", "nowhere", "--json"], "there is no run here"),
        (["inspect", "nowhere"], "there is no run here"),
        (["generate", "nowhere", "--prompt", "x"], "is not a checkpoint"),
        (["tokenizer", "encode", "nowhere", "x"], "nowhere"),
        (["tokenizer", "show", "nowhere"], "there is no run here"),
        (["export", "nowhere", "--format", "jsonl", "--out", "x"], "there is no run here"),
        (["inspect-shard", "nowhere.bin"], "nowhere.bin: cannot be read"),
        (["tokenizer", "train", "nowhere", "--out", "t"], "neither a text file nor a run"),
        (["tokenizer", "import", "--vocab", "a", "--merges", "b"], "a"),
        (["build", "nowhere.toml"], "webtext init"),
        (["extract-audit", "nowhere"], "there is no run here"),
        (["try-filters", "nowhere", "--set", "filter.min_words=1"], "there is no run here"),
        (["pretrain", "nowhere.toml"], "webtext init"),
        (["build", "x", "--until", "nothing"], "--until"),
        (["status", "nosuch://bucket/run"], "cannot be opened"),
    ],
)
def test_bad_input_ends_with_status_2_and_no_trace(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    answer = webtext(*arguments, cwd=tmp_path)
    assert answer.returncode == 2, answer.stderr
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("name", "shown"), [(b"\x1b]0;title\x07.toml", "␛]0;title␇.toml"), (b"\xff.toml", "\\udcff.toml")]
)
def test_an_error_quotes_what_no_terminal_should_act_on(tmp_path: Path, name: bytes, shown: str) -> None:
    answer = webtext("build", os.fsdecode(name), cwd=tmp_path)
    assert answer.returncode == 2
    assert shown in answer.stderr
    assert "\x1b" not in answer.stderr


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--runner=NoSuchRunner", "Unexpected pipeline runner: NoSuchRunner"),
        ("--direct_num_workers=many", "argument --direct_num_workers: invalid int value: 'many'"),
        ("--direct_number_workers=2", "Beam has no such option: --direct_number_workers"),
    ],
)
def test_options_that_beam_would_refuse_or_ignore(tmp_path: Path, option: str, message: str) -> None:
    (tmp_path / "RS").touch()
    (tmp_path / "webtext.toml").write_text('[collect]\ndumps = ["RS"]\n[fetch]\ncontact = "a@example.org"\n')
    answer = webtext("build", "webtext.toml", "--", option, cwd=tmp_path)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert not (tmp_path / "runs").exists()


def test_a_run_directory_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "RS").touch()
    (tmp_path / "webtext.toml").write_text('[collect]\ndumps = ["RS"]\n[fetch]\ncontact = "a@example.org"\n')
    answer = webtext("build", "webtext.toml", "--run", "RS/run", cwd=tmp_path)
    assert answer.returncode == 2
    assert "RS/run cannot be a run directory (Not a directory)" in answer.stderr


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat\n" * 50)
    answer = webtext(
        "tokenizer", "train", "text.txt", "--vocab-size", "258", "--out", "text.txt/t", cwd=tmp_path
    )
    assert answer.returncode == 1
    assert "Not a directory: 'text.txt/t'" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_damaged_dump_is_named_and_nothing_is_traced(tmp_path: Path) -> None:
    (tmp_path / "RS_2019-01.zst").write_bytes(b"no zstd at all")
    (tmp_path / "webtext.toml").write_text(
        '[collect]\ndumps = ["RS_2019-01.zst"]\n[fetch]\ncontact = "a@example.org"\n'
    )
    answer = webtext("build", "webtext.toml", cwd=tmp_path)
    assert answer.returncode == 2
    assert "RS_2019-01.zst is damaged after 0 unpacked bytes" in answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr


def test_a_stop_by_the_keyboard_says_how_to_go_on(tmp_path: Path) -> None:
    settings = tmp_path / "webtext.toml"
    os.mkfifo(settings)  # whose reader waits: no need to guess when it does
    command = [sys.executable, "-m", "webtext", "build", str(settings)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    with settings.open("w"):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "stopped; the same command goes on from what is there\n")


def test_status_says_what_to_mind(tmp_path: Path) -> None:
    months = {f"2023-{month:02d}": (1000, 4 if month == 5 else 310) for month in range(1, 10)}
    write_run(tmp_path / "run", upto="link", months=months)
    shown = webtext("status", "run", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "! 2023-05: 0.4 % of the posts" in shown.stdout
    assert "links with karma of at least" in shown.stdout
    value = json.loads(webtext("status", "run", "--json", cwd=tmp_path).stdout)
    assert list(value) == [
        "run", "stages", "tokenizer", "fetch", "months", "sensitivity", "evaluation_sets", "clusters",
        "warnings", "live",
    ]  # fmt: skip
    (warning,) = value["warnings"]
    assert warning in shown.stdout


def test_a_dry_run_says_how_long_fetch_takes_and_leaves_all_as_it_is(tmp_path: Path) -> None:
    write_run(tmp_path / "run", upto="link")
    settings = (
        '[run]\ndir = "run"\n[fetch]\ndelay_s = 360.0\n[fetch.domain_delays_s]\n"site3.example" = 3600\n'
    )
    (tmp_path / "webtext.toml").write_text(settings)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = webtext("build", "webtext.toml", "--dry-run", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "59 links on 7 domains: about 9.0 h" in said.stdout
    assert re.search(r"site3\.example +9 +3600 s +9\.0 h", said.stdout)
    assert re.search(r"every delay halved +59 +0\.\d\d +", said.stdout)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_dry_run_without_links_says_how_to_make_them(tmp_path: Path) -> None:
    (tmp_path / "webtext.toml").write_text('[run]\ndir = "run"\n')
    answer = webtext("build", "webtext.toml", "--dry-run", cwd=tmp_path)
    assert answer.returncode == 2
    assert "webtext build webtext.toml --until link" in " ".join(answer.stderr.split())
    assert not (tmp_path / "run").exists()


def test_a_dry_run_of_files_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "webtext.toml").write_text('[fetch]\nsource = "warc"\nwarcs = ["*.warc.gz"]\n')
    said = webtext("build", "webtext.toml", "--dry-run", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "no network is needed" in said.stdout


def test_the_tokenizer_commands_together(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat\n\n" * 200)
    trained = webtext("tokenizer", "train", "text.txt", "--vocab-size", "270", "--out", "t", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    encoded = webtext("tokenizer", "encode", "t", "the cat", cwd=tmp_path)
    tokens = [int(token) for token in encoded.stdout.split()]
    assert 1 < len(tokens) < len("the cat")
    too_many = webtext("tokenizer", "train", "text.txt", "--vocab-size", "9999", "--out", "t2", cwd=tmp_path)
    assert too_many.returncode == 2
    assert re.search(r"set vocab_size to \d+", too_many.stderr)


def test_import_of_the_official_vocabulary(tmp_path: Path, realdata: Path) -> None:
    text = realdata / "text"
    files = ["--vocab", str(text / "encoder.json"), "--merges", str(text / "vocab.bpe")]
    imported = webtext("tokenizer", "import", *files, "--out", "gpt2", cwd=tmp_path)
    assert imported.returncode == 0, imported.stderr
    encoded = webtext("tokenizer", "encode", "gpt2", "Hello world", cwd=tmp_path)
    assert encoded.stdout.split() == ["15496", "995"]
    assert json.loads((tmp_path / "gpt2" / "vocab.json").read_text("utf-8"))["<|endoftext|>"] == 50256


def test_links_are_built_from_a_list_alone_and_without_a_contact(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("https://example.org/a\n\nhttps://www.example.org/a/\nnot a url\n")
    settings = '[run]\ndir = "run"\n[collect]\nlists = ["urls.txt"]\n'
    (tmp_path / "webtext.toml").write_text(settings)
    built = webtext("build", "webtext.toml", "--until", "link", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    stages = json.loads(webtext("status", "run", "--json", cwd=tmp_path).stdout)["stages"]
    assert stages["collect"]["rejected"] == {"bad_url": 1, "blank_line": 1}
    assert (stages["link"]["kept"], stages["link"]["rejected"]) == (1, {"same_link": 1})
    assert webtext("verify", "run", cwd=tmp_path).returncode == 0


def test_an_opt_out_that_is_none_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("https://example.org/a\n")
    (tmp_path / "out.txt").write_text("example.com # asked by mail\nnot a domain\n")
    (tmp_path / "webtext.toml").write_text(
        '[run]\ndir = "run"\n[collect]\nlists = ["urls.txt"]\n[link]\nopt_out_lists = ["out.txt"]\n'
    )
    built = webtext("build", "webtext.toml", "--until", "link", cwd=tmp_path)
    assert built.returncode == 2
    assert "out.txt, line 2" in built.stderr
    assert not (tmp_path / "run").exists()
