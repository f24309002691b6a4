"""What a build and a training would come to: the sample, this machine and the constants put together."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

from model.config import ModelSettings, TrainSettings
from model.training.flops import flops_per_token, peak_flops
from model.training.recipe import resolve_recipe
from pipeline.config import Extraction
from pipeline.errors import InputError
from pipeline.forecast.calibration import Sections, calibrate
from pipeline.forecast.constants import CONSTANTS, Constant
from pipeline.forecast.finished import read_constants
from pipeline.forecast.forecast import Figure, Forecast, Wanted, foresee
from pipeline.forecast.links import pool
from pipeline.forecast.ranges import Range, product
from pipeline.forecast.sample import SourceSample, sample_sources
from pipeline.link.opt_out import read_opt_outs
from pipeline.plain_table import percentage
from pipeline.runs import Folder
from webtext.settings import Settings

_CALIBRATION_S: Final = 3.0  # for each of extract, filter and dedupe
_DAY_S: Final = 86_400
_MANY_PARTS: Final = 5_000  # beyond, what grows with their number is felt (docs/scale.md)

# What share of a GPU's peak (model/training/flops.py has them, with their sources) training reaches.
# GPUs that are not named are taken to reach what is usual.
UTILISATION: Final[Mapping[str, Constant]] = {
    "A100": Constant(
        Range(0.30, 0.45, 0.60),
        "of the peak",
        "GPT-2 124M on 8 A100: nanoGPT 30 %, llm.c 60 % (their READMEs)",
    ),
    "H100": Constant(
        Range(0.30, 0.40, 0.47), "of the peak", "GPT-2 124M: llm.c 40 % on 8 H100; high: the H200's figure"
    ),
    "H200": Constant(
        Range(0.35, 0.449, 0.472),
        "of the peak",
        "benchmarks/RESULTS.md, gpu: GPT-2 124M: the network compiled 44.9 %, with 50,304 ids 47.2 %; "
        "training from end to end is unmeasured, and low a judgement for it",
    ),
}
USUAL: Final = Constant(
    Range(0.20, 0.35, 0.50), "of the peak", "a judgement, by the others: this GPU was not measured"
)
GPUS: Final = ("H200", "H100", "A100", "RTX 4090")


@dataclass(frozen=True, slots=True)
class Training:
    """What training comes to on one kind of GPU: days as the settings say, and for one pass of the corpus."""

    gpu: str
    days: Range
    days_a_pass: Range
    basis: str
    source: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What was read and measured, and what is foreseen by it."""

    samples: list[SourceSample]
    forecast: Forecast
    constants: Mapping[str, Constant]
    model: str
    tokens: int  # that training reads, as it is set
    flops: float  # a token
    training: tuple[Training, ...]
    wanted: Wanted
    like: str
    notes: tuple[str, ...]
    seconds: float


