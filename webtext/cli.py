"""The ``webtext`` command: settings in, stages done, and what there is to see of them.

Heavy libraries are imported by the commands that use them: ``--help`` answers at once.
"""

import difflib
import logging
import os
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.markup import escape
from typer.core import TyperGroup

from model.errors import ModelError
from pipeline.errors import InputError, RunError, refusal
from pipeline.plain_table import visible
from tokenizer.errors import TokenizerError
from webtext.evaluating import evaluate
from webtext.finetuning import finetune
from webtext.generating import generate
from webtext.inspector import inspect
from webtext.model_commands import model_app
from webtext.paths import keep_local, without_credentials
from webtext.plan_command import plan
from webtext.shard_commands import export, inspect_shard
from webtext.terminal import JsonOption, RunArgument, console, errors, print_json, print_whole, show_remarks
from webtext.tokenizer_commands import tokenizer_app

if TYPE_CHECKING:
    from pipeline.config import FetchSettings
    from pipeline.runs import Folder

_STAGES = ("collect", "link", "fetch", "extract", "filter", "dedupe", "tokenizer", "shard")


def _known_stage(name: str | None) -> str | None:
    """A stage's name; where it is none, typer's error with the likeliest."""
    if name is None or name in _STAGES:
        return name
    near = difflib.get_close_matches(name, _STAGES, n=1)
    meant = f"; did you mean {near[0]}?" if near else "."
    raise typer.BadParameter(f"there is no stage {name!r}{meant} The stages are {', '.join(_STAGES)}.")


