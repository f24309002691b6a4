"""Models to and from transformers, and from OpenAI's files; transformers itself says whether it is so."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from model.albert import Albert
from model.checkpoint import load_network, newest_checkpoint, read_metadata
from model.config import AlbertConfig, Config, GPT2Config
from model.errors import ModelError
from model.exchange.convert import gpt2_to_hf
from model.exchange.exchange import export_checkpoint, import_checkpoint
from model.exchange.huggingface import read_model, write_model
from model.generation.generate import load_checkpoint
from model.gpt2 import GPT2
from model.networks import Network, build_network
from tests.test_model_networks import random_tokens, sharpen
from tests.test_model_shards import make_vocabulary
from tests.test_model_tensorflow_checkpoint import write_bundle
from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.files import MERGES_TXT, TOKENIZER_JSON, VOCAB_JSON, file_contents
from webtext.model_commands import model_app

IDS = 325  # of the tests' vocabulary, special tokens included
OWN_IDS = 320
GPT2_SMALL = GPT2Config(vocab_size=IDS, context=24, layers=2, width=32, heads=4, dropout=0.1)
ALBERT_SMALL = AlbertConfig(
    vocab_size=IDS, context=24, embedding=8, layers=4, width=32, heads=4, ffn=48, dropout=0.1
)
TEXT = "The cat sees a dog in the garden."


def sharp(config: Config) -> Network:
    network = build_network(config).eval()
    sharpen(network)
    return network


def write_small(folder: Path, config: Config = GPT2_SMALL) -> Network:
    """Writes a small model with random weights as transformers keep it."""
    network = sharp(config)
    folder.mkdir()
    write_model(folder, config, network.state_dict(), make_vocabulary(OWN_IDS))
    return network


def change_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def change_weights(folder: Path, change: Mapping[str, torch.Tensor | None]) -> None:
    file = folder / "model.safetensors"
    weights = {**load_file(file), **change}
    save_file({name: w for name, w in weights.items() if w is not None}, file, metadata={"format": "pt"})


@pytest.mark.parametrize("ids", [OWN_IDS, OWN_IDS + 2, IDS, 384])
def test_transformers_opens_a_gpt2(tmp_path: Path, ids: int) -> None:
    ours = write_small(tmp_path / "gpt2", replace(GPT2_SMALL, vocab_size=ids))
    opened: Any = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "gpt2", output_loading_info=True
    )
    theirs, told = opened
    assert isinstance(theirs, transformers.GPT2LMHeadModel)
    assert not any(told.values())
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "gpt2")
    encoded = tokenizer([TEXT], return_tensors="pt")
    own = Tokenizer.load(_tokenizer(tmp_path))
    assert encoded["input_ids"].tolist() == [own.encode(TEXT)]
    assert len(tokenizer) == min(ids, IDS)
    with torch.no_grad():
        assert_close(ours(encoded["input_ids"]), theirs(**encoded).logits)
    assert theirs.generation_config.eos_token_id == own.eot_id
    assert theirs.config.pad_token_id in range(own.eot_id, ids)


@pytest.mark.parametrize(
    ("sharing", "groups"), [("all", 1), ("all", 2), ("attention", 1), ("ffn", 2), ("none", 1)]
)
def test_transformers_opens_an_albert(tmp_path: Path, sharing: Any, groups: int) -> None:
    ours = write_small(tmp_path / "albert", replace(ALBERT_SMALL, sharing=sharing, groups=groups))
    opened: Any = transformers.AutoModelForPreTraining.from_pretrained(
        tmp_path / "albert", output_loading_info=True
    )
    theirs, told = opened
    assert isinstance(theirs, transformers.AlbertForPreTraining)
    assert not any(told.values())
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "albert")
    encoded = tokenizer([("The cat", "a[MASK]")], return_tensors="pt")
    own = Tokenizer.load(_tokenizer(tmp_path))
    names = ("[CLS]", "[SEP]", "[MASK]")
    cls, sep, mask = (own.specials[name] for name in names)
    first, second = own.encode("The cat"), [*own.encode("a"), mask]
    assert encoded["input_ids"].tolist() == [[cls, *first, sep, *second, sep]]
    segments = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert encoded["token_type_ids"].tolist() == [segments]
    with torch.no_grad():
        expected = theirs(**encoded)
        every = torch.arange(len(segments))[None]
        present = torch.ones(1, len(segments), dtype=torch.bool)
        masked, order = ours(encoded["input_ids"], torch.tensor([segments]), present, every)
    assert_close(masked, expected.prediction_logits)
    assert_close(order, expected.sop_logits)


def _tokenizer(folder: Path) -> Path:
    """Our own tokenizer.json of the tests' vocabulary."""
    file = folder / "own.json"
    file.write_bytes(file_contents(make_vocabulary(OWN_IDS))[TOKENIZER_JSON])
    return file


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [GPT2_SMALL, replace(GPT2_SMALL, vocab_size=OWN_IDS), ALBERT_SMALL])
def test_what_is_imported_is_exported_as_it_was(tmp_path: Path, config: Config) -> None:
    network = write_small(tmp_path / "first", config)
    path = import_checkpoint(tmp_path / "first", tmp_path / "checkpoints")
    assert path == newest_checkpoint(tmp_path / "checkpoints")
    metadata = read_metadata(path)
    assert metadata.config == config
    tokenizer = Tokenizer.load(path)
    assert (tokenizer.vocab_size, tokenizer.digest) == (IDS, metadata.tokenizer)
    again = load_network(path, config).state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in network.state_dict().items())
    assert export_checkpoint(tmp_path / "checkpoints", tmp_path / "second") == config
    names = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert sorted(file.name for file in (tmp_path / "second").iterdir()) == names
    for name in names:
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes(), name


