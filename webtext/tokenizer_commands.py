"""``webtext tokenizer``: train, import and use byte-level BPE tokenizers."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from webtext.terminal import console

tokenizer_app = typer.Typer(help="Train, import and use byte-level BPE tokenizers.", no_args_is_help=True)


@tokenizer_app.command("train")
def tokenizer_train(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Run directories with a corpus, or text files.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    vocab_size: Annotated[int, typer.Option(help="Ids: 256 bytes, merges and <|endoftext|>.")] = 50_257,
) -> None:
    """Train a byte-level BPE on a corpus or on text files.

    Example: webtext tokenizer train runs/webtext --vocab-size 32000 --out tokenizer
    """
    from tokenizer.files import write_tokenizer
    from tokenizer.train import train
    from webtext.texts import texts_of

    vocabulary = train((text for one in inputs for text in texts_of(one)), vocab_size)
    write_tokenizer(vocabulary, out)
    console.print(f"wrote {out}: {vocabulary.vocab_size:,} ids and the special tokens behind them")


@tokenizer_app.command("import")
def tokenizer_import(
    vocab: Annotated[Path, typer.Option(help="encoder.json or vocab.json.")],
    merges: Annotated[Path, typer.Option(help="vocab.bpe or merges.txt.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("tokenizer"),
) -> None:
    """Import GPT-2's own vocabulary, or another in its form.

    Example: webtext tokenizer import --vocab encoder.json --merges vocab.bpe --out gpt2
    """
    from tokenizer.files import import_gpt2

    vocabulary = import_gpt2(vocab, merges, out)
    console.print(f"wrote {out}: {vocabulary.vocab_size:,} ids and the special tokens behind them")


@tokenizer_app.command("encode")
def tokenizer_encode(
    tokenizer: Annotated[Path, typer.Argument(help="A tokenizer's folder, or its tokenizer.json.")],
    text: Annotated[str | None, typer.Argument(help="The text; left out: standard input.")] = None,
) -> None:
    """Print the ids of a text on one line.

    Example: webtext tokenizer encode runs/webtext/tokenizer "Hello world"
    """
    from tokenizer.encode import Tokenizer

    loaded = Tokenizer.load(tokenizer)
    if text is None:
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    typer.echo(" ".join(str(token) for token in loaded.encode(text)))