class _Commands(TyperGroup):
    """The commands; what stands before their names is told from what may stand behind them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] != "--help":
            raise InputError(
                f"{args[0]} stands before the command. Options stand behind it: webtext status RUN --json. "
                "webtext --help lists the commands, webtext COMMAND --help a command's options."
            )
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Commands,
    help="Makes a WebText: Reddit's links, their pages, a deduplicated corpus, token shards, and models.",
    epilog="Begin with: webtext demo. Or with: webtext init webtext.toml, then webtext build webtext.toml. "
    "Each command's --help has an example. Exit status: 2 for bad input, 1 for a run that failed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(tokenizer_app, name="tokenizer")
app.add_typer(model_app, name="model")


class Source(StrEnum):
    """Where a retry looks for pages."""

    WEB = "web"
    WAYBACK = "wayback"
    COMMONCRAWL = "commoncrawl"


SettingsFile = Annotated[Path, typer.Argument(metavar="FILE", help="The settings file (webtext init).")]
RunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="DIR", help="The run directory, in place of the file's run.dir."),
]

_INTERRUPTED = 130  # the status with which typer ends a command at Ctrl-C


def main() -> NoReturn:
    """Runs the command; bad input or settings end with exit status 2, a failed run with 1."""
    logging.getLogger().setLevel(logging.ERROR)  # the libraries' remarks are not for our users
    show_remarks("model")
    # A folder or module "pipeline" where the command is given is not what its processes are to import.
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        app()
    except (InputError, TokenizerError, ModelError) as error:
        _fail(error, 2)
    except RunError as error:
        _fail(error, 1)
    except OSError as error:  # a full disk, a file that may not be read or written
        _fail(refusal(error.errno, error.filename) or error, 1)
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            errors.print("stopped; the same command goes on from what is there")
        raise
    sys.exit(0)


def _fail(error: Exception | str, status: int) -> NoReturn:
    # What others wrote may be quoted in it, and is not to act on the terminal.
    said = "\n".join(map(visible, without_credentials(str(error)).split("\n")))
    errors.print(f"[bold red]error:[/] {escape(said)}")
    sys.exit(status)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The settings file to write.")],
) -> None:
    """Write a settings file with every setting, its default and what it means.

    Example: webtext init webtext.toml
    """
    from webtext.settings import Settings, render

    if file.exists():
        raise InputError(f"{file} is there already; give another name, or remove it first.")
    if not file.parent.is_dir():
        raise InputError(f"there is no folder {file.parent}; make it first.")
    file.write_text(render(Settings()), "utf-8")
    console.print(
        f"wrote {file}: name your dumps under \\[collect] and yourself as contact under \\[fetch], "
        f"then run: webtext build {file}"
    )


@app.command()
def build(
    file: SettingsFile,
    run: RunOption = None,
    until: Annotated[
        str, typer.Option(metavar="STAGE", callback=_known_stage, help="The last stage to do.")
    ] = "shard",
    force: Annotated[
        str | None,
        typer.Option(metavar="STAGE", callback=_known_stage, help="A stage to do again, though it is done."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="In place of the file's, as in filter.min_words=100; more than once.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say how long fetch will take by its delays; link must be done."),
    ] = False,
    as_json: JsonOption = False,
    beam_options: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- BEAM_OPTION", help="Beam's own options, such as --runner=FlinkRunner."),
    ] = None,
) -> None:
    """Build a corpus: collect, link, fetch, extract, filter, dedupe, tokenizer, shard.

    What is done is not done again: after an interruption the same command goes on.

    Example: webtext build webtext.toml --until dedupe
    """
    from pipeline.runs import Folder
    from webtext.build import build as build_run
    from webtext.progress import StageLines, StageProgress, show_waterfall, status_facts
    from webtext.settings import load

    settings = load(file, values or ())
    folder = Folder(run or settings.run.dir)
    if dry_run:
        _say_schedule(file, folder, settings.fetch, as_json=as_json)
        return
    watch = StageProgress(console)
    build_run(
        settings,
        folder,
        until=until,
        force=force,
        beam_options=beam_options or (),
        watch=watch,
        on_stage=StageLines(console, watch.begun),
    )
    if as_json:
        print_json(status_facts(folder))
        return
    show_waterfall(folder, console)
    if until == "shard":
        going_on = f"webtext report {folder.uri}; webtext inspect {folder.uri}; webtext pretrain {file}"
        console.print(f"go on with: {going_on}", markup=False, highlight=False, soft_wrap=True)


app.command()(plan)


@app.command()
def retry(
    run: RunArgument,
    reason: Annotated[
        str,
        typer.Option(metavar="REASONS", help="Which failures, as status names them: dns,timeout,http-5xx, …"),
    ],
    source: Annotated[Source, typer.Option(help="Where: the web again, or an archive.")] = Source.WEB,
    as_json: JsonOption = False,
) -> None:
    """Try the links again that fetch has failed to bring, for these reasons and no others.

    The pages that are there stay as they are, and the ledger keeps every try. Afterwards `webtext build`
    goes on with what has changed.

    Example: webtext retry runs/webtext --reason dns,timeout,http-5xx
    """
    from pipeline.fetch.retry import parse_reasons
    from pipeline.runs import Folder
    from webtext.build import retry as retry_run
    from webtext.progress import StageProgress

    folder, reasons = Folder(run), parse_reasons(reason)
    before, after = retry_run(folder, reasons, source=source.value, watch=StageProgress(console))
    num_tried = sum(before.counts.rejected.get(str(one), 0) for one in reasons)
    num_more = after.counts.kept - before.counts.kept
    if as_json:
        print_json({"tried": num_tried, "pages_more": num_more, **after.counts.to_json()})
        return
    console.print(
        f"{num_tried:,} links tried again, {num_more:,} pages more: "
        f"{after.counts.kept:,} of {after.counts.num_in:,}"
    )


def _say_schedule(file: Path, run: "Folder", settings: "FetchSettings", *, as_json: bool) -> None:
    """Prints how long fetch will take, from its links alone."""
    from pipeline.fetch.schedule import read_links_by_domain, render, schedule
    from pipeline.stages import BY_NAME

    if settings.source == "warc":
        console.print('fetch.source is "warc": pages come from files, and no network is needed')
        if as_json:
            print_json({"source": "warc", "schedule": None})
        return
    links = run / BY_NAME["link"].folder
    found = read_links_by_domain(links)
    if found is None:
        raise InputError(
            f"{links.uri}/manifest.json is not there: the links tell how long fetch will take. Make them "
            f"first: webtext build {file} --until link"
        )
    foreseen = schedule(*found, settings)
    if as_json:
        print_json({"source": settings.source, "schedule": asdict(foreseen)})
    else:
        console.print(render(foreseen, settings))


@app.command()
def status(
    run: RunArgument,
    as_json: JsonOption = False,
) -> None:
    """Show how far a run is, how fast a build at work goes, and what became of every record.

    Example: webtext status runs/webtext --json
    """
    from pipeline.runs import Folder
    from webtext.progress import show_waterfall, status_facts

    if as_json:
        print_json(status_facts(Folder(run)))
    else:
        show_waterfall(Folder(run), console)


@app.command("try-filters")
def try_filters(
    run: RunArgument,
    values: Annotated[
        list[str],
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the filter; more than once."),
    ],
    examples: Annotated[
        int, typer.Option(metavar="N", help="Documents to name that would move.", min=0)
    ] = 10,
    as_json: JsonOption = False,
) -> None:
    """Tell what other thresholds of the filter would change, from what the run has measured already.

    Example: webtext try-filters runs/webtext --set filter.min_words=100 --set filter.preset=gopher
    """
    from pipeline.runs import Folder
    from webtext.trying import render, try_values

    tried = try_values(Folder(run), values, examples)
    if as_json:
        print_json(tried.to_json())
    else:
        console.print(render(tried))


@app.command()
def report(
    run: RunArgument,
    as_text: Annotated[
        bool, typer.Option("--text", help="Show the numbers here, and write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the run's report: numbers, charts and a data card; with --text or --json print the numbers alone.

    Example: webtext report runs/webtext --text
    """
    from pipeline.report.page import numbers, write_report
    from pipeline.report.statistics import measure
    from pipeline.report.text import render
    from pipeline.runs import Folder

    folder = Folder(run)
    if as_json:
        print_json(numbers(measure(folder)))
    elif as_text:
        print_whole(render(measure(folder), plain=not console.is_terminal))
    else:
        written = write_report(folder)
        console.print(
            f"the report is {written.uri}/index.html; its numbers are in stats.json, the card is card.md"
        )


