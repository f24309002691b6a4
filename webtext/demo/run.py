"""The demo: the main job from a dump to two small models, on a web that it makes and serves itself."""

import itertools
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from model.config import ModelSettings, TrainSettings
from pipeline.config import (
    CollectSettings,
    FetchSettings,
    LinkSettings,
    RunSettings,
    ShardSettings,
)
from pipeline.errors import InputError
from pipeline.runs import Folder
from tokenizer.config import TokenizerSettings
from webtext.demo.dump import FILE_NAME, write_dump
from webtext.paths import near
from webtext.settings import Settings, load, render

_PROMPTS = {"gpt2": "The function returns", "albert": "If the argument is not [MASK], an error is raised."}
_SAMPLE_TOKENS = 60


def run_demo(folder: Path, *, num_pages: int, minutes: float, console: Console) -> None:
    """Makes a web and a dump, builds a corpus from them, reports on it and trains a GPT-2 and an ALBERT.

    What an earlier, interrupted demo has done in ``folder`` is not done again, if its web was the same.

    Args:
        folder: Where everything goes; made where it is not there.
        num_pages: Articles of the demo's web.
        minutes: How long each model is trained.
        console: Where progress is shown.

    Raises:
        InputError: ``folder`` holds something else.
        RunError: A stage failed.
    """
    from webtext.demo.server import serve
    from webtext.demo.site import build_site

    started = time.monotonic()
    settings_file, dump = folder / "webtext.toml", folder / FILE_NAME
    if folder.exists() and {path.name for path in folder.iterdir()} - {settings_file.name, dump.name, "run"}:
        raise InputError(f"{folder} holds something else than a demo: give another folder with --dir.")
    folder.mkdir(parents=True, exist_ok=True)
    console.print("[bold]a web of its own[/], made of the documentation of the Python modules here")
    site = build_site(num_pages)
    before = dump.read_bytes() if dump.exists() else None
    write_dump(site, dump)
    if before is not None and before != dump.read_bytes():
        console.print("  another web than in the demo before, so everything is done anew")
        shutil.rmtree(folder / "run", ignore_errors=True)
    with serve(site) as server:
        settings_file.write_text(render(demo_settings(server.resolve)), "utf-8")
        console.print(
            f"  {len(site.pages):,} URLs on {len(server.resolve)} host names, served at {server.address}\n"
            f"  the submissions are {dump}, the settings {settings_file}\n"
        )
        _build(settings_file, console)
    _train(settings_file, minutes, console)
    _conclude(folder, console)
    console.print(f"[bold green]done[/] in {time.monotonic() - started:.0f} s")


def demo_settings(resolve: dict[str, str]) -> Settings:
    """What the demo sets otherwise than the defaults do."""
    return Settings(
        run=RunSettings(dir="run"),
        collect=CollectSettings(dumps=(FILE_NAME,)),
        link=LinkSettings(submissions_per_part=150),
        fetch=FetchSettings(
            contact="demo@example.org",
            delay_s=0.02,
            timeout_s=4.0,
            tries=1,
            retry_wait_s=0.5,
            max_crawl_delay_s=2.0,
            resolve=resolve,
        ),
        tokenizer=TokenizerSettings(vocab_size=4096),
        shard=ShardSettings(val_fraction=0.05, tokens_per_shard=500_000),
        model=ModelSettings(architecture="gpt2", preset="tiny"),
        train=TrainSettings(steps=600, eval_every=200),
    )


def _build(settings_file: Path, console: Console) -> None:
    from webtext.build import build
    from webtext.progress import StageLines, StageProgress

    settings = load(settings_file)
    run = Folder(settings.run.dir)
    watch = StageProgress(console)
    build(settings, run, watch=watch, on_stage=StageLines(console, watch.begun))
    console.print()


def _conclude(folder: Path, console: Console) -> None:
    """Writes the report, and says what there is now and where."""
    from pipeline.report.page import write_report
    from webtext.progress import show_waterfall

    run = folder / "run"
    webtext = "webtext" if shutil.which("webtext") else near(Path(sys.executable).parent / "webtext")
    write_report(Folder(str(run)))
    show_waterfall(Folder(str(run)), console)
    console.print(
        f"  report       {run}/report/index.html\n"
        f"  corpus       {run}/corpus/ (Parquet)\n"
        f"  shards       {run}/shards/\n"
        f"  tokenizer    {run}/tokenizer/\n"
        f"  checkpoints  {run}/checkpoints/\n"
        "look further with\n"
        f"  {webtext} inspect {run}\n"
        f"  {webtext} status {run}\n"
        f"  {webtext} verify {run}\n"
        f'  {webtext} generate {run}/checkpoints/gpt2-tiny --prompt "The module"'
    )


def _train(settings_file: Path, minutes: float, console: Console) -> None:
    from model.generation.generate import generate, load_checkpoint
    from webtext.training import pretrain_with_progress

    settings = load(settings_file)
    train = settings.train.model_copy(update={"max_minutes": minutes})
    for architecture, prompt in _PROMPTS.items():
        model = ModelSettings.model_validate({"architecture": architecture, "preset": "tiny"})
        result = pretrain_with_progress(Path(settings.run.dir), model, train, console)
        pieces = generate(
            load_checkpoint(result.checkpoint), prompt, _SAMPLE_TOKENS, temperature=0.8, top_k=40
        )
        sample = "".join(itertools.islice(pieces, 4 * _SAMPLE_TOKENS)).strip()
        sample = sample.replace("\n", "⏎") if architecture == "albert" else sample
        before = "" if architecture == "albert" else f"[dim]{escape(prompt)}[/] "
        console.print(f"  {before}{escape(sample)}\n")
