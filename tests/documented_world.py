"""A folder in which there is all that the documents' commands name, under the names that they give it."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from model.config import GPT2Config, ModelSettings, TrainSettings
from model.exchange.exchange import import_checkpoint
from pipeline.config import DedupeSettings
from pipeline.runs import Folder
from pipeline.stages import BY_NAME, Job, execute
from tests.document_parts import document, table, write_parts
from tests.finetune_checkpoints import write_checkpoints
from tests.test_model_exchange import write_small
from webtext.build import build
from webtext.demo.dump import write_dump
from webtext.demo.run import demo_settings
from webtext.demo.server import serve
from webtext.demo.site import build_site
from webtext.settings import Settings, load, render

NUM_PAGES = 60
VOCAB_SIZE = 300  # so small that a shard of few pages has more tokens than a document asks for

RUN = "runs/webtext"
OTHER_RUNS = ("runs/2019", "runs/2020", "runs/2019-06")
EARLIER_MONTHS = ("runs/2019-04", "runs/2019-05")


@contextlib.contextmanager
def world(folder: Path) -> Iterator[Path]:
    """Makes the folder; while this lasts, the web that the run was crawled from is served."""
    (folder / "dumps").mkdir(parents=True)
    site = build_site(NUM_PAGES)
    write_dump(site, folder / "dumps" / "RS_2019-06.zst")
    shutil.copy(folder / "dumps" / "RS_2019-06.zst", folder)
    with serve(site) as server:
        (folder / "webtext.toml").write_text(render(_settings(server.resolve)))
        settings = load(folder / "webtext.toml")
        build(
            settings,
            Folder(settings.run.dir),
            watch=lambda *_: contextlib.nullcontext(),
            on_stage=lambda _: None,
        )
        for other in OTHER_RUNS:
            (folder / other).symlink_to("webtext")
        for month in EARLIER_MONTHS:
            _write_corpus(Folder(str(folder / month)))
        _write_requests(folder)
        _write_models(folder)
        _write_evaluation_sets(folder)
        yield folder


def _settings(resolve: dict[str, str]) -> Settings:
    demo = demo_settings(resolve)
    return demo.model_copy(
        update={
            "run": demo.run.model_copy(update={"dir": RUN}),
            "collect": demo.collect.model_copy(update={"dumps": ("dumps/RS_2019-*.zst",)}),
            "fetch": demo.fetch.model_copy(update={"timeout_s": 0.5}),
            "tokenizer": demo.tokenizer.model_copy(update={"vocab_size": VOCAB_SIZE}),
            "model": ModelSettings(preset="tiny", context=32),
            "train": TrainSettings(steps=1, batch_tokens=64, device="cpu"),
        }
    )


def _write_corpus(run: Folder) -> None:
    """A corpus that is finished and says other things."""
    rows = [document(f"{n:032x}", " ".join(f"word{n}x{i}" for i in range(80))) for n in range(3)]
    job = Job(BY_NAME["dedupe"], run, DedupeSettings(), {"filter": write_parts(run, "filter", [table(rows)])})
    execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())


def _write_requests(folder: Path) -> None:
    """Lists of what is to be removed, of a document that is there."""
    found = pq.read_table(folder / RUN / "corpus" / "part-00000.parquet").slice(0, 1).to_pylist()[0]
    (folder / "takedown.txt").write_text(f"{found['url']}\n")
    (folder / "documents.txt").write_text(f"{found['id']}\n")
    (folder / "submissions.txt").write_text(f"{found['submissions'][0]}\n")
    (folder / "domains.txt").write_text(f"{found['url'].split('/')[2]}\n")


def _write_models(folder: Path) -> None:
    """Checkpoints of ours, and models as transformers has them; ``gpt2`` has GPT-2's vocabulary files too."""
    made = write_checkpoints(folder / "made")
    checkpoints = folder / RUN / "checkpoints"
    shutil.move(made["gpt2"].parent, checkpoints / "gpt2-124M")
    shutil.move(made["albert"].parent, checkpoints / "albert-base")
    shutil.rmtree(folder / "made")
    for name in ("gpt2", "gpt2-xl", "gpt2-webtext"):
        write_small(folder / name, GPT2Config(vocab_size=325, context=64, layers=1, width=16, heads=2))
    import_checkpoint(folder / "gpt2", folder / "checkpoints" / "gpt2")
    shutil.copy(folder / "gpt2" / "vocab.json", folder / "encoder.json")
    shutil.copy(folder / "gpt2" / "merges.txt", folder / "vocab.bpe")


def _write_evaluation_sets(folder: Path) -> None:
    """Files of the official forms, and what is fine-tuned on."""
    texts = [
        f"The {one} sees a dog. The dog follows the {one}" for one in ("cat", "horse", "sparrow", "whale")
    ]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "lambada_test.jsonl").write_text(lines)
    (folder / "documents.jsonl").write_text(lines)
    for name in ("coqa-dev-v1.0.json", "coqa-train-v1.0.json"):
        (folder / name).write_text(json.dumps(_conversation(texts[0])))
    (folder / "SST-2").mkdir()
    for name in ("train", "dev"):
        rows = ["sentence\tlabel", *(f"{text}\t{number % 2}" for number, text in enumerate(texts))]
        (folder / "SST-2" / f"{name}.tsv").write_text("\n".join(rows) + "\n")
        (folder / f"{name}-v2.0.json").write_text(json.dumps(_questions(texts)))


def _conversation(story: str) -> dict[str, Any]:
    def turn(text: str) -> list[dict[str, Any]]:
        return [{"turn_id": 1, "input_text": text, "span_text": "", "span_start": 0, "span_end": 0}]

    others = {str(one): turn("a dog") for one in range(3)}
    turns = {"questions": turn("What does it see?"), "answers": turn("a dog"), "additional_answers": others}
    return {"version": "1.0", "data": [{"source": "made", "id": "1", "story": story, **turns}]}


def _questions(texts: list[str]) -> dict[str, Any]:
    paragraphs = [
        {
            "context": text,
            "qas": [
                {
                    "id": f"q{number}",
                    "question": "What does it see?",
                    "answers": [{"text": "a dog", "answer_start": text.index("a dog")}],
                }
            ],
        }
        for number, text in enumerate(texts)
    ]
    return {"version": "2.0", "data": [{"title": "Animals", "paragraphs": paragraphs}]}
