"""Texts to train on, and `webtext tokenizer train` as people type it."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.errors import InputError
from pipeline.live import seen_of_training
from pipeline.records import CORPUS
from pipeline.runs import Folder, Manifest
from pipeline.tokenizer.progress import Training
from tests.command import webtext
from tests.conftest import RunStage
from tests.document_parts import document, table, write_parts
from tokenizer.config import TokenizerSettings
from tokenizer.files import file_contents
from tokenizer.train import sampled
from webtext.progress import StageProgress
from webtext.texts import TextFile, open_texts
from webtext.vocabulary_training import train_on

TEXTS = [f"the cat number {i} sat on mat {i * 7}; there were {i * i} other cats then\n" for i in range(300)]


def files_of(*sources: str, sample_bytes: int, vocab_size: int = 280) -> dict[str, bytes]:
    """What the command writes."""
    console = Console(file=io.StringIO())
    vocabulary = train_on(
        open_texts(sources), vocab_size=vocab_size, sample_bytes=sample_bytes, console=console
    )
    return file_contents(vocabulary)


def corpus(run: Folder, texts: list[str], sizes: list[int]) -> Manifest:
    """A corpus in parts of these numbers of documents; a document's id follows from its text."""
    rows = [document(f"{abs(int(text.split()[3])):032x}", text) for text in texts]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    parts = [table(rows[start : start + size], CORPUS) for start, size in zip(starts, sizes, strict=True)]
    return write_parts(run, "dedupe", parts)


@pytest.mark.parametrize("sample_bytes", [5_000, 1_000_000_000])
def test_the_command_and_the_stage_give_the_same_bytes_in_any_order_of_parts(
    sample_bytes: int, tmp_path: Path, run: Folder, run_stage: RunStage
) -> None:
    settings = TokenizerSettings(vocab_size=280, sample_bytes=sample_bytes)
    run_stage("tokenizer", settings, dedupe=corpus(run, TEXTS, [100, 200]))
    stage = Path((run / "tokenizer").path())
    other = Folder(str(tmp_path / "other"))
    corpus(other, TEXTS[::-1], [30, 120, 0, 150])
    for source in (run.uri, other.uri):
        for name, data in files_of(source, sample_bytes=sample_bytes).items():
            assert (stage / name).read_bytes() == data


@pytest.mark.parametrize("sample_bytes", [3_000, 1_000_000_000])
def test_the_order_of_inputs_changes_nothing(sample_bytes: int, tmp_path: Path) -> None:
    halves = [TEXTS[:130], TEXTS[130:]]
    for name, half in zip("ab", halves, strict=True):
        (tmp_path / name).write_text("\n".join(half))
    names = [str(tmp_path / "a"), str(tmp_path / "b")]
    found = files_of(*names, sample_bytes=sample_bytes)
    assert found == files_of(*names[::-1], sample_bytes=sample_bytes)
    assert (found == files_of(*names, sample_bytes=999_999_999)) == (sample_bytes > 3_000)


def test_paragraphs_are_sampled_by_their_text(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{text}\n" for text in (*TEXTS, *TEXTS[:50])))
    source = TextFile(path)
    assert source.num_bytes == path.stat().st_size
    chosen = list(source.sample(0.3))
    assert chosen == [f"{text}\n" for text in (*TEXTS, *TEXTS[:50]) if sampled(f"{text}\n", 0.3)]
    assert 60 < len(chosen) < 150
    assert list(source.sample(1.5)) == [f"{text}\n" for text in (*TEXTS, *TEXTS[:50])]


@given(st.lists(st.sampled_from(["a\n", "\n", " \r\n", "b\r", "c" * 60_000, "d" * 250_000, "\0é漢", "\n\n"])))
def test_paragraphs_are_the_file_and_none_is_long(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.mktemp("texts") / "text.txt"
    text = "".join(lines)
    path.write_bytes(text.encode())
    paragraphs = list(TextFile(path).sample(1.0))
    assert "".join(paragraphs) == text
    assert all(0 < len(paragraph) < 200_000 for paragraph in paragraphs)


def test_bytes_that_are_no_text_are_read(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"caf\xe9\n\nau \xff\xfe\0 lait")
    assert list(TextFile(path).sample(1.0)) == ["caf\ufffd\n\n", "au \ufffd\ufffd\0 lait"]


def test_no_text_and_no_source_say_what_to_name(tmp_path: Path, run: Folder) -> None:
    empty = tmp_path / "empty.txt"
    empty.touch()
    corpus(run, [], [])
    with pytest.raises(
        InputError, match=r"empty\.txt, .*run: no text to train a tokenizer on; name text files"
    ):
        open_texts([str(empty), run.uri])
    with pytest.raises(InputError, match=r"neither a text file nor a run with a finished corpus"):
        open_texts([str(tmp_path / "nothing")])


def test_how_far_a_training_is_in_words() -> None:
    training = Training(2_000_000, 10_000_000, 50_000, began=100.0)
    assert seen_of_training(training, 101.0).line() == (
        "2 of 10 MB read, 2.0 MB/s, about 4 s to go, then 50,000 merges"
    )
    learning = Training(9_800_000, 10_000_000, 50_000, began=100.0, learning_since=105.0)
    assert seen_of_training(learning, 147.0).line() == "10 of 10 MB read, learning 50,000 merges for 42 s"
    assert seen_of_training(training, 50.0).line() == "2 of 10 MB read, 0.0 MB/s", "a clock that was set back"
    assert seen_of_training(Training(0, 5, 1, began=100.0), 100.0).line() == "0 of 0 MB read, 0.0 MB/s"


def test_a_terminal_shows_a_stage_s_training(run: Folder) -> None:
    Training(2_000_000, 10_000_000, 50_000, began=0.0, learning_since=1.0).write(run / "tokenizer")
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with StageProgress(console)("tokenizer", run / "tokenizer", ["vocabulary"]):
        pass
    assert isinstance(console.file, io.StringIO)
    assert "learning 50,000 merges" in console.file.getvalue()


def test_errors_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "text.txt").write_text("the cat sat on the mat\n\n" * 200)
    for arguments, said in (
        (["empty.txt"], "error: empty.txt: no text to train a tokenizer on"),
        (["text.txt"], "but 50257 was asked for; set vocab_size to 270 or less"),
        (["text.txt", "--vocab-size", "256"], "greater than or equal to"),
        (["text.txt", "--vocab-size", "1000001"], "less than or equal to"),
        (["text.txt", "--sample-bytes", "0"], "greater than or equal to"),
    ):
        answer = webtext("tokenizer", "train", *arguments, "--out", "t", cwd=tmp_path)
        assert answer.returncode == 2
        assert said in answer.stderr
        assert not (tmp_path / "t").exists()


def test_defaults_of_the_command_are_the_settings() -> None:
    said = " ".join(webtext("tokenizer", "train", "--help").stdout.split())
    settings = TokenizerSettings()
    assert f"[default: {settings.vocab_size}]" in said
    assert f"[default: {settings.sample_bytes}]" in said
