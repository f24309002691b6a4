"""Two minutes of training on a megabyte of Shakespeare, on a CPU: what loss a small GPT-2 reaches.

    python -m benchmarks.shakespeare tinyshakespeare.txt

The text's last tenth is the validation split, as in nanoGPT, whose example for CPUs (characters for tokens, 4
layers of 128, three minutes) ends at 1.88 nats a character by its README: 2.71 bits a byte. Ours has the same
layers and bytes joined to 1,024 tokens; bits a byte are the same measure for both.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.results import record
from benchmarks.text_run import read_documents, write_text_run
from model.config import ModelSettings, TrainSettings
from model.training.log import StepReport
from model.training.train import pretrain

_VOCABULARY = 1024
_STEPS = 600
_TRAIN = TrainSettings(
    steps=_STEPS,
    batch_tokens=16 * 128,
    micro_batch=16,
    optimizer="muon",
    learning_rate=5e-3,
    min_learning_rate_fraction=0.0,
    weight_decay=0.1,
    eval_every=_STEPS,
    eval_batches=1000,
    checkpoint_every=_STEPS,
    device="cpu",
)


def main() -> None:
    """Trains once and records the loss."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path, help="plain text, gzipped or not")
    text = "".join(read_documents(parser.parse_args().text))
    cut = len(text) * 9 // 10
    reports: list[StepReport] = []
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        write_text_run(run, {"train": [text[:cut]], "val": [text[cut:]]}, _VOCABULARY)
        started = time.monotonic()
        model = ModelSettings(architecture="gpt2", preset="tiny")
        pretrain(run, model, _TRAIN, run / "checkpoints", reports.append)
        seconds = time.monotonic() - started
    last = reports[-1]
    record(
        "two minutes of Shakespeare on a CPU: GPT-2, 4 layers of 128",
        ["steps", "tokens", "seconds", "loss", "validation loss, nats a token", "bits a byte"],
        [
            [
                f"{last.step:,}",
                f"{last.tokens:,}",
                f"{seconds:.0f}",
                f"{last.loss:.3f}",
                f"{last.val_loss:.3f}",
                f"{last.bits_per_byte:.3f}",
            ]
        ],
        f"torch {torch.__version__}, {len(text):,} characters, {_VOCABULARY:,} tokens. nanoGPT's README, for"
        " its three minutes on a CPU: 2.71 bits a byte (1.88 nats a character).",
    )


if __name__ == "__main__":
    main()
