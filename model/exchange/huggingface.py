"""A model as a folder of Hugging Face's transformers: written for `from_pretrained`, and read.

Only what our networks can compute is read: where a configuration asks for another activation, other norms
or scales, it is refused by the field's name, and so is a weight that would be left over or missing.
Dropout is one number here, that of the residual stream; theirs may have several.
"""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from model.checkpoint import require_depth, save_weights
from model.config import AlbertConfig, Config, GPT2Config
from model.devices import is_out_of_memory
from model.errors import ModelError
from model.exchange.convert import (
    State,
    albert_from_hf,
    albert_to_hf,
    gpt2_from_hf,
    gpt2_names_in_full,
    gpt2_to_hf,
)
from model.networks import build_network
from tokenizer.files import TOKENIZER_CONFIG, TOKENIZER_JSON, file_contents
from tokenizer.vocabulary import CLS, END_OF_TEXT, PAD, SEP, Vocabulary

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"

_TANH_GELUS: Final = ("gelu_new", "gelu_pytorch_tanh")

# What our networks are; a field that is left out has transformers' default, which is among these.
_GPT2_FIXED: Final[Mapping[str, tuple[Any, ...]]] = {
    "activation_function": _TANH_GELUS,
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}
_ALBERT_FIXED: Final[Mapping[str, tuple[Any, ...]]] = {
    "hidden_act": _TANH_GELUS,
    "layer_norm_eps": (1e-12,),
    "inner_group_num": (1,),
    "type_vocab_size": (2,),
    "position_embedding_type": ("absolute",),
    "tie_word_embeddings": (True,),
}

# Our field by theirs, with transformers' default.
_GPT2_SIZES: Final[Mapping[str, tuple[str, int]]] = {
    "vocab_size": ("vocab_size", 50_257),
    "n_positions": ("context", 1024),
    "n_embd": ("width", 768),
    "n_layer": ("layers", 12),
    "n_head": ("heads", 12),
}
_ALBERT_SIZES: Final[Mapping[str, tuple[str, int]]] = {
    "vocab_size": ("vocab_size", 30_000),
    "max_position_embeddings": ("context", 512),
    "embedding_size": ("embedding", 128),
    "hidden_size": ("width", 4096),
    "num_hidden_layers": ("layers", 12),
    "num_hidden_groups": ("groups", 1),
    "num_attention_heads": ("heads", 64),
    "intermediate_size": ("ffn", 16_384),
}

# The output matrices are the embeddings', which transformers ties by itself; the rest are constants.
_TIED: Final = ("lm_head.weight", "predictions.decoder.weight", "predictions.decoder.bias")
_CONSTANTS: Final = ("albert.embeddings.position_ids", "albert.embeddings.token_type_ids")


@dataclass(frozen=True)
class Pretrained:
    """A network's shape and its weights, under our names, in float32."""

    config: Config
    state: State


def write_model(folder: Path, config: Config, state: Mapping[str, Tensor], vocabulary: Vocabulary) -> None:
    """Writes a model's configuration, weights and tokenizer into `folder`, which exists.

    Args:
        folder: Where to write.
        config: The network's shape.
        state: Its weights, under our names.
        vocabulary: The vocabulary that it was trained with.

    Raises:
        ModelError: transformers has no such network: attention is banded.
    """
    if isinstance(config, GPT2Config):
        if config.band is not None:
            raise ModelError(
                "transformers' GPT-2 has no banded attention, so this model cannot be exported;"
                ' train one with model.attention = "dense"'
            )
        theirs = gpt2_to_hf(state)
        values, generation = _gpt2_values(config, vocabulary)
        _write_json(folder / "generation_config.json", generation)
    else:
        theirs = albert_to_hf(state, config)
        values = _albert_values(config, vocabulary)
    _write_json(folder / CONFIG, values)
    # Layers that share weights here may be apart there: each needs bytes of its own.
    own = {name: weight.contiguous().clone() for name, weight in theirs.items() if name not in _TIED}
    save_weights(own, folder / WEIGHTS, {"format": "pt"})
    for name, data in _tokenizer_files(config, vocabulary).items():
        (folder / name).write_bytes(data)


def read_model(folder: Path) -> Pretrained:
    """Reads a GPT-2 or an ALBERT with its pretraining heads, as transformers or its hub keep it.

    Raises:
        ModelError: It is another architecture, asks for what our networks do not do, or its weights
            are missing, damaged, of other shapes or more than the network has.
    """
    file = folder / CONFIG
    config = _parse_config(read_json(file), file)
    found = _read_weights(folder)
    if isinstance(config, GPT2Config):
        found = gpt2_names_in_full(found)
    return Pretrained(config, convert_checked(found, config, folder))


