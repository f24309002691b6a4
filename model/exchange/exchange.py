"""Checkpoints made into folders that transformers opens, and made from its folders or OpenAI's."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import (
    TOKENIZER,
    Metadata,
    Progress,
    load_network,
    new_folder,
    newest_checkpoint,
    read_metadata,
    require_new,
)
from model.config import ALBERT_PRESETS, GPT2_PRESETS, Config, GPT2Config
from model.errors import ModelError
from model.exchange.convert import gpt2_from_openai
from model.exchange.huggingface import CONFIG, Pretrained, convert_checked, read_json, read_model, write_model
from model.exchange.tensorflow_checkpoint import read_tensorflow_checkpoint
from model.networks import build_network
from model.training.saving import save_checkpoint
from tokenizer.files import TOKENIZER_JSON, file_contents, parse_tokenizer_json, read_gpt2
from tokenizer.vocabulary import ALBERT_SPECIALS, END_OF_TEXT, Vocabulary

_HPARAMS = "hparams.json"
_HPARAMS_NAMES = {
    "n_vocab": "vocab_size",
    "n_ctx": "context",
    "n_embd": "width",
    "n_head": "heads",
    "n_layer": "layers",
}
_VOCABULARY_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def export_checkpoint(path: Path, out: Path) -> Config:
    """Writes a checkpoint, or the newest one of a folder, as a model of transformers into `out`.

    `AutoModelForCausalLM.from_pretrained(out)` (GPT-2), `AlbertForPreTraining.from_pretrained(out)` and
    `AutoTokenizer.from_pretrained(out)` open it. `out` appears whole or not at all.

    Returns:
        The network's shape.

    Raises:
        ModelError: `path` has no whole checkpoint, `out` is there already, or transformers has no such
            network.
    """
    require_new(out)
    path = newest_checkpoint(path) or path
    metadata = read_metadata(path)
    state = load_network(path, metadata.config).state_dict()
    file = path / TOKENIZER
    vocabulary = parse_tokenizer_json(file.read_bytes(), str(file))
    with new_folder(out) as draft:
        write_model(draft, metadata.config, state, vocabulary)
    return metadata.config


def import_checkpoint(folder: Path, out: Path) -> Path:
    """Makes a checkpoint in `out` from a model of transformers, or from OpenAI's files of a GPT-2.

    `folder` holds config.json, model.safetensors or pytorch_model.bin, and a byte-level BPE
    (vocab.json and merges.txt, or tokenizer.json); or hparams.json, model.ckpt.* and
    encoder.json and vocab.bpe, as OpenAI published them.

    Returns:
        The checkpoint's folder: `out/step-00000000`.

    Raises:
        ModelError: `folder` holds neither or another architecture, a weight is missing or of another
            shape, the tokenizer does not fit, or `out` holds checkpoints already.
    """
    if newest_checkpoint(out) is not None:
        raise ModelError(f"{out} holds checkpoints already; name a new folder")
    pretrained, vocabulary = read_pretrained(folder)
    return _save(out, pretrained, file_contents(vocabulary)[TOKENIZER_JSON])


def read_pretrained(folder: Path) -> tuple[Pretrained, Vocabulary]:
    """A model out of a folder of transformers', or of OpenAI's for GPT-2, with a vocabulary that fits it.

    Raises:
        ModelError: The folder holds no such model, a damaged one, or no byte-level BPE that fits it.
        TokenizerError: A file of the vocabulary is damaged.
    """
    pretrained, vocabulary = _read(folder), _read_vocabulary(folder)
    _check_vocabulary(pretrained.config, vocabulary, folder)
    return pretrained, vocabulary


def _read(folder: Path) -> Pretrained:
    if (folder / CONFIG).is_file():
        return read_model(folder)
    if (folder / _HPARAMS).is_file():
        return _read_openai(folder)
    raise ModelError(
        f"{folder} is no model: it has neither {CONFIG} (transformers) nor {_HPARAMS} (OpenAI's GPT-2);"
        " name the folder that has one"
    )


def _read_openai(folder: Path) -> Pretrained:
    """A GPT-2 as OpenAI published it: a checkpoint of TensorFlow, and hparams.json."""
    file = folder / _HPARAMS
    values = read_json(file)
    for name in _HPARAMS_NAMES:
        if type(values.get(name)) is not int:
            raise ModelError(f"{file}: {name} must be a whole number, got {values.get(name)!r}")
    try:
        config = GPT2Config(**{ours: values[theirs] for theirs, ours in _HPARAMS_NAMES.items()})
    except ValueError as error:
        raise ModelError(f"{file}: {error}") from error
    variables = read_tensorflow_checkpoint(folder / "model.ckpt")
    tensors = {name: torch.from_numpy(array.copy()) for name, array in variables.items()}
    return Pretrained(config, convert_checked(gpt2_from_openai(tensors), config, folder))


def _read_vocabulary(folder: Path) -> Vocabulary:
    for vocab, merges in _VOCABULARY_FILES:
        if (folder / vocab).is_file() and (folder / merges).is_file():
            return read_gpt2(folder / vocab, folder / merges)
    file = folder / TOKENIZER_JSON
    if file.is_file():
        return parse_tokenizer_json(json.dumps(_with_our_specials(read_json(file))).encode(), str(file))
    raise ModelError(
        f"{folder} has no byte-level BPE: put its vocab.json and merges.txt there"
        " (a SentencePiece model, as the released ALBERTs have, cannot be read)"
    )


def _with_our_specials(document: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer.json with ALBERT's special tokens behind GPT-2's one, if it has that one only."""
    match document:
        case {"model": {"vocab": dict(vocab)}, "added_tokens": [{"content": str(end)} as only]}:
            if end == END_OF_TEXT:
                ids = enumerate(ALBERT_SPECIALS, start=len(vocab))
                return {**document, "added_tokens": [only, *({"content": s, "id": i} for i, s in ids)]}
    return document


