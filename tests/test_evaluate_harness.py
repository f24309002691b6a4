"""lm-evaluation-harness calls our models, and finds what it finds with its own `hf` on the same weights."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import ModelError
from model.evaluate.harness import HarnessModel, generation_of, main, register
from model.evaluate.loading import load_language_model
from model.evaluate.requests import Generation, Likelihood, Likely
from model.exchange.exchange import export_checkpoint, import_checkpoint
from model.exchange.huggingface import write_model
from model.gpt2 import GPT2
from tests.test_model_exchange import ALBERT_SMALL, GPT2_SMALL, OWN_IDS, sharp, write_small
from tests.test_model_shards import make_documents, make_vocabulary
from tokenizer.vocabulary import END_OF_TEXT

CONTEXT = 40
SMALL = replace(GPT2_SMALL, context=CONTEXT, vocab_size=384)  # of which the last ids are no tokens
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
TASKS = ("animal_choice", "animal_writing", "animal_text")
SENTENCES = [sentence for document in make_documents(12) for sentence in document]

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]


@dataclass(frozen=True)
class Harness:
    """The imported harness, and what it is tried with.

    Attributes:
        checkpoint: A small GPT-2 with random weights.
        exported: The same for transformers.
        tasks: A folder of tasks.
    """

    checkpoint: Path
    exported: Path
    tasks: Path

    def ours(self, batch_size: int = 3) -> Any:
        """Our model, as the harness's command makes it."""
        args = {"pretrained": str(self.checkpoint), "device": "cpu"}
        return registered().create_from_arg_obj(args, {"batch_size": batch_size, "device": "cuda:0"})

    def evaluate(self, model: Any) -> Any:
        """The harness's results of all tasks, with each item's."""
        tasks, evaluator = (import_module(f"lm_eval.{name}") for name in ("tasks", "evaluator"))
        manager = tasks.TaskManager(include_path=str(self.tasks), include_defaults=False)
        return evaluator.simple_evaluate(
            model, tasks=list(TASKS), task_manager=manager, bootstrap_iters=0, verbosity="ERROR"
        )


def registered() -> Any:
    return import_module("lm_eval.api.registry").get_model("webtext")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    folder = tmp_path_factory.mktemp("harness")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OFFLINE.items():
            patch.setenv(name, value)
        pytest.importorskip("lm_eval", reason="lm-evaluation-harness (lm_eval) is not installed")
        register()
        write_gpt2(folder / "small")
        checkpoint = import_checkpoint(folder / "small", folder / "checkpoints")
        export_checkpoint(checkpoint, folder / "exported")
        (folder / "tasks").mkdir()
        write_tasks(folder / "tasks")
        yield Harness(checkpoint, folder / "exported", folder / "tasks")


@pytest.fixture(scope="module")
def ours(harness: Harness) -> Any:
    return harness.ours()


@pytest.fixture(scope="module")
def theirs(harness: Harness) -> Any:
    pytest.importorskip("accelerate", reason="the harness's own hf model needs accelerate")
    return import_module("lm_eval.models.huggingface").HFLM(
        pretrained=str(harness.exported), device="cpu", batch_size=2
    )


def write_gpt2(folder: Path) -> None:
    """A small GPT-2 whose ids that are no text are never the likeliest: hf would write them, we never do."""
    network, vocabulary = sharp(SMALL), make_vocabulary(OWN_IDS)
    assert isinstance(network, GPT2)
    with torch.no_grad():
        network.tokens.weight[vocabulary.specials[END_OF_TEXT] + 1 :] = 0
    folder.mkdir()
    write_model(folder, SMALL, network.state_dict(), vocabulary)


