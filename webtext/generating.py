"""``webtext generate``: text from a checkpoint."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import InputError
from tokenizer.text import well_formed
from webtext.device_memory import advice_on_memory
from webtext.terminal import errors

if TYPE_CHECKING:
    from model.generation.generate import Checkpoint, Generated

_JSON_LINES = (".jsonl", ".ndjson")


def generate(  # noqa: PLR0913, PLR0917 (an option each)
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, or a folder of them.")
    ],
    prompt: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="The text to go on from; more than once.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='A file of prompts: one a line, or (.jsonl) a string or {"prompt": …} a line.',
        ),
    ] = None,
    samples: Annotated[int, typer.Option(metavar="N", help="Texts for each prompt.", min=1)] = 1,
    max_tokens: Annotated[int, typer.Option(metavar="N", help="The most tokens to add.", min=1)] = 100,
    temperature: Annotated[
        float, typer.Option(help="How freely to draw; 0 always takes the likeliest token.", min=0)
    ] = 0.8,
    top_k: Annotated[
        int | None,
        typer.Option(metavar="N", help="Draw from this many likeliest tokens; else from all.", min=1),
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest of this much weight: above 0, up to 1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same text.", min=0)] = 0,
    batch: Annotated[int, typer.Option(help="The most texts to compute at once.", min=1)] = 8,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto (the GPU where there is one), cpu, cuda or cuda:N.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a text.")] = False,
) -> None:
    """Continue texts with a GPT-2, or fill in their [MASK]s with an ALBERT.

    One continuation is printed as it comes; several in their order, each
    behind its prompt. A text follows from its prompt and the seed, whatever
    other prompts stand beside it. Of a prompt longer than its context a GPT-2
    reads the end; where the text fills the context, it goes on from the last
    half.

    Example: webtext generate runs/webtext/checkpoints/gpt2-124M --prompt "The module" --samples 3
    """
    texts = [*map(well_formed, prompt or ()), *(_read_prompts(prompts) if prompts else ())]
    if not texts:
        raise InputError(
            'nothing to go on from: give --prompt TEXT (--prompt "" begins a document), or --prompts FILE.'
        )
    from model.generation.generate import generate as generate_text
    from model.generation.generate import generate_batch, load_checkpoint
    from model.generation.sampling import Sampling

    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    with advice_on_memory(batch):
        loaded = load_checkpoint(checkpoint, device)
        _say_what_is_left_out(loaded, texts)
        if len(texts) == samples == 1 and not as_json:
            for piece in generate_text(loaded, texts[0], max_tokens, temperature, top_k, top_p, seed):
                typer.echo(piece, nl=False)
            typer.echo()
            return
        found = generate_batch(
            loaded, texts, sampling, max_tokens=max_tokens, samples=samples, seed=seed, rows=batch
        )
        for number, one in enumerate(found):
            typer.echo(_json_line(one) if as_json else _headed(one, 1 + number // samples))


def _read_prompts(path: Path) -> list[str]:
    """The prompts in a file; blank lines are none.

    Raises:
        InputError: The file cannot be read, has none, or has a line that is no prompt.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; give a file of prompts.") from error
    lines = data.decode("utf-8-sig", "replace").split("\n")
    numbered = [(number, line.rstrip("\r")) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InputError(f"{path}: has no prompts; write one a line.")
    if path.suffix not in _JSON_LINES:
        return [line for _, line in numbered]
    return [_parse_prompt(line, f"{path}, line {number}") for number, line in numbered]


def _parse_prompt(line: str, where: str) -> str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is no JSON ({error}); mend it, or name the file .txt.") from error
    text = value.get("prompt") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise InputError(f'{where}: is no prompt; write a string, or an object with a string "prompt".')
    return well_formed(text)


def _say_what_is_left_out(checkpoint: "Checkpoint", prompts: Sequence[str]) -> None:
    """Prints which prompts are not read from their beginning."""
    from model.generation.generate import num_left_out

    context = checkpoint.network.config.context
    for number, prompt in enumerate(prompts, 1):
        if left_out := num_left_out(checkpoint, prompt):
            errors.print(
                f"prompt {number} is longer than the context of {context:,} tokens: "
                f"its first {left_out:,} tokens are not read",
                style="yellow",
            )


def _json_line(one: "Generated") -> str:
    return json.dumps(asdict(one), ensure_ascii=False)


def _headed(one: "Generated", number: int) -> str:
    """A text under the number of its prompt; a continuation stands behind the prompt itself."""
    prompt = "" if one.end == "filled" else one.prompt
    return f"--- prompt {number}, sample {one.sample}\n{prompt}{one.text}\n"
