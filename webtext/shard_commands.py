"""The commands about finished shards."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import InputError
from webtext.terminal import JsonOption, RunArgument, console, errors, print_json


class Format(StrEnum):
    """What export writes."""

    NANOGPT = "nanogpt"
    LLMC = "llmc"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Split(StrEnum):
    """The splits, as [shard] makes them."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def inspect_shard(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .bin, .idx or .sentences.idx, of a run or any other.")
    ],
    documents: Annotated[int, typer.Option(metavar="N", help="The most documents to show.", min=0)] = 3,
    first: Annotated[
        int, typer.Option("--from", metavar="K", help="The first document to show, counted from 0.", min=0)
    ] = 0,
    token: Annotated[
        int | None,
        typer.Option(metavar="N", help="Show the document of this token of the file, counted from 0.", min=0),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What decodes a file that is of no run.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a file of tokens holds: counts, documents decoded, and where each of them came from.

    Megatron's, llm.c's and nanoGPT's files are told apart by what is in them.

    Example: webtext inspect-shard runs/webtext/shards/train-00000.bin --token 123456
    """
    from pipeline.shard.inspection import inspect_shard as inspect
    from webtext.inspecting import render

    if token is not None and first:
        raise InputError("give --from or --token, not both: a token leads to its own document.")
    found = inspect(file, first=first, count=documents, token=token, tokenizer=tokenizer)
    if as_json:
        print_json(found.to_json())
    else:
        console.print(*render(found), sep="\n")


def export(
    run: RunArgument,
    form: Annotated[
        Format,
        typer.Option("--format", help="Tokens for nanoGPT or llm.c, or documents as JSON lines or Parquet."),
    ],
    out: Annotated[
        str, typer.Option(metavar="DIR", help="The folder to write, new or empty: a path or a URI.")
    ],
    split: Annotated[
        list[Split] | None, typer.Option(help="Only this split; more than once for several.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's shards for nanoGPT or llm.c, or its documents as JSON lines or Parquet.

    The tokenizer's files stand beside them, and manifest.json says what they are made from.

    Example: webtext export runs/webtext --format nanogpt --out data/webtext
    """
    from pipeline.export.export import export as export_run
    from pipeline.runs import Folder

    with errors.status(f"writing {out}"):
        exported, is_new = export_run(
            Folder(run), form.value, Folder(out), [one.value for one in split or ()]
        )
    if as_json:
        print_json({"out": out, "is_new": is_new, **asdict(exported)})
        return
    for name, num_tokens in exported.tokens.items():
        console.print(f"{name}: {num_tokens:,} tokens of {exported.documents[name]:,} documents")
    if is_new:
        console.print(f"wrote {out}: {len(exported.files)} files, and manifest.json", markup=False)
    else:
        console.print(f"{out} has this export already: nothing was written", markup=False)
