"""``webtext model``: trained models for Hugging Face's transformers, and models from there."""

from pathlib import Path
from typing import Annotated

import typer

from webtext.paths import near
from webtext.terminal import JsonOption, console, print_json

model_app = typer.Typer(
    help="Export models to Hugging Face's transformers, and import them.", no_args_is_help=True
)


@model_app.command("export")
def model_export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, or a folder of them.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write, which is not there yet.")],
    as_json: JsonOption = False,
) -> None:
    """Write a model that transformers opens: weights, configuration and tokenizer.

    Example: webtext model export runs/webtext/checkpoints/gpt2-124M --out gpt2-webtext
    """
    from model.exchange.exchange import export_checkpoint
    from model.networks import architecture_of

    config = export_checkpoint(checkpoint, out)
    opener = {"gpt2": "AutoModelForCausalLM", "albert": "AlbertForPreTraining"}[architecture_of(config)]
    if as_json:
        print_json({"out": str(out), "opened_by": opener})
        return
    console.print(
        f"wrote {near(out)}: open it with transformers' {opener}.from_pretrained({near(out)!r})"
        " and AutoTokenizer",
        markup=False,
    )


@model_app.command("import")
def model_import(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="A GPT-2 or ALBERT of transformers, or OpenAI's GPT-2."),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder for the checkpoint, without others yet.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Make a checkpoint from a model's files, for webtext generate and the like.

    It takes config.json with model.safetensors or pytorch_model.bin and vocab.json with merges.txt; or
    hparams.json, model.ckpt.*, encoder.json and vocab.bpe, as OpenAI published GPT-2.

    Example: webtext model import gpt2 --out checkpoints/gpt2
    """
    from model.exchange.exchange import import_checkpoint

    path = import_checkpoint(folder, out)
    if as_json:
        print_json({"checkpoint": str(path)})
    else:
        console.print(f"wrote {near(path)}: try webtext generate {near(out)} --prompt TEXT", markup=False)
