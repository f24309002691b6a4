"""Language models from all the folders that hold one, and what is said of those that hold none."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.checkpoint import newest_checkpoint
from model.errors import ModelError
from model.evaluate.loading import load_language_model
from model.evaluate.requests import Likelihood
from model.exchange.exchange import import_checkpoint
from tests.test_model_exchange import (
    ALBERT_SMALL,
    GPT2_SMALL,
    OWN_IDS,
    change_json,
    write_openai,
    write_small,
)
from tests.test_model_shards import make_vocabulary
from tokenizer.encode import Tokenizer
from tokenizer.files import TOKENIZER_JSON, file_contents

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = replace(GPT2_SMALL, vocab_size=OWN_IDS)


def test_the_same_weights_answer_alike_from_every_folder(tmp_path: Path) -> None:
    network = write_small(tmp_path / "theirs", SMALL).state_dict()
    write_openai(tmp_path / "openai")
    checkpoint = import_checkpoint(tmp_path / "theirs", tmp_path / "ours")
    requests = [Likelihood("The cat", " sees a dog."), Likelihood("", "A whale")]
    replies = []
    for path in (tmp_path / "theirs", checkpoint, tmp_path / "ours", tmp_path / "openai"):
        before = sorted(tmp_path.rglob("*"))
        model = load_language_model(path, rows=2, stride=3)
        assert sorted(tmp_path.rglob("*")) == before
        assert not model.network.training
        assert model.network.tokens.weight.dtype == torch.float32
        assert model.context == 24
        assert model.tokenizer.digest == Tokenizer.load(checkpoint).digest
        replies.append(model.answer(requests))
        if path.name != "openai":
            state = model.network.state_dict()
            assert all(torch.equal(weight, state[name]) for name, weight in network.items())
    assert replies[0] == replies[1] == replies[2]
    assert replies[0] != replies[3]  # its weights are drawn anew


def test_a_tokenizer_json_alone_is_enough(tmp_path: Path) -> None:
    write_small(tmp_path / "theirs", SMALL)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "theirs" / name).unlink()
    tokenizer = load_language_model(tmp_path / "theirs").tokenizer
    own = Tokenizer.from_bytes(file_contents(make_vocabulary(OWN_IDS))[TOKENIZER_JSON], "own")
    assert tokenizer.digest == own.digest


def test_the_newest_whole_checkpoint_is_taken(tmp_path: Path) -> None:
    write_small(tmp_path / "theirs")
    path = import_checkpoint(tmp_path / "theirs", tmp_path / "ours")
    shutil.copytree(path, path.with_name("step-00000007"))
    (path.with_name("step-00000007") / "model.safetensors").write_bytes(b"cut")
    assert load_language_model(tmp_path / "ours").context == 24
    with pytest.raises(ModelError, match=r"step-00000007.model\.safetensors is missing or damaged"):
        load_language_model(path.with_name("step-00000007"))
    (path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds only torn checkpoints"):
        load_language_model(tmp_path / "ours")


@pytest.mark.parametrize("form", ["theirs", "ours", "checkpoint"])
def test_an_albert_is_refused(tmp_path: Path, form: str) -> None:
    write_small(tmp_path / "theirs", ALBERT_SMALL)
    path = tmp_path / "theirs"
    if form != "theirs":
        path = import_checkpoint(path, tmp_path / "ours")
    with pytest.raises(ModelError, match=r"is an ALBERT, .*webtext evaluate` measures it by .*`masked`"):
        load_language_model(path.parent if form == "ours" else path)


def test_a_path_that_holds_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing is no folder; name a checkpoint"):
        load_language_model(tmp_path / "nothing")
    (tmp_path / "file").write_bytes(b"\0")
    with pytest.raises(ModelError, match="file is no folder"):
        load_language_model(tmp_path / "file")
    with pytest.raises(ModelError, match=r"is no model: it has neither config\.json .* nor hparams\.json"):
        load_language_model(tmp_path)


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("config.json", b'{"model_type": "gp', r"config\.json: is no JSON"),
        ("config.json", b'{"model_type": "llama"}', "model_type is 'llama'; only gpt2 and albert"),
        ("model.safetensors", b"\0\1", r"model\.safetensors: is damaged"),
        ("merges.txt", b"\xff\xfe", r"merges\.txt"),
        ("vocab.json", b"{}", r"vocab\.json"),
    ],
)
def test_a_damaged_folder_of_transformers_is_told(
    tmp_path: Path, file: str, data: bytes, message: str
) -> None:
    write_small(tmp_path / "theirs")
    (tmp_path / "theirs" / file).write_bytes(data)
    with pytest.raises(ModelError, match=message):
        load_language_model(tmp_path / "theirs")


def test_a_tokenizer_with_more_ids_than_the_network_is_told(tmp_path: Path) -> None:
    write_small(tmp_path / "theirs", replace(SMALL, vocab_size=OWN_IDS - 1))
    with pytest.raises(ModelError, match="the network has 319 ids, and needs 320 or more"):
        load_language_model(tmp_path / "theirs")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"architecture": "gpt2"}'])
def test_a_damaged_checkpoint_is_told(tmp_path: Path, data: bytes) -> None:
    write_small(tmp_path / "theirs")
    path = import_checkpoint(tmp_path / "theirs", tmp_path / "ours")
    (path / "config.json").write_bytes(data)
    with pytest.raises(ModelError, match=r"config\.json"):
        load_language_model(path)


def test_other_errors_are_told(tmp_path: Path) -> None:
    write_small(tmp_path / "theirs")
    with pytest.raises(ModelError, match="cannot compute on 'abacus'"):
        load_language_model(tmp_path / "theirs", device="abacus")
    with pytest.raises(ModelError, match="stride must be from 1 to the model's context"):
        load_language_model(tmp_path / "theirs", stride=25)
    write_openai(tmp_path / "openai")
    change_json(tmp_path / "openai" / "hparams.json", n_layer=3)
    with pytest.raises(ModelError, match="openai: weights are missing"):
        load_language_model(tmp_path / "openai")
    (tmp_path / "openai" / "model.ckpt.index").write_bytes(b"cut")
    with pytest.raises(ModelError, match=r"model\.ckpt\.index"):
        load_language_model(tmp_path / "openai")
    assert newest_checkpoint(tmp_path) is None