@app.command("extract-audit")
def extract_audit(
    run: RunArgument,
    sample: Annotated[int, typer.Option(metavar="N", help="The most pages to compare.", min=1)] = 100,
    as_json: JsonOption = False,
) -> None:
    """Compare the extractors over a sample of a run's stored pages, side by side; nothing is fetched.

    Example: webtext extract-audit runs/webtext --sample 200
    """
    from pipeline.report.extract_audit import audit_extractors, tables
    from pipeline.report.extract_audit_page import write_page
    from pipeline.runs import Folder
    from webtext.settings import load_run

    folder = Folder(run)
    settings = load_run(folder).extract
    with errors.status("every extractor reads the sample's pages"):
        audit = audit_extractors(folder, settings, sample)
    page = write_page(folder, audit)
    if as_json:
        print_json({**audit.to_json(), "page": page})
        return
    console.print(*tables(audit), sep="\n")
    console.print(f"\nthe texts side by side: {page}", markup=False)


@app.command()
def verify(run: RunArgument, as_json: JsonOption = False) -> None:
    """Check every checksum, count and reference of a run; exit status 1 where one is wrong.

    Example: webtext verify runs/webtext
    """
    from pipeline.runs import Folder
    from pipeline.status import require_run
    from pipeline.verify import verify as verify_run

    folder = Folder(run)
    require_run(folder)
    problems = verify_run(folder)
    if as_json:
        print_json({"run": run, "problems": [asdict(problem) for problem in problems]})
    for problem in problems:
        console.print(f"[red]✗[/] {escape(str(problem))}")
    if problems:
        number = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise RunError(f"{run}: {number} found.")
    console.print(f"{run}: every checksum, count and reference is right")


app.command()(inspect)
app.command("inspect-shard")(inspect_shard)
app.command()(export)


@app.command()
def remove(  # noqa: PLR0913, PLR0917 (an option each)
    run: RunArgument,
    urls: Annotated[Path | None, typer.Option(metavar="FILE", help="URLs to remove, one a line.")] = None,
    domains: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Domains, with their subdomains, one a line.")
    ] = None,
    submissions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Submissions (t3_abc123), one a line.")
    ] = None,
    documents: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Documents' ids, one a line.")
    ] = None,
    keep_near_duplicates: Annotated[
        bool,
        typer.Option(
            "--keep-near-duplicates",
            help="Remove only what has the very same text. What dedupe has left out because it is like a "
            "removed document stays out of the corpus.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed; nothing changes.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish a removal that was interrupted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove documents and their near-duplicates from all of a run, for good: later builds refuse them.

    One list says which. Only the parts and shards that have them are written anew. What is left tells ids and
    digests, no content.

    Example: webtext remove runs/webtext --urls takedown.txt --dry-run
    """
    from pipeline.remove.request import Kind
    from pipeline.runs import Folder
    from webtext.build import remove as remove_from
    from webtext.build import resume_removal
    from webtext.removing import render

    given = {
        kind: file
        for kind, file in zip(Kind, (urls, domains, submissions, documents), strict=True)
        if file is not None
    }
    if len(given) + resume != 1:
        raise InputError("give one of --urls, --domains, --submissions, --documents, or --resume.")
    folder = Folder(run)
    if resume:
        removal = resume_removal(folder)
    else:
        ((kind, file),) = given.items()
        removal = remove_from(folder, kind, file, near_duplicates=not keep_near_duplicates, dry_run=dry_run)
    if as_json:
        print_json({**removal.to_json(), "dry_run": dry_run})
    else:
        console.print(render(removal, run, dry_run=dry_run), markup=False)


@app.command()
def pretrain(file: SettingsFile, run: RunOption = None, as_json: JsonOption = False) -> None:
    """Pretrain the model that the settings describe on a run's shards.

    It goes on from the newest checkpoint, if there is one.

    Example: webtext pretrain webtext.toml
    """
    from webtext.settings import load
    from webtext.training import is_first_process, local_run, pretrain_with_progress

    settings = load(file)
    folder = local_run(run or settings.run.dir, settings.train)
    result = pretrain_with_progress(folder, settings.model, settings.train, console)
    if as_json and is_first_process():
        print_json({**asdict(result), "checkpoint": str(result.checkpoint)})


app.command()(generate)
app.command()(finetune)
app.command()(evaluate)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="The folder to work in.")] = Path(
        "demo"
    ),
    pages: Annotated[int, typer.Option(metavar="N", help="Pages of the demo's web.", min=60)] = 1200,
    minutes: Annotated[float, typer.Option(help="Minutes to train each model.", min=0.01)] = 1.0,
) -> None:
    """Do everything once, on a web of its own on loopback: no network, account or GPU.

    Example: webtext demo --pages 300 --minutes 0.5
    """
    from webtext.demo.run import run_demo

    run_demo(folder, num_pages=pages, minutes=minutes, console=console)


for commands in (app, tokenizer_app, model_app):
    keep_local(commands)