def make_plan(
    settings: Settings,
    *,
    like: str | None,
    machines: int,
    gpus: tuple[str, ...],
    seconds: float,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Reads a sample, measures this machine, and puts the forecast together.

    Raises:
        InputError: There is nothing to read, it cannot be read, or a GPU is not known.
    """
    started = time.monotonic()
    _check_gpus(gpus)
    measured = read_constants(Folder(like)) if like else dict(CONSTANTS)
    opt_outs = read_opt_outs(settings.link, settings.collect.urls)
    samples = sample_sources(settings.collect, seconds, lambda path: say(f"reading {Path(path).name}"))
    say("measuring this machine")
    sections = Sections(
        link=settings.link,
        urls=settings.collect.urls,
        extract=cast(Extraction, settings.section("extract")),
        filter=settings.filter,
        dedupe=settings.dedupe,
    )
    ours = calibrate(samples, opt_outs, sections, min(_CALIBRATION_S, seconds))
    constants = {**measured, **ours}  # a finished run has no figures of this machine's speed
    wanted = Wanted(
        sections=sections,
        fetch=settings.fetch,
        tokenizer=settings.tokenizer,
        shard=settings.shard,
        machines=machines,
        cores=os.cpu_count() or 1,
        today=datetime.now(UTC).date(),
    )
    forecast = foresee(samples, pool(samples, opt_outs), constants, wanted)
    tokens, flops = work_of_training(settings.model, settings.train, settings.tokenizer.vocab_size)
    return Plan(
        samples=samples,
        forecast=forecast,
        constants=constants,
        model=f"{settings.model.architecture} {settings.model.preset_name}",
        tokens=tokens,
        flops=flops,
        training=tuple(_training(gpu, tokens, forecast.figure("tokens"), flops) for gpu in gpus),
        wanted=wanted,
        like=like or "",
        notes=tuple(_notes(settings, samples, forecast)),
        seconds=time.monotonic() - started,
    )


def work_of_training(model: ModelSettings, train: TrainSettings, vocab_size: int) -> tuple[int, float]:
    """The tokens that training reads as it is set, and the model FLOPs of each."""
    recipe = resolve_recipe(model, train)
    return recipe.tokens, flops_per_token(model.resolve(vocab_size=vocab_size)).model


def _check_gpus(gpus: tuple[str, ...]) -> None:
    for gpu in gpus:
        if peak_flops(gpu) is None:
            raise InputError(
                f"--gpu {gpu}: its peak speed is not in the table of model/training/flops.py; name one such "
                f"as {', '.join(GPUS)}."
            )


def _training(gpu: str, tokens: int, corpus: Figure, flops: float) -> Training:
    peak = peak_flops(gpu) or 1.0  # checked before
    reached = next((one for name, one in UTILISATION.items() if name.lower() in gpu.lower()), USUAL)
    a_token = product((Range.exact(flops / peak / _DAY_S), reached.value.inverse()))
    return Training(
        gpu=gpu,
        days=a_token * tokens,
        days_a_pass=product((a_token, corpus.value)),
        basis=f"{_percent(reached.value)} of {peak / 1e12:,.0f} TFLOP/s in bf16",
        source=reached.source,
    )


def _percent(value: Range) -> str:
    low, high = (percentage(end, 1, digits=0) for end in (value.low, value.high))
    return f"{low} to {high}"


def _notes(settings: Settings, samples: list[SourceSample], forecast: Forecast) -> list[str]:
    """What the answer leaves out, or should make people think."""
    notes = []
    beginnings = [one for one in samples if not one.is_whole and one.num_places == 1]
    if beginnings:
        names = "one file" if len(beginnings) == 1 else f"{len(beginnings):,} files"
        notes.append(
            f"of {names} only the beginning was read, as the packing (one stream), the format (Parquet, CSV) "
            "or the time allowed no more: the first days of a month stand for all of it"
        )
    for one in samples:
        notes += [
            f"{one.path} is damaged ({cause}); what lies before counts"
            if not place
            else f"{one.path} is damaged somewhere behind byte {place:,} ({cause}): collect gets no "
            "further than that, and the plan counts the rest too"
            for place, cause in one.damages.items()
        ]
    reddit = settings.collect.reddit
    if reddit.subreddits and not Path(reddit.dump).is_file():
        notes.append(
            "what Reddit's API will answer cannot be sampled, and is left out: at the most 1,000 submissions "
            f"for each of {len(reddit.subreddits):,} subreddits and listing"
        )
    num_parts = forecast.likely("submissions") / settings.link.submissions_per_part
    if num_parts > _MANY_PARTS:
        notes.append(
            f"some {num_parts:,.0f} parts make every look at the run slow (docs/scale.md): set "
            f"link.submissions_per_part to {10 * settings.link.submissions_per_part:,} before the first build"
        )
    if settings.dedupe.against:
        notes.append("dedupe.against is left out: what other corpora have said will be missing besides")
    if settings.filter.preset != "webtext":
        notes.append(
            f'filter.preset = "{settings.filter.preset}" keeps less than the constants know of: try a small '
            "run, then plan with --like"
        )
    if forecast.crawl is not None and settings.fetch.rescue:
        notes.append("archives are asked one request after another, so more machines do not speed them up")
    return notes
