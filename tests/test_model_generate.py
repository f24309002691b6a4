"""Text from checkpoints: continued, filled in, in batches, and by the command."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from model.config import GPT2Config, ModelSettings, TrainSettings
from model.devices import find_device
from model.errors import ModelError
from model.generation.generate import (
    Checkpoint,
    Generated,
    _decode,
    generate,
    generate_batch,
    load_checkpoint,
    num_left_out,
)
from model.generation.sampling import Sampling
from model.gpt2 import GPT2
from model.training.train import pretrain
from pipeline.errors import InputError
from tests.command import webtext
from tests.test_model_shards import write_run
from webtext.cli import app

WARM = Sampling(temperature=2.0)
PROMPTS = ["The cat", "", "A whale follows a horse", "The cat"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of checkpoints by architecture: networks with a context of 32 that have hardly learned."""
    run = tmp_path_factory.mktemp("run")
    write_run(run)
    train = TrainSettings(steps=1, batch_tokens=64, device="cpu")
    for architecture in ("gpt2", "albert"):
        values = {"architecture": architecture, "preset": "tiny", "context": 32}
        pretrain(run, ModelSettings.model_validate(values), train, run / architecture)
    return {architecture: run / architecture for architecture in ("gpt2", "albert")}


@pytest.fixture(scope="module")
def gpt2(folders: dict[str, Path]) -> Checkpoint:
    return load_checkpoint(folders["gpt2"])


@pytest.fixture(scope="module")
def albert(folders: dict[str, Path]) -> Checkpoint:
    return load_checkpoint(folders["albert"])


