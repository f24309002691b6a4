"""Language models from folders: our checkpoints, transformers' GPT-2s and OpenAI's, read where they are."""

import hashlib
from pathlib import Path

import torch

from model.checkpoint import CONFIG, checkpoints
from model.config import GPT2Config
from model.errors import ModelError
from model.evaluate.language_model import LanguageModel
from model.exchange.exchange import read_pretrained
from model.exchange.huggingface import read_json
from model.generation.generate import load_checkpoint
from model.gpt2 import GPT2
from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.files import TOKENIZER_JSON, file_contents


def load_language_model(
    path: Path, device: str = "cpu", rows: int = 8, stride: int | None = None
) -> LanguageModel:
    """Loads a GPT-2 to be evaluated, in float32 on every device: so that batches change no score.

    Args:
        path: A checkpoint of ours, or a folder of them, of which the newest is taken; a folder of
            transformers' (config.json, weights and a byte-level BPE); or one of OpenAI's (hparams.json,
            model.ckpt.*, encoder.json and vocab.bpe).
        device: Where to compute; see `model.devices.find_device`.
        rows: See `LanguageModel`.
        stride: See `LanguageModel`.

    Raises:
        ModelError: There is no such folder, what is in it is no model, torn or an ALBERT, or an argument is
            out of range.
    """
    if not path.is_dir():
        raise ModelError(
            f"{path} is no folder; name a checkpoint, a folder of checkpoints, or a GPT-2 of transformers or"
            " OpenAI"
        )
    try:
        network, tokenizer = _read_own(path) if _is_own(path) else _read_foreign(path)
    except TokenizerError as error:
        raise ModelError(str(error)) from error
    return LanguageModel(network, tokenizer, rows=rows, stride=stride, device=device)


def _is_own(path: Path) -> bool:
    """Whether `path` is a checkpoint of ours or holds some. Only ours names its architecture."""
    if any(checkpoints(path)):
        return True
    return (path / CONFIG).is_file() and "architecture" in read_json(path / CONFIG)


def _read_own(path: Path) -> tuple[GPT2, Tokenizer]:
    checkpoint = load_checkpoint(path)
    if not isinstance(checkpoint.network, GPT2):
        raise _is_albert(path)
    return checkpoint.network, checkpoint.tokenizer


def _read_foreign(path: Path) -> tuple[GPT2, Tokenizer]:
    pretrained, vocabulary = read_pretrained(path)
    if not isinstance(pretrained.config, GPT2Config):
        raise _is_albert(path)
    with torch.device("meta"):
        network = GPT2(pretrained.config)
    network.load_state_dict(pretrained.state, assign=True)
    digest = hashlib.sha256(file_contents(vocabulary)[TOKENIZER_JSON]).hexdigest()
    return network, Tokenizer(vocabulary, digest)


def _is_albert(path: Path) -> ModelError:
    return ModelError(
        f"{path} is an ALBERT, which continues no text; `webtext evaluate` measures it by the task `masked`"
    )