@pytest.mark.parametrize("sharing", ["attention", "ffn", "none"])
def test_an_albert_that_shares_less_comes_back_as_the_same_function(tmp_path: Path, sharing: Any) -> None:
    ours = write_small(tmp_path / "albert", replace(ALBERT_SMALL, sharing=sharing))
    read = read_model(tmp_path / "albert")
    assert read.config == replace(ALBERT_SMALL, groups=4)
    again = build_network(read.config).eval()
    again.load_state_dict(read.state)
    tokens = random_tokens((2, 9))
    arguments = (tokens, torch.zeros_like(tokens), torch.ones_like(tokens).bool(), torch.tensor([[3], [0]]))
    with torch.no_grad():
        for own, other in zip(ours(*arguments), again(*arguments), strict=True):
            assert torch.equal(own, other)


@pytest.mark.parametrize("form", ["saved", "hub", "pickle", "sharded", "half"])
def test_a_gpt2_comes_from_each_form_that_transformers_has_had(tmp_path: Path, form: str) -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=OWN_IDS, n_positions=24, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
    )
    theirs = transformers.GPT2LMHeadModel(config).train(mode=False)
    sharpen(theirs)
    folder = tmp_path / "gpt2"
    if form == "half":
        theirs = theirs.to(torch.bfloat16)
    theirs.save_pretrained(folder, max_shard_size="30KB" if form == "sharded" else "1GB")
    assert (folder / "model.safetensors.index.json").exists() == (form == "sharded")
    for name in (VOCAB_JSON, MERGES_TXT):
        (folder / name).write_bytes(file_contents(make_vocabulary(OWN_IDS))[name])
    if form in ("hub", "pickle"):
        # As the hub has OpenAI's: without the outer model's name, and with the causal masks.
        file = folder / "model.safetensors"
        weights = {name.removeprefix("transformer."): weight for name, weight in load_file(file).items()}
        weights.pop("lm_head.weight", None)
        for layer in range(2):
            weights[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 24, 24).tril()
            weights[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        if form == "hub":
            save_file(weights, file)
        else:
            file.unlink()
            torch.save({**weights, "lm_head.weight": weights["wte.weight"]}, folder / "pytorch_model.bin")
    path = import_checkpoint(folder, tmp_path / "out")
    ours = load_network(path, read_metadata(path).config).eval()
    assert read_metadata(path).config == replace(GPT2_SMALL, vocab_size=OWN_IDS)
    tokens = random_tokens((2, 24), OWN_IDS)
    with torch.no_grad():
        assert_close(ours(tokens), theirs.float()(tokens).logits)


def test_an_albert_comes_from_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.AlbertConfig(
        vocab_size=IDS,
        embedding_size=8,
        hidden_size=32,
        num_hidden_layers=4,
        num_hidden_groups=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=24,
    )
    theirs = transformers.AlbertForPreTraining(config).train(mode=False)
    sharpen(theirs)
    theirs.save_pretrained(tmp_path / "albert")
    (tmp_path / "albert" / TOKENIZER_JSON).write_bytes(_tokenizer(tmp_path).read_bytes())
    path = import_checkpoint(tmp_path / "albert", tmp_path / "out")
    ours = load_network(path, read_metadata(path).config).eval()
    assert isinstance(ours, Albert)
    assert ours.config == replace(ALBERT_SMALL, groups=2, dropout=0.0)
    tokens = random_tokens((2, 9))
    every = torch.arange(9).expand(2, 9)
    with torch.no_grad():
        expected = theirs(tokens)
        masked, order = ours(tokens, torch.zeros_like(tokens), torch.ones_like(tokens).bool(), every)
    assert_close(masked, expected.prediction_logits)
    assert_close(order, expected.sop_logits)


def write_openai(folder: Path) -> GPT2:
    """Writes a small GPT-2 in the files that OpenAI published."""
    network = sharp(replace(GPT2_SMALL, vocab_size=OWN_IDS, dropout=0.0))
    assert isinstance(network, GPT2)
    variables: dict[str, Any] = {}
    for name, weight in gpt2_to_hf(network.state_dict()).items():
        if name == "lm_head.weight":
            continue
        *path, kind = name.removeprefix("transformer.").replace("h.", "h").split(".")
        values = weight.numpy()
        if path[-1] not in ("wte", "wpe"):
            is_norm = path[-1].startswith("ln_")
            path.append({"weight": "g" if is_norm else "w", "bias": "b"}[kind])
        variables["/".join(["model", *path])] = values[None] if path[-1] == "w" else values
    variables["global_step"] = np.array(7, np.int64)
    folder.mkdir()
    write_bundle(folder / "model.ckpt", variables, block_entries=5)
    hparams = {"n_vocab": OWN_IDS, "n_ctx": 24, "n_embd": 32, "n_head": 4, "n_layer": 2}
    (folder / "hparams.json").write_text(json.dumps(hparams))
    files = file_contents(make_vocabulary(OWN_IDS))
    (folder / "encoder.json").write_bytes(files[VOCAB_JSON])
    (folder / "vocab.bpe").write_bytes(files[MERGES_TXT])
    return network


def test_a_gpt2_comes_from_openais_files(tmp_path: Path) -> None:
    network = write_openai(tmp_path / "117M")
    path = import_checkpoint(tmp_path / "117M", tmp_path / "out")
    assert read_metadata(path).config == network.config
    again = load_network(path, network.config).state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in network.state_dict().items())