def convert_checked(found: State, config: Config, where: Path) -> State:
    """`found`, under transformers' names, as weights of the network that `config` describes.

    Raises:
        ModelError: Its names and shapes are not those of the network; `where` stands for it in messages.
    """
    own = _own_names_and_shapes(config, found, where)
    expected = gpt2_to_hf(own) if isinstance(config, GPT2Config) else albert_to_hf(own, config)
    if missing := [name for name in expected if name not in found and name not in _TIED]:
        raise ModelError(
            f"{where}: weights are missing: {_some(missing)}; name a model with its pretraining heads"
        )
    if more := [name for name in found if name not in expected and name not in _CONSTANTS]:
        raise ModelError(
            f"{where}: the network in {CONFIG} has no weights such as {_some(more)};"
            " take both from the same model"
        )
    for name in expected.keys() & found.keys():
        if found[name].shape != expected[name].shape:
            raise ModelError(
                f"{where}: {name} has shape {tuple(found[name].shape)},"
                f" but by {CONFIG} it is {tuple(expected[name].shape)}; take both from the same model"
            )
    embedding = "transformer.wte" if isinstance(config, GPT2Config) else "albert.embeddings.word_embeddings"
    for name in ("lm_head.weight", "predictions.decoder.weight"):
        if name in found and not torch.equal(found[name], found[f"{embedding}.weight"]):
            raise ModelError(f"{where}: {name} is not the token embedding, as it is in our networks")
    state = gpt2_from_hf(found) if isinstance(config, GPT2Config) else albert_from_hf(found)
    return {name: weight.to(torch.float32) for name, weight in state.items()}


