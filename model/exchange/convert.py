"""Weights under the names and in the layout of Hugging Face's transformers, and back.

Works on state dicts alone. `GPT2LMHeadModel` keeps linear layers of GPT-2 transposed (its `Conv1D`), as
OpenAI's own checkpoints do; `AlbertForPreTraining` keeps query, key and value apart, and the layers in
groups, each whole.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from model.config import AlbertConfig

State = dict[str, Tensor]

_GPT2_NAMES = {
    "tokens": "wte",
    "positions": "wpe",
    "norm": "ln_f",
    "attention_norm": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_in": "mlp.c_fc",
    "ffn_out": "mlp.c_proj",
}
_GPT2_OWN_NAMES = {theirs: ours for ours, theirs in _GPT2_NAMES.items()}

# Outside the layers; within them the names differ by group and are made below.
_ALBERT_NAMES = {
    "embeddings.tokens": "albert.embeddings.word_embeddings",
    "embeddings.positions": "albert.embeddings.position_embeddings",
    "embeddings.segments": "albert.embeddings.token_type_embeddings",
    "embeddings.norm": "albert.embeddings.LayerNorm",
    "embeddings.project": "albert.encoder.embedding_hidden_mapping_in",
    "pooler": "albert.pooler",
    "masked_head.narrow": "predictions.dense",
    "masked_head.norm": "predictions.LayerNorm",
    "order_head": "sop_classifier.classifier",
}
_ATTENTION_NAMES = {"out": "attention.dense", "norm": "attention.LayerNorm"}
_FFN_NAMES = {"inner": "ffn", "outer": "ffn_output", "norm": "full_layer_layer_norm"}


def gpt2_to_hf(state: Mapping[str, Tensor]) -> State:
    """Weights of our `GPT2` as a state dict of `GPT2LMHeadModel`."""
    theirs = _rename_gpt2(state, _gpt2_name_to_hf)
    return {**theirs, "lm_head.weight": theirs["transformer.wte.weight"]}


def gpt2_from_hf(state: Mapping[str, Tensor]) -> State:
    """Weights of a `GPT2LMHeadModel` as a state dict of our `GPT2`."""
    own = {k: v for k, v in state.items() if k.startswith("transformer.")}
    return _rename_gpt2(own, _gpt2_name_from_hf)


def gpt2_names_in_full(state: Mapping[str, Tensor]) -> State:
    """A `GPT2LMHeadModel`'s state dict from one that has it in an older form.

    The checkpoints that OpenAI's were first turned into have the names of the inner `GPT2Model`, and
    hold the causal masks of each layer as if they were weights.
    """
    prefix = "" if any(name.startswith("transformer.") for name in state) else "transformer."
    return {
        name if name.startswith("lm_head.") else prefix + name: weight
        for name, weight in state.items()
        if not re.search(r"\.attn\.(masked_)?bias$", name)
    }


def gpt2_from_openai(variables: Mapping[str, Tensor]) -> State:
    """A `GPT2LMHeadModel`'s state dict from the variables of OpenAI's own checkpoints.

    `model/h0/attn/c_attn/w` is (1, D, 3D); gains are called g. What is not under `model/` is left out.
    """
    kinds = {"w": "weight", "g": "weight", "b": "bias"}
    state = {}
    for name, value in variables.items():
        scope, *path = name.split("/")
        if scope != "model" or not path:
            continue
        kind = kinds[path.pop()] if path[-1] in kinds else "weight"  # embeddings have no last part
        layer = re.sub(r"^h(\d+)\b", r"h.\1", ".".join(path))
        state[f"transformer.{layer}.{kind}"] = value.squeeze(0) if value.dim() == 3 else value
    return state


def _rename_gpt2(state: Mapping[str, Tensor], rename: Callable[[str], str]) -> State:
    renamed = {}
    for name, weight in state.items():
        is_linear = weight.dim() == 2 and re.search(r"(blocks|h)\.\d", name)
        renamed[rename(name)] = weight.t().contiguous() if is_linear else weight
    return renamed


def _gpt2_name_to_hf(name: str) -> str:
    block, layer, kind = _split(name, r"blocks\.(\d+)\.")
    prefix = f"transformer.h.{block}." if block else "transformer."
    return f"{prefix}{_GPT2_NAMES[layer]}.{kind}"


def _gpt2_name_from_hf(name: str) -> str:
    block, layer, kind = _split(name.removeprefix("transformer."), r"h\.(\d+)\.")
    prefix = f"blocks.{block}." if block else ""
    return f"{prefix}{_GPT2_OWN_NAMES[layer]}.{kind}"


def _split(name: str, numbered: str) -> tuple[str, str, str]:
    """Block number ("" outside of blocks), layer, and `weight` or `bias`."""
    match = re.match(numbered, name)
    layer, _, kind = name[match.end() if match else 0 :].rpartition(".")
    return match[1] if match else "", layer, kind


def albert_to_hf(state: Mapping[str, Tensor], config: AlbertConfig) -> State:
    """Weights of our `Albert` as a state dict of `AlbertForPreTraining`.

    Its `num_hidden_groups` is `config.groups` where layers share all, else `config.layers`, with
    what they share repeated.
    """
    theirs = {
        f"{_ALBERT_NAMES[layer]}.{kind}": state[f"{layer}.{kind}"]
        for layer in _ALBERT_NAMES
        for kind in ("weight", "bias")
        if f"{layer}.{kind}" in state
    }
    theirs["predictions.bias"] = theirs["predictions.decoder.bias"] = state["masked_head.bias"]
    theirs["predictions.decoder.weight"] = state["embeddings.tokens.weight"]
    attentions, ffns = _lists(state)
    groups = config.groups if config.sharing == "all" else config.layers
    for group in range(groups):
        attention = f"attentions.{group * attentions // groups}."
        ffn = f"ffns.{group * ffns // groups}."
        prefix = _layer_prefix(group)
        for kind in ("weight", "bias"):
            for ours, name in _ATTENTION_NAMES.items():
                theirs[f"{prefix}{name}.{kind}"] = state[f"{attention}{ours}.{kind}"]
            for ours, name in _FFN_NAMES.items():
                theirs[f"{prefix}{name}.{kind}"] = state[f"{ffn}{ours}.{kind}"]
            qkv = state[f"{attention}qkv.{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), qkv, strict=True):
                theirs[f"{prefix}attention.{name}.{kind}"] = part.contiguous()
    return theirs


def albert_from_hf(state: Mapping[str, Tensor]) -> State:
    """Weights of an `AlbertForPreTraining` as a state dict of our `Albert`.

    Our configuration has as many groups as theirs, and shares all within them.
    """
    own = {
        f"{ours}.{kind}": state[f"{theirs}.{kind}"]
        for ours, theirs in _ALBERT_NAMES.items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in state
    }
    own["masked_head.bias"] = state["predictions.bias"]
    group = 0
    while f"{_layer_prefix(group)}ffn.weight" in state:
        prefix = _layer_prefix(group)
        for kind in ("weight", "bias"):
            for ours, name in _ATTENTION_NAMES.items():
                own[f"attentions.{group}.{ours}.{kind}"] = state[f"{prefix}{name}.{kind}"]
            for ours, name in _FFN_NAMES.items():
                own[f"ffns.{group}.{ours}.{kind}"] = state[f"{prefix}{name}.{kind}"]
            qkv = [state[f"{prefix}attention.{n}.{kind}"] for n in ("query", "key", "value")]
            own[f"attentions.{group}.qkv.{kind}"] = torch.cat(qkv)
        group += 1
    return own


def _layer_prefix(group: int) -> str:
    return f"albert.encoder.albert_layer_groups.{group}.albert_layers.0."


def _lists(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """How many attentions and feed-forward layers `state` holds."""
    attentions = sum(name.endswith(".qkv.weight") for name in state)
    ffns = sum(name.endswith(".inner.weight") for name in state)
    return attentions, ffns