def test_openais_errors_name_the_file(tmp_path: Path) -> None:
    write_openai(tmp_path / "117M")
    change_json(tmp_path / "117M" / "hparams.json", n_layer=3)
    with pytest.raises(ModelError, match=r"117M: weights are missing: transformer\.h\.2\.ln_1\.weight"):
        import_checkpoint(tmp_path / "117M", tmp_path / "out")
    change_json(tmp_path / "117M" / "hparams.json", n_layer="2")
    with pytest.raises(ModelError, match=r"hparams\.json: n_layer must be a whole number, got '2'"):
        import_checkpoint(tmp_path / "117M", tmp_path / "out")
    change_json(tmp_path / "117M" / "hparams.json", n_layer=2, n_head=5)
    with pytest.raises(ModelError, match=r"hparams\.json: heads must divide width"):
        import_checkpoint(tmp_path / "117M", tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "llama"}, "model_type is 'llama'; only gpt2 and albert"),
        (
            {"activation_function": "relu"},
            "activation_function is 'relu', but our network has 'gelu_new' or",
        ),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"scale_attn_weights": False}, "scale_attn_weights is False"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
        ({"n_inner": 99}, "n_inner is 99, but our network has 4 x n_embd"),
        ({"n_head": 5}, "heads must divide width"),
        ({"n_layer": "two"}, "n_layer must be a whole number, got 'two'"),
        ({"resid_pdrop": "some"}, "dropout must be a number, got 'some'"),
        ({"n_layer": 3}, r"weights are missing: transformer\.h\.2\.ln_1\.weight, .* and 9 more"),
        ({"n_layer": 10**9}, "by config.json 1,000,000,000 layers cannot be made of"),
        ({"n_embd": 2**40}, "the sizes in config.json are too large"),
        ({"n_layer": 1}, r"has no weights such as transformer\.h\.1\."),
        ({"n_positions": 25}, r"wpe\.weight has shape \(24, 32\), but by config.json it is \(25, 32\)"),
    ],
)
def test_what_a_gpt2_cannot_be_is_named(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    write_small(tmp_path / "gpt2")
    change_json(tmp_path / "gpt2" / "config.json", **values)
    with pytest.raises(ModelError, match=message):
        import_checkpoint(tmp_path / "gpt2", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"inner_group_num": 2}, "inner_group_num is 2"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05"),
        ({"type_vocab_size": 3}, "type_vocab_size is 3"),
        ({"num_hidden_groups": 9}, "groups must be at most layers"),
        ({"num_hidden_groups": 2}, "weights are missing: albert.encoder.albert_layer_groups.1"),
    ],
)
def test_what_an_albert_cannot_be_is_named(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    write_small(tmp_path / "albert", ALBERT_SMALL)
    change_json(tmp_path / "albert" / "config.json", **values)
    with pytest.raises(ModelError, match=message):
        import_checkpoint(tmp_path / "albert", tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transformer.ln_f.bias": None}, r"weights are missing: transformer\.ln_f\.bias"),
        (
            {"transformer.h.0.adapter.weight": torch.zeros(1)},
            r"no weights such as transformer\.h\.0\.adapter",
        ),
        ({"transformer.ln_f.bias": torch.zeros(31)}, r"ln_f\.bias has shape \(31,\)"),
        ({"lm_head.weight": torch.zeros(IDS, 32)}, r"lm_head\.weight is not the token embedding"),
    ],
)
def test_other_weights_are_named(
    tmp_path: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    write_small(tmp_path / "gpt2")
    change_weights(tmp_path / "gpt2", change)
    with pytest.raises(ModelError, match=message):
        import_checkpoint(tmp_path / "gpt2", tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("config.json", b"{", r"config\.json: is no JSON"),
        ("config.json", b"[]", r"config\.json: is no JSON object"),
        ("config.json", None, r"is no model: it has neither config\.json .* nor hparams\.json"),
        ("model.safetensors", b"\x08\0\0\0\0\0\0\0{", r"model\.safetensors: is damaged"),
        ("model.safetensors", None, r"has neither model\.safetensors nor pytorch_model\.bin"),
        ("vocab.json", b"{}", r"vocab\.json"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, file: str, data: bytes | None, message: str) -> None:
    write_small(tmp_path / "gpt2")
    if data is None:
        (tmp_path / "gpt2" / file).unlink()
    else:
        (tmp_path / "gpt2" / file).write_bytes(data)
    with pytest.raises((ModelError, TokenizerError), match=message):
        import_checkpoint(tmp_path / "gpt2", tmp_path / "out")


def test_a_model_of_transformers_in_place_of_a_checkpoint_is_told(tmp_path: Path) -> None:
    write_small(tmp_path / "gpt2")
    with pytest.raises(ModelError, match=r"make a checkpoint of it first: webtext model import"):
        load_checkpoint(tmp_path / "gpt2")


@pytest.mark.parametrize("data", [b"", b"no pickle", b"PK\x03\x04", b"\x80\x02cos\nsystem\n."])
def test_a_damaged_pickle_is_named_and_runs_nothing(tmp_path: Path, data: bytes) -> None:
    write_small(tmp_path / "gpt2")
    (tmp_path / "gpt2" / "model.safetensors").unlink()
    (tmp_path / "gpt2" / "pytorch_model.bin").write_bytes(data)
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: is damaged or no file of weights"):
        import_checkpoint(tmp_path / "gpt2", tmp_path / "out")


def test_a_tokenizer_must_be_there_and_fit(tmp_path: Path) -> None:
    write_small(tmp_path / "gpt2", replace(GPT2_SMALL, vocab_size=OWN_IDS - 1))
    with pytest.raises(ModelError, match="the network has 319 ids, and needs 320 or more"):
        import_checkpoint(tmp_path / "gpt2", tmp_path / "out")
    write_small(tmp_path / "albert", ALBERT_SMALL)
    change_json(tmp_path / "albert" / "config.json", vocab_size=OWN_IDS)
    embedding = load_file(tmp_path / "albert" / "model.safetensors")
    name = "albert.embeddings.word_embeddings.weight"
    cut = {name: embedding[name][:OWN_IDS].clone(), "predictions.bias": torch.zeros(OWN_IDS)}
    change_weights(tmp_path / "albert", cut)
    with pytest.raises(ModelError, match="the network has 320 ids, and needs 325 for its tokenizer"):
        import_checkpoint(tmp_path / "albert", tmp_path / "out")
    for file in (VOCAB_JSON, TOKENIZER_JSON):
        (tmp_path / "gpt2" / file).unlink()
    with pytest.raises(ModelError, match=r"has no byte-level BPE: put its vocab\.json and merges\.txt"):
        import_checkpoint(tmp_path / "gpt2", tmp_path / "out")


def test_a_gpt2s_tokenizer_may_be_a_tokenizer_json_alone(tmp_path: Path) -> None:
    write_small(tmp_path / "gpt2", replace(GPT2_SMALL, vocab_size=OWN_IDS))
    for name in (VOCAB_JSON, MERGES_TXT):
        (tmp_path / "gpt2" / name).unlink()
    path = import_checkpoint(tmp_path / "gpt2", tmp_path / "out")
    assert (path / TOKENIZER_JSON).read_bytes() == _tokenizer(tmp_path).read_bytes()
    (tmp_path / "gpt2" / TOKENIZER_JSON).write_text("{}")
    with pytest.raises(TokenizerError, match=r"gpt2/tokenizer\.json"):
        import_checkpoint(tmp_path / "gpt2", tmp_path / "other")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_small(tmp_path / "gpt2")
    import_checkpoint(tmp_path / "gpt2", tmp_path / "out")
    with pytest.raises(ModelError, match="out holds checkpoints already; name a new folder"):
        import_checkpoint(tmp_path / "gpt2", tmp_path / "out")
    with pytest.raises(ModelError, match="gpt2 is there already; name a new folder"):
        export_checkpoint(tmp_path / "out", tmp_path / "gpt2")
    with pytest.raises(ModelError, match="is not a checkpoint"):
        export_checkpoint(tmp_path / "nothing", tmp_path / "new")


def test_banded_attention_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="transformers' GPT-2 has no banded attention"):
        write_small(tmp_path / "gpt2", replace(GPT2_SMALL, band=4))


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path / "gpt2")
    made = CliRunner().invoke(model_app, ["import", "gpt2", "--out", "checkpoints"])
    assert (made.exit_code, made.exception) == (0, None)
    assert "wrote checkpoints/step-00000000" in made.output.replace("\n", "")
    shutil.rmtree(tmp_path / "gpt2")
    made = CliRunner().invoke(model_app, ["export", "checkpoints", "--out", "gpt2"])
    assert (made.exit_code, made.exception) == (0, None)
    assert "AutoModelForCausalLM.from_pretrained('gpt2')" in made.output.replace("\n", " ")