def _own_names_and_shapes(config: Config, found: State, where: Path) -> State:
    """Our network's weights, without values; a configuration that asks for too much is refused first."""
    try:
        require_depth(config, found)
    except ValueError as error:
        raise ModelError(f"{where}: by {CONFIG} {error}; take both from the same model") from error
    try:
        with torch.device("meta"):
            return build_network(config).state_dict()
    except (RuntimeError, OverflowError, TypeError) as error:  # the last of numbers that are no C integers
        why = str(error).partition("\n")[0]
        raise ModelError(
            f"{where}: the sizes in {CONFIG} are too large: {why}; copy the file again"
        ) from error


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`. Raises ModelError where there is none."""
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file}: is no JSON ({error}); copy it again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{file}: is no JSON object; copy it again")
    return found


# Configurations


def _gpt2_values(config: GPT2Config, vocabulary: Vocabulary) -> tuple[dict[str, Any], dict[str, Any]]:
    """What config.json and generation_config.json say."""
    end, pad = vocabulary.specials[END_OF_TEXT], vocabulary.specials[PAD]
    special = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": pad if pad < config.vocab_size else end,
    }
    values = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **{theirs: getattr(config, ours) for theirs, (ours, _) in _GPT2_SIZES.items()},
        **{name: value for name, (value, *_) in _GPT2_FIXED.items()},
        **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), config.dropout),
        "initializer_range": 0.02,
        **special,
    }
    return values, special


def _albert_values(config: AlbertConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    specials = vocabulary.specials
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")
    return {
        "architectures": ["AlbertForPreTraining"],
        "model_type": "albert",
        **{theirs: getattr(config, ours) for theirs, (ours, _) in _ALBERT_SIZES.items()},
        # Where layers share less than all, each is written out.
        "num_hidden_groups": config.groups if config.sharing == "all" else config.layers,
        **{name: value for name, (value, *_) in _ALBERT_FIXED.items()},
        **dict.fromkeys(names, config.dropout),
        "initializer_range": 0.02,
        "pad_token_id": specials[PAD],
        "bos_token_id": specials[CLS],
        "eos_token_id": specials[SEP],
    }


def _parse_config(values: Mapping[str, Any], file: Path) -> Config:
    kind = values.get("model_type")
    if kind not in ("gpt2", "albert"):
        raise ModelError(f"{file}: model_type is {kind!r}; only gpt2 and albert can be imported")
    is_gpt2 = kind == "gpt2"
    for name, known in (_GPT2_FIXED if is_gpt2 else _ALBERT_FIXED).items():
        if name in values and values[name] not in known:
            raise ModelError(
                f"{file}: {name} is {values[name]!r}, but our network has"
                f" {' or '.join(map(repr, known))} only"
            )
    sizes = {}
    for theirs, (ours, default) in (_GPT2_SIZES if is_gpt2 else _ALBERT_SIZES).items():
        sizes[ours] = value = values.get(theirs, default)
        if type(value) is not int:
            raise ModelError(f"{file}: {theirs} must be a whole number, got {value!r}")
    dropout = values.get("resid_pdrop" if is_gpt2 else "hidden_dropout_prob", 0.1 if is_gpt2 else 0.0)
    if not isinstance(dropout, int | float):
        raise ModelError(f"{file}: dropout must be a number, got {dropout!r}")
    inner = values.get("n_inner")
    if is_gpt2 and inner not in (None, 4 * sizes["width"]):
        raise ModelError(
            f"{file}: n_inner is {inner!r}, but our network has 4 x n_embd ({4 * sizes['width']})"
        )
    try:
        if is_gpt2:
            return GPT2Config(**sizes, dropout=dropout)
        return AlbertConfig(**sizes, dropout=dropout)
    except ValueError as error:
        raise ModelError(f"{file}: {error}") from error


# Weights


def _read_weights(folder: Path) -> State:
    """All weights in `folder`: one file or several, safetensors before pickles."""
    for name in (WEIGHTS, "pytorch_model.bin"):
        if (folder / name).is_file():
            return _load(folder / name)
        index = folder / f"{name}.index.json"
        if index.is_file():
            places = read_json(index).get("weight_map")
            if not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
                raise ModelError(f"{index}: has no weight_map of names and files; copy it again")
            state: State = {}
            for part in sorted(set(places.values())):
                state |= _load(folder / Path(part).name)
            return state
    raise ModelError(f"{folder}: has neither {WEIGHTS} nor pytorch_model.bin; download one of them")


def _load(file: Path) -> State:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, weights_only=True, map_location="cpu")
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:  # torch's message tells how to have it run all the same
        raise ModelError(
            f"{file}: is damaged or no file of weights alone, and what else it holds could run code; copy it"
            " again, or have it as safetensors"
        ) from error
    except Exception as error:  # whatever foreign bytes make of the readers
        if is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{file}: is damaged or no file of weights ({reason}); copy it again") from error
    if not isinstance(state, dict) or not all(isinstance(weight, Tensor) for weight in state.values()):
        raise ModelError(f"{file}: holds something else than named weights; name a model's own file")
    return state


# Tokenizers


def _tokenizer_files(config: Config, vocabulary: Vocabulary) -> dict[str, bytes]:
    """The tokenizer's files by name, with what `AutoTokenizer` must know of this network.

    A GPT-2 may have no rows for ALBERT's special tokens, as OpenAI's own: then its tokenizer has not
    got them either, as padding with them would end in an error. Nor does it read segment numbers, which
    transformers would add to it as embeddings. An ALBERT's texts stand between [CLS] and [SEP].
    """
    files = file_contents(vocabulary)
    document, settings = (json.loads(files[name]) for name in (TOKENIZER_JSON, TOKENIZER_CONFIG))
    settings["model_max_length"] = config.context
    if isinstance(config, GPT2Config):
        settings["model_input_names"] = ["input_ids", "attention_mask"]
    else:
        settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        document["post_processor"] = _between_cls_and_sep(vocabulary)
    rowless = [name for name, i in vocabulary.specials.items() if i >= config.vocab_size]
    document["added_tokens"] = [t for t in document["added_tokens"] if t["content"] not in rowless]
    settings = {name: value for name, value in settings.items() if value not in rowless}
    files[TOKENIZER_JSON] = (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()
    files[TOKENIZER_CONFIG] = (json.dumps(settings, indent=1) + "\n").encode()
    return files


def _between_cls_and_sep(vocabulary: Vocabulary) -> dict[str, Any]:
    """The post-processor of tokenizer.json that makes `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`."""

    def special(name: str, segment: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": segment}}

    first = [special(CLS, 0), {"Sequence": {"id": "A", "type_id": 0}}, special(SEP, 0)]
    second = [{"Sequence": {"id": "B", "type_id": 1}}, special(SEP, 1)]
    ids = vocabulary.specials
    return {
        "type": "TemplateProcessing",
        "single": first,
        "pair": [*first, *second],
        "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in (CLS, SEP)},
    }


def _write_json(file: Path, values: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