def _check_vocabulary(config: Config, vocabulary: Vocabulary, folder: Path) -> None:
    """Raises ModelError unless each id has a row in the embedding.

    A GPT-2 needs none for ALBERT's special tokens, and may have rows without an id, as fill up its matrix.
    """
    with_specials = max(vocabulary.specials.values()) + 1
    if isinstance(config, GPT2Config):
        fits, needed = config.vocab_size >= vocabulary.vocab_size, f"{vocabulary.vocab_size:,} or more"
    else:
        fits, needed = config.vocab_size == with_specials, f"{with_specials:,}"
    if not fits:
        raise ModelError(
            f"{folder}: the network has {config.vocab_size:,} ids, and needs {needed} for its tokenizer;"
            " take both from the same model"
        )


def _save(out: Path, pretrained: Pretrained, tokenizer_json: bytes) -> Path:
    """Writes a checkpoint that no step was taken from: its optimizer remembers nothing."""
    with torch.device("meta"):
        network = build_network(pretrained.config)
    network.load_state_dict(pretrained.state, assign=True)
    metadata = Metadata(
        progress=Progress(),
        preset=_preset(pretrained.config),
        config=pretrained.config,
        tokenizer=hashlib.sha256(tokenizer_json).hexdigest(),
        shards="",
        training={},
    )
    optimizer = torch.optim.AdamW(network.parameters())
    return save_checkpoint(out, metadata, network, optimizer, tokenizer_json, keep=1)


def _preset(config: Config) -> str:
    """The name of the preset that has this shape, whatever its vocabulary and dropout; else `imported`."""
    presets: Mapping[str, Config] = GPT2_PRESETS if isinstance(config, GPT2Config) else ALBERT_PRESETS
    for name, preset in presets.items():
        if replace(config, vocab_size=preset.vocab_size, dropout=preset.dropout) == preset:
            return name
    return "imported"