def test_the_same_seed_makes_the_same_text_again(gpt2: Checkpoint) -> None:
    texts = ["".join(generate(gpt2, "The cat", 12, seed=seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


@pytest.mark.parametrize("rows", [1, 3, 50])
def test_a_text_hangs_on_its_prompt_alone(gpt2: Checkpoint, rows: int) -> None:
    found = list(generate_batch(gpt2, PROMPTS, WARM, max_tokens=60, samples=3, seed=4, rows=rows))
    assert [(one.prompt, one.sample) for one in found] == [(p, s) for p in PROMPTS for s in (1, 2, 3)]
    assert [one.text for one in found[:3]] == [one.text for one in found[9:]]
    assert len({one.text for one in found}) == 9
    for one in found:
        if one.sample == 1:
            assert one.text == "".join(generate(gpt2, one.prompt, 60, temperature=2.0, seed=4))


def test_a_text_ends_where_the_model_ends_it(gpt2: Checkpoint) -> None:
    limits: dict[str, Any] = {"max_tokens": 150, "samples": 12, "rows": 12}
    found = list(generate_batch(gpt2, ["The"], Sampling(temperature=50.0), **limits))
    assert {one.end for one in found} == {"end-of-text", "max-tokens"}
    for one in found:
        assert one.num_tokens == 150 or one.end == "end-of-text"
        assert not any(name in one.text for name in gpt2.tokenizer.specials)


@pytest.mark.parametrize("extra", [-5, 7])
def test_ids_that_the_tokenizer_or_the_network_lacks_are_not_drawn(gpt2: Checkpoint, extra: int) -> None:
    """Official GPT-2s know no [MASK]; others have more rows than ids, for speed."""
    vocab_size = gpt2.tokenizer.vocab_size + extra
    network = GPT2(GPT2Config(vocab_size=vocab_size, context=8, layers=1, width=8, heads=1)).eval()
    found = generate_batch(replace(gpt2, network=network), [""] * 8, WARM, max_tokens=300)
    assert sum(one.num_tokens for one in found) > 1000


def test_what_a_prompt_has_too_much_is_left_out(gpt2: Checkpoint) -> None:
    prompt = "The cat sees a dog. " * 9
    extra = len(gpt2.tokenizer.encode(prompt)) + 1 - 32  # with the end of text in front
    assert num_left_out(gpt2, prompt) == extra > 0
    assert num_left_out(gpt2, "The cat") == 0
    same = gpt2.tokenizer.decode(gpt2.tokenizer.encode(prompt)[extra - 1 :])
    assert gpt2.tokenizer.encode(same) == gpt2.tokenizer.encode(prompt)[extra - 1 :]
    texts = ["".join(generate(gpt2, text, 5, temperature=0)) for text in (prompt, f"xyz {same}")]
    assert texts[0] == texts[1]


def test_characters_come_whole(gpt2: Checkpoint) -> None:
    text = "é🙂 – naïve 日本"
    pieces = list(_decode(gpt2.tokenizer.encode(text), gpt2.tokenizer))
    assert "".join(pieces) == text
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)
    cut = list(_decode(gpt2.tokenizer.encode("🙂")[:-1], gpt2.tokenizer))
    assert cut == ["\N{REPLACEMENT CHARACTER}"]


def test_albert_fills_each_mask(albert: Checkpoint) -> None:
    pieces = list(generate(albert, "The[MASK] sees a[MASK]."))
    assert len(pieces) == 5
    assert pieces[::2] == ["The", " sees a", "."]
    appended = "".join(generate(albert, "The cat"))
    assert appended.startswith("The cat")
    assert len(appended) > len("The cat")
    batch = list(generate_batch(albert, ["The[MASK] sees a[MASK].", "The cat"], Sampling()))
    assert batch == [
        Generated("The[MASK] sees a[MASK].", 1, "".join(pieces), 2, "filled"),
        Generated("The cat", 1, appended, 1, "filled"),
    ]


def test_what_albert_cannot_do_is_refused(albert: Checkpoint) -> None:
    message = r"the prompt 'xyz .*…' has \d+ tokens, this model reads 32; shorten"
    with pytest.raises(ModelError, match=message):
        generate(albert, "xyz " * 80)
    with pytest.raises(ModelError, match=message):
        generate_batch(albert, ["The", "xyz " * 80], Sampling())
    with pytest.raises(ModelError, match="samples must be 1, got 2"):
        generate_batch(albert, ["The"], Sampling(), samples=2)


@pytest.mark.parametrize(
    "wrong",
    [{"max_tokens": 0}, {"seed": -1}, {"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}],
)
def test_errors_name_the_argument(gpt2: Checkpoint, wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        generate(gpt2, "The", **wrong)


@pytest.mark.parametrize("wrong", ["max_tokens", "samples", "rows"])
def test_batches_need_a_size(gpt2: Checkpoint, wrong: str) -> None:
    arguments: dict[str, Any] = {wrong: 0}
    with pytest.raises(ModelError, match=f"{wrong} must be at least 1, got 0"):
        generate_batch(gpt2, ["The"], Sampling(), **arguments)


def test_devices_go_by_their_names() -> None:
    with pytest.raises(ModelError, match=r"cannot compute on 'abacus' here .*choose auto, cpu"):
        find_device("abacus")
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type in ("cpu", "cuda")


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["generate", *arguments, "--device", "cpu"])


def test_one_text_is_printed_as_it_comes(folders: dict[str, Path], gpt2: Checkpoint) -> None:
    answer = command(str(folders["gpt2"]), "--prompt", "The cat", "--max-tokens", "9", "--seed", "3")
    assert answer.exit_code == 0
    assert answer.stdout == "".join(generate(gpt2, "The cat", 9, temperature=0.8, seed=3)) + "\n"


def test_several_texts_are_numbered(folders: dict[str, Path], gpt2: Checkpoint) -> None:
    answer = command(
        str(folders["gpt2"]), "--prompt", "The cat", "--prompt", "", "--samples", "2", "--max-tokens", "9"
    )
    assert answer.exit_code == 0
    found = list(generate_batch(gpt2, ["The cat", ""], Sampling(temperature=0.8), max_tokens=9, samples=2))
    assert answer.stdout == (
        f"--- prompt 1, sample 1\nThe cat{found[0].text}\n\n"
        f"--- prompt 1, sample 2\nThe cat{found[1].text}\n\n"
        f"--- prompt 2, sample 1\n{found[2].text}\n\n"
        f"--- prompt 2, sample 2\n{found[3].text}\n\n"
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "The cat\r\n\n A dog\n"),
        ("b.jsonl", '"The cat"\n{"prompt": " A dog", "id": 7}\n\n'),
        ("c.txt", "\ufeffThe cat\n A dog"),
    ],
)
def test_prompts_come_from_a_file(
    folders: dict[str, Path], gpt2: Checkpoint, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content, "utf-8", newline="")
    answer = command(
        str(folders["gpt2"]),
        "--prompt",
        "é",
        "--prompts",
        str(tmp_path / name),
        "--json",
        "--max-tokens",
        "5",
    )
    assert answer.exit_code == 0
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [line["prompt"] for line in lines] == ["é", "The cat", " A dog"]
    assert lines[1]["text"] == "".join(generate(gpt2, "The cat", 5, temperature=0.8))
    assert lines[1].keys() == {"prompt", "sample", "text", "num_tokens", "end"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n \n", "has no prompts; write one a line"),
        (b'"a"\n{"prompt": 5}\n', "line 2: is no prompt; write a string"),
        (b'"a"\n\n{"prompt"\n', "line 3: is no JSON"),
        (b"[" * 100_000, "line 1: is no"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_without_prompts_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "prompts.jsonl"
    if content is not None:
        file.write_bytes(content)
    answer = command(str(tmp_path), "--prompts", str(file))
    assert isinstance(answer.exception, InputError)
    assert str(file) in str(answer.exception)
    assert message in str(answer.exception)


def test_bytes_that_are_no_text_become_text(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_bytes(b'"\\ud800 a"\n"\xff b"\n')
    answer = command(str(folders["gpt2"]), "--prompts", str(tmp_path / "prompts.jsonl"), "--json")
    assert answer.exit_code == 0
    prompts = [json.loads(line)["prompt"] for line in answer.stdout.splitlines()]
    assert prompts == ["\N{REPLACEMENT CHARACTER} a", "\N{REPLACEMENT CHARACTER} b"]


def test_a_long_prompt_is_told_on_standard_error(folders: dict[str, Path]) -> None:
    answer = command(str(folders["gpt2"]), "--prompt", "The cat sees a dog. " * 9, "--max-tokens", "3")
    assert answer.exit_code == 0
    assert "prompt 1 is longer than the context of 32 tokens: its first" in answer.stderr
    assert "longer" not in answer.stdout


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_memory_that_ends_is_told_with_what_to_lower(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def exhaust(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("model.generation.generate.continue_tokens", exhaust)
    for batch, advice in (("4", "lower --batch from 4"), ("1", "choose a smaller model, or --device cpu")):
        answer = command(str(folders["gpt2"]), "--prompt", "", "--samples", "2", "--batch", batch)
        assert advice in str(answer.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to go on from: give --prompt TEXT"),
        (["--prompt", "x", "--top-p", "0"], "top_p must be above 0"),
        (["--prompt", "x", "--samples", "0"], "--samples"),
        (["--prompt", "x", "--device", "abacus"], "choose auto, cpu, cuda or cuda:N"),
    ],
)
def test_bad_input_ends_with_status_2(folders: dict[str, Path], arguments: list[str], message: str) -> None:
    answer = webtext("generate", str(folders["gpt2"]), *arguments)
    assert answer.returncode == 2
    assert message in " ".join(answer.stderr.split())
    assert "Traceback" not in answer.stderr