def write_tasks(folder: Path) -> None:
    """Three tasks of the harness, on one file of local data: a choice, a text to write, a text to read."""
    items = [
        {
            "begin": text[:15],
            "options": [text[15:], " a whale.", f"no. {place}", " in the\nlibrary"],
            "gold": 0,
            "text": " ".join(SENTENCES[: 1 + 2 * place]),
        }
        for place, text in enumerate(SENTENCES[:9])
    ]
    data = folder / "items.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items))
    source: dict[str, Any] = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
    }
    choice: dict[str, Any] = {
        "output_type": "multiple_choice",
        "doc_to_text": "Say on:  {{begin}}",
        "doc_to_choice": "options",
        "doc_to_target": "gold",
        "num_fewshot": 1,
        "fewshot_split": "test",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    writing: dict[str, Any] = {
        "output_type": "generate_until",
        "doc_to_text": "{{begin}}",
        "doc_to_target": "{{options[0]}}",
        "generation_kwargs": {"until": [".", "\n"], "max_gen_toks": 12, "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    }
    text: dict[str, Any] = {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    }
    for name, task in zip(TASKS, (choice, writing, text), strict=True):
        # JSON is YAML too.
        (folder / f"{name}.yaml").write_text(json.dumps({"task": name, **source, **task}))


def instances(kind: str, *args: tuple[Any, ...]) -> list[Any]:
    instance = import_module("lm_eval.api.instance").Instance
    return [instance(kind, doc={}, arguments=one, idx=place) for place, one in enumerate(args)]


def score(model: Any, *pairs: tuple[str, str]) -> list[tuple[float, bool]]:
    found: list[tuple[float, bool]] = model.loglikelihood(
        instances("loglikelihood", *pairs), disable_tqdm=True
    )
    return found


def assert_same(found: Sequence[tuple[float, bool]], expected: Sequence[tuple[float, bool]]) -> None:
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    np.testing.assert_allclose([value for value, _ in found], [value for value, _ in expected], atol=1e-4)


def test_tasks_give_what_they_give_with_hf(harness: Harness, ours: Any, theirs: Any) -> None:
    found, expected = harness.evaluate(ours), harness.evaluate(theirs)
    for name in TASKS:
        for one, other in zip(found["samples"][name], expected["samples"][name], strict=True):
            assert one["arguments"] == other["arguments"]
            if name == "animal_writing":
                assert one["resps"] == other["resps"]
            elif name == "animal_text":
                np.testing.assert_allclose(one["resps"], other["resps"], atol=1e-4)
            else:
                pairs = [[reply for (reply,) in sample["resps"]] for sample in (one, other)]
                assert_same(*pairs)
        assert len(found["samples"][name]) == 9
        for metric, value in expected["results"][name].items():
            assert found["results"][name][metric] == (
                pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
            )
    assert found["config"]["model_num_parameters"] == expected["config"]["model_num_parameters"]
    assert found["config"]["model_dtype"] == "torch.float32"


words = st.sampled_from(
    ["cat", "The", " dog", " ", "  ", "\n", "s", "ee", " sees", ".", "é", "鲸", " a", "\t"]
)
texts = st.lists(words, max_size=14).map("".join)
long_texts = st.integers(0, 40).map(lambda count: " ".join(SENTENCES[:count]))


@settings(max_examples=40)
@given(st.lists(st.tuples(texts | long_texts, texts.filter(bool)), min_size=1, max_size=8))
def test_any_continuation_is_as_likely_as_with_hf(
    ours: Any, theirs: Any, pairs: list[tuple[str, str]]
) -> None:
    """Where hf's own assertion fails, ours answers for the tokens of the joint text."""
    for pair, found in zip(pairs, score(ours, *pairs), strict=True):
        try:
            expected = score(theirs, pair)[0]
        except AssertionError:
            reply = ours.model.answer([Likelihood(*pair)])[0]
            assert isinstance(reply, Likely)
            expected = (reply.log_probability, reply.is_likeliest)
        assert_same([found], [expected])


def test_blanks_between_are_the_continuations(ours: Any) -> None:
    blank, plain = score(ours, ("The cat \n", "sees"), ("The cat", " \nsees"))
    assert blank == pytest.approx(plain)


def test_a_token_over_the_border_is_the_continuations(ours: Any) -> None:
    tokens = [ours.tok_encode(text) for text in ("The c", "The cat")]
    assert len(tokens[0]) >= len(tokens[1])
    found = score(ours, ("The c", "at"))
    assert found[0][0] < 0
    assert_same(found, score(ours, ("The", " cat")))


@pytest.mark.parametrize(
    "pair", [("The c", "at"), (" ", "cat"), ("\n\n", "cat"), ("The cat", " ".join(SENTENCES[:8]))]
)
def test_what_hf_fails_at_has_an_answer(ours: Any, theirs: Any, pair: tuple[str, str]) -> None:
    with pytest.raises(AssertionError):
        score(theirs, pair)
    assert score(ours, pair)[0][0] < 0


def test_batches_change_nothing(harness: Harness) -> None:
    pairs = [*pairwise(SENTENCES), ("", SENTENCES[0]), (" ".join(SENTENCES), " The cat")]
    assert_same(score(harness.ours(1), *pairs), score(harness.ours(7), *pairs))


@pytest.mark.parametrize("num_sentences", [0, 1, 3, 4, 5, 12, 30])
def test_texts_of_any_length_are_as_likely_as_with_hf(ours: Any, theirs: Any, num_sentences: int) -> None:
    asked = instances("loglikelihood_rolling", (" ".join(SENTENCES[:num_sentences]),), ("A cat.",))
    found, expected = (model.loglikelihood_rolling(asked, disable_tqdm=True) for model in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_what_fills_the_context_to_the_token_is_as_likely_as_with_hf(ours: Any, theirs: Any) -> None:
    every = ours.tok_encode(" ".join(SENTENCES[:30]))
    cut = [ours.model.tokenizer.decode(every[:size]) for size in range(CONTEXT - 2, CONTEXT + 3)]
    assert [len(ours.tok_encode(text)) for text in cut] == list(range(CONTEXT - 2, CONTEXT + 3))
    asked = instances("loglikelihood_rolling", *((text,) for text in cut))
    found, expected = (model.loglikelihood_rolling(asked, disable_tqdm=True) for model in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    pairs = [(text, " cat") for text in cut]
    assert_same(score(ours, *pairs), score(theirs, *pairs))


def test_the_name_of_a_special_token_is_text(ours: Any, theirs: Any) -> None:
    """The one place where tokens differ: transformers reads the name as the token."""
    text = "The cat.<|endoftext|>"
    assert ours.eot_token_id == theirs.eot_token_id
    assert theirs.tok_encode(text) == [*ours.tok_encode("The cat."), ours.eot_token_id]
    assert ours.eot_token_id not in ours.tok_encode(text)
    assert theirs.tok_encode("The cat. <") == ours.tok_encode("The cat. <")


def test_texts_are_written_as_by_hf(ours: Any, theirs: Any) -> None:
    asked = [
        (text[:size], {"until": until, "max_gen_toks": length})
        for text in SENTENCES[:4]
        for size, until, length in [(12, ["."], 9), (20, " the", 20), (14, [], 16)]
    ]
    found, expected = (
        model.generate_until(instances("generate_until", *asked), disable_tqdm=True)
        for model in (ours, theirs)
    )
    assert found == expected
    assert len(set(found)) > 6


@pytest.mark.parametrize("length", [8, 20])
def test_a_prompt_without_room_is_read_a_token_further_back_than_by_hf(
    ours: Any, theirs: Any, length: int
) -> None:
    """The last token that is written need not be read; hf leaves room for it too."""
    every = ours.tok_encode(" ".join(SENTENCES))
    fits, full = (ours.model.tokenizer.decode(every[: CONTEXT - size]) for size in (length, 0))
    assert write(ours, fits, length) == write(theirs, fits, length)
    assert write(ours, full, length).startswith(write(theirs, full, length - 1))


def write(model: Any, prompt: str, length: int) -> str:
    asked = instances("generate_until", (prompt, {"until": [], "max_gen_toks": length}))
    (found,) = model.generate_until(asked, disable_tqdm=True)
    return str(found)


def test_repeats_are_other_draws_and_the_same_again(ours: Any) -> None:
    drawn = {"do_sample": True, "temperature": 1.0, "max_gen_toks": 12}
    asked = instances("generate_until", *[("The cat", drawn)] * 3, ("The dog", drawn))
    found = ours.generate_until(asked, disable_tqdm=True)
    assert len(set(found)) == 4
    assert found == ours.generate_until(asked, disable_tqdm=True)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, {}),
        (
            {"until": "\n", "do_sample": False, "temperature": 0.7, "top_p": 0.9, "top_k": 3},
            {"stop": ("\n",)},
        ),
        ({"until": ["a", "", "b"], "num_beams": 1}, {"stop": ("a", "b")}),
        ({"until": None, "max_new_tokens": "7", "temperature": 0.0}, {"max_tokens": 7}),
        ({"max_gen_toks": 5, "max_tokens": 9}, {"max_tokens": 5}),
        ({"temperature": 1, "top_p": 1.0}, {"top_k": 325, "seed": 4}),
        ({"do_sample": True, "temperature": 1.0, "top_k": 9}, {"top_k": 9, "seed": 4}),
    ],
)
def test_what_a_task_wants_written(wanted: dict[str, Any], expected: dict[str, Any]) -> None:
    found = generation_of("The", wanted, seed=4, num_ids=325)
    assert found == Generation(prompt="The", **{"max_tokens": 256, "seed": 4, **expected})


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"num_beams": 4}, "num_beams=4"),
        ({"temperature": 0.7}, "temperature=0.7"),
        ({"do_sample": True}, "temperature=0.0"),
        ({"temperature": 1.0, "top_p": 0.9}, "top_p=0.9"),
        ({"repetition_penalty": 1.3, "foo": "x"}, "repetition_penalty=1.3, foo=x"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(wanted: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        generation_of("The", wanted, seed=0, num_ids=325)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("device=cpu", "takes pretrained=CHECKPOINT"),
        ("pretrained={checkpoint},dtype=float16", "not dtype"),
        (
            "pretrained={checkpoint},batch_size=auto",
            "batch_size must be a whole number of at least 1, got auto",
        ),
        ("pretrained={checkpoint},batch_size=0", "got 0"),
        ("pretrained={checkpoint},device=cuda:77", "device"),
        ("pretrained={checkpoint}/gone", "gone is no folder"),
    ],
)
def test_wrong_arguments_are_named(harness: Harness, args: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        registered().create_from_arg_string(
            args.format(checkpoint=harness.checkpoint), {"max_batch_size": None}
        )


def test_an_albert_is_refused(tmp_path: Path) -> None:
    write_small(tmp_path / "albert", ALBERT_SMALL)
    with pytest.raises(ModelError, match="ALBERT"):
        HarnessModel(pretrained=str(tmp_path / "albert"))


def test_a_chat_template_is_refused(ours: Any) -> None:
    assert ours.chat_template(False) == ""
    with pytest.raises(ModelError, match="apply_chat_template"):
        ours.chat_template(True)


def test_a_harness_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    with pytest.raises(ModelError, match=r"webtext\[lm-eval\]"):
        register()


def test_the_models_of_the_harness_stay(harness: Harness) -> None:
    register()
    assert {"webtext", "hf", "dummy"} <= set(import_module("lm_eval.api.registry").MODEL_REGISTRY)
    model = load_language_model(harness.checkpoint)
    assert harness.ours().tokenizer_name == model.tokenizer.digest


def run_command(monkeypatch: pytest.MonkeyPatch, *args: str) -> int | str | None:
    """The exit status of `python -m model.evaluate.harness`; indexing the harness's own tasks is left out."""
    tasks: Any = import_module("lm_eval.tasks")
    monkeypatch.setattr(tasks, "TaskManager", partial(tasks.TaskManager, include_defaults=False))
    monkeypatch.setattr(sys, "argv", ["harness", *args])
    try:
        main()
    except SystemExit as stopped:
        return stopped.code
    return 0


def test_the_harness_runs_by_our_command(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--include_path", str(harness.tasks), "--tasks", "animal_choice", "--output_path", str(tmp_path))
    args = f"pretrained={harness.checkpoint},device=cpu,batch_size=4"
    assert run_command(monkeypatch, "--model", "webtext", "--model_args", args, *where) == 0
    assert "|animal_choice|" in capsys.readouterr().out
    (file,) = tmp_path.rglob("results_*.json")
    assert 0 <= json.loads(file.read_text())["results"]["animal_choice"]["acc,none"] <= 1


def test_the_command_says_what_is_wrong(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--include_path", str(harness.tasks), "--tasks", "animal_choice")
    assert run_command(monkeypatch, "--model", "webtext", "--model_args", "pretrained=gone", *where) == 2
    assert "error: gone is no folder" in capsys.readouterr().err
