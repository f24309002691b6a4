"""``webtext tokenizer``: train, import and use byte-level BPE tokenizers."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from webtext.terminal import JsonOption, RunArgument, console, errors, print_json

if TYPE_CHECKING:
    from tokenizer.vocabulary import Vocabulary

tokenizer_app = typer.Typer(help="Train, import and use byte-level BPE tokenizers.", no_args_is_help=True)


@tokenizer_app.command("train")
def tokenizer_train(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Run directories with a corpus, or text files.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")],
    vocab_size: Annotated[
        int,
        typer.Option(
            min=257, max=1_000_000, metavar="N", help="How many ids: 256 bytes, merges and <|endoftext|>."
        ),
    ] = 50_257,
    sample_bytes: Annotated[
        int,
        typer.Option(min=1, max=2_000_000_000, metavar="N", help="About how many bytes of text to train on."),
    ] = 1_000_000_000,
    as_json: JsonOption = False,
) -> None:
    """Train a byte-level BPE on a corpus or on text files.

    Of more text than --sample-bytes, documents are chosen by a hash of their ids and paragraphs of text
    files by a hash of their text: neither the order of the inputs nor the machine changes the result.

    Example: webtext tokenizer train runs/webtext --vocab-size 32000 --out tokenizer
    """
    from tokenizer.files import write_tokenizer
    from webtext.texts import open_texts
    from webtext.vocabulary_training import train_on

    vocabulary = train_on(
        open_texts(inputs), vocab_size=vocab_size, sample_bytes=sample_bytes, console=console
    )
    write_tokenizer(vocabulary, out)
    _say_written(vocabulary, out, as_json=as_json)


@tokenizer_app.command("import")
def tokenizer_import(
    vocab: Annotated[Path, typer.Option(metavar="FILE", help="encoder.json or vocab.json.")],
    merges: Annotated[Path, typer.Option(metavar="FILE", help="vocab.bpe or merges.txt.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")] = Path("tokenizer"),
    as_json: JsonOption = False,
) -> None:
    """Import GPT-2's own vocabulary, or another in its form.

    Example: webtext tokenizer import --vocab encoder.json --merges vocab.bpe --out gpt2
    """
    from tokenizer.files import import_gpt2

    vocabulary = import_gpt2(vocab, merges, out)
    _say_written(vocabulary, out, as_json=as_json)


def _say_written(vocabulary: "Vocabulary", out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"out": str(out), "vocab_size": vocabulary.vocab_size})
    else:
        console.print(f"wrote {out}: {vocabulary.vocab_size:,} ids and the special tokens behind them")


@tokenizer_app.command("encode")
def tokenizer_encode(
    tokenizer: Annotated[
        Path, typer.Argument(metavar="TOKENIZER", help="A tokenizer's folder, or its tokenizer.json.")
    ],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The text; left out: standard input.")
    ] = None,
) -> None:
    """Print the ids of a text on one line.

    Example: webtext tokenizer encode runs/webtext/tokenizer "Hello world"
    """
    from tokenizer.encode import Tokenizer

    loaded = Tokenizer.load(tokenizer)
    if text is None:
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    typer.echo(" ".join(str(token) for token in loaded.encode(text)))


@tokenizer_app.command("show")
def tokenizer_show(
    run: RunArgument,
    against: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Another tokenizer to compare with; more than once."),
    ] = None,
    sample_bytes: Annotated[
        int, typer.Option(metavar="N", help="About how many bytes of the corpus to measure on.", min=1)
    ] = 100_000_000,
    as_json: JsonOption = False,
) -> None:
    """Show how well a run's tokenizer fits its corpus: bytes a token, tokens a word, which ids are used.

    Example: webtext tokenizer show runs/webtext --against gpt2
    """
    from pipeline.report.vocabulary import measure_fit
    from pipeline.report.vocabulary_page import write_page
    from pipeline.report.vocabulary_tables import tables
    from pipeline.runs import Folder
    from tokenizer.encode import Tokenizer
    from webtext.paths import near

    folder = Folder(run)
    others = {near(path): Tokenizer.load(path) for path in against or ()}
    with errors.status("every vocabulary encodes the sample"):
        fit = measure_fit(folder, others, sample_bytes)
    page = write_page(folder, fit)
    if as_json:
        print_json({**fit.to_json(), "page": page})
        return
    console.print(*tables(fit), sep="\n")
    if not others:
        console.print(
            "\nto compare with GPT-2's: webtext tokenizer import --vocab encoder.json --merges vocab.bpe "
            "--out gpt2, then --against gpt2",
            style="dim",
        )
    console.print(f"\nthe coverage as a curve, and more tokens: {page}", markup=False)
