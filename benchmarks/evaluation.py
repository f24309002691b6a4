"""Likelihoods on the CPU: LAMBADA's last words by a GPT-2 of 124M random weights, beside transformers.

    python -m benchmarks.evaluation LAMBADA.jsonl VOCABULARY

`LAMBADA.jsonl` has a `text` a line; `VOCABULARY` holds OpenAI's encoder.json and vocab.bpe. Both sides get
the same batches, sorted by length and padded at their ends, by turns, with the same weights and cores, in
float32. Ours are asked as tasks ask, from text to answer. transformers gets tokens that were made ready and
keeps no cache; it gives the logits at all places, of which only the last words' are normalised.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.results import record
from model.config import GPT2_PRESETS
from model.evaluate.language_model import LanguageModel
from model.evaluate.likelihoods import Window, windows_of
from model.evaluate.requests import Likelihood, Likely
from model.exchange.convert import gpt2_to_hf
from model.gpt2 import GPT2
from tests.in_transformers import gpt2_config
from tokenizer.encode import Tokenizer
from tokenizer.files import read_gpt2

_CONFIG = GPT2_PRESETS["124M"]
_ROWS, _TURN = 8, 40
_SETTLING = 8


def main() -> None:
    """Measures both and records them; of fewer items it prints them only."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lambada", type=Path)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("--limit", type=int, help="ask only this many, and record nothing")
    arguments = parser.parse_args()
    vocabulary = read_gpt2(arguments.vocabulary / "encoder.json", arguments.vocabulary / "vocab.bpe")
    model = _build(Tokenizer(vocabulary, ""))
    theirs = _build_transformers(model.network)
    requests = _read(arguments.lambada)[: arguments.limit]
    requests.sort(key=lambda request: -len(_window(request, model).tokens))
    windows = [_window(request, model) for request in requests]
    _measure(model, theirs, requests[-_SETTLING:], windows[-_SETTLING:])
    ours_s, theirs_s, apart = _measure(model, theirs, requests, windows)
    rows = [
        [name, f"{seconds:.1f}", f"{len(requests) / seconds:.2f}", f"{seconds / theirs_s:.2f}"]
        for name, seconds in (("webtext", ours_s), (f"transformers {transformers.__version__}", theirs_s))
    ]
    tokens = sum(len(window.tokens) - 1 for window in windows)
    remarks = (
        f"torch {torch.__version__}, float32, {tokens:,} tokens, batches of {_ROWS}, by turns of {_TURN}"
        f" items; answers at most {apart:.1e} apart. Goal: within 1.3 times transformers."
    )
    if arguments.limit is None:
        title = f"evaluation on the CPU: {len(requests)} LAMBADA items, GPT-2 of 124M, {os.cpu_count()} cores"
        record(title, ["", "seconds", "items/s", "times transformers"], rows, remarks)
    else:
        print(*rows, remarks, sep="\n")


def _read(file: Path) -> list[Likelihood]:
    """Each text's last word, with the space before it, behind the rest."""
    texts = [json.loads(line)["text"] for line in file.read_text("utf-8").splitlines()]
    cut = [text.rindex(" ") for text in texts]
    return [Likelihood(text[:at], text[at:]) for text, at in zip(texts, cut, strict=True)]


def _window(request: Likelihood, model: LanguageModel) -> Window:
    """The one window that an item takes."""
    (window,) = windows_of(request, model.tokenizer, model.context, model.context)
    return window


def _build(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(GPT2(_CONFIG), tokenizer, rows=_ROWS)


def _build_transformers(network: GPT2) -> Any:
    config = gpt2_config(network.config, attn_implementation="sdpa")
    theirs: Any = transformers.GPT2LMHeadModel(config).train(mode=False)
    theirs.load_state_dict(gpt2_to_hf(network.state_dict()))
    return theirs


def _measure(
    model: LanguageModel, theirs: Any, requests: Sequence[Likelihood], windows: Sequence[Window]
) -> tuple[float, float, float]:
    """Seconds of ours and theirs, and the largest difference of their answers."""
    ours_s = theirs_s = apart = 0.0
    for start in range(0, len(requests), _TURN):
        begun = time.perf_counter()
        replies = model.answer(requests[start : start + _TURN])
        turned = time.perf_counter()
        expected = _ask_transformers(theirs, windows[start : start + _TURN])
        ours_s, theirs_s = ours_s + turned - begun, theirs_s + time.perf_counter() - turned
        for reply, other in zip(replies, expected, strict=True):
            assert isinstance(reply, Likely)
            apart = max(apart, abs(reply.log_probability - other))
    return ours_s, theirs_s, apart


@torch.inference_mode()
def _ask_transformers(theirs: Any, windows: Sequence[Window]) -> list[float]:
    found = []
    for start in range(0, len(windows), _ROWS):
        batch = windows[start : start + _ROWS]
        ids = [torch.from_numpy(window.tokens.astype("int64")) for window in batch]
        read = torch.nn.utils.rnn.pad_sequence([one[:-1] for one in ids], batch_first=True)
        logits = theirs(read, use_cache=False).logits
        for row, (window, tokens) in enumerate(zip(batch, ids, strict=True)):
            asked = tokens[-window.num_asked :]
            end = len(tokens) - 1
            every = logits[row, end - window.num_asked : end].log_softmax(-1)
            found.append(float(every.gather(-1, asked[:, None]).sum()))
    return found


if __name__ == "__main__":
    main()
