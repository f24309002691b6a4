"""What people and earlier runs have written: settings, lists, prompts, and a run's own small files."""

import json
from contextlib import suppress
from typing import Any

import xxhash

from pipeline.config import LinkSettings, UrlSettings
from pipeline.engines.sign import JobRecord
from pipeline.errors import InputError, RunError
from pipeline.export import target as export
from pipeline.fetch import spool
from pipeline.fetch.ledger import Entry
from pipeline.fetch.pauses import Pauses
from pipeline.inspector.judging.labels import Labelled, Labels
from pipeline.link.opt_out import read_opt_outs
from pipeline.remove.request import Kind, read_request
from pipeline.remove.staged import pending
from pipeline.report.statistics import _steps
from pipeline.runs import Counts, File, Folder, Manifest, Part, finished, read_manifest, read_sidecar
from pipeline.stages import Planned, read_plan
from tests.fuzz.target import Target, as_text, file_of, scratch
from webtext.generating import _read_prompts
from webtext.settings import Settings, load, render, with_values

_ID = "0123456789abcdef" * 2


def settings_files(data: bytes) -> bool:
    """A settings file; what it comes to can be written and read again."""
    try:
        found = load(file_of(data, "webtext.toml"))
    except InputError:
        return False
    again = render(found, comments=False)
    assert (
        render(load(file_of(again.encode("utf-8", "surrogatepass"), "again.toml")), comments=False) == again
    )
    return True


def assignments(data: bytes) -> bool:
    """Values that stand on the command line, one a line."""
    try:
        with_values(Settings(), as_text(data).split("\n"))
    except InputError:
        return False
    return True


def owners_lists(data: bytes) -> bool:
    """A list of what owners want out, before a build and after it."""
    path = file_of(data, "out.txt")
    taken = 0
    with suppress(InputError):
        taken += bool(read_opt_outs(LinkSettings(opt_out_lists=(str(path),)), UrlSettings()).digest())
    for kind in Kind:
        try:
            read_request(kind, path, UrlSettings()).opt_outs()
        except InputError:
            continue
        taken += 1
    return taken > 0


def prompts(data: bytes) -> bool:
    """A file of prompts, plain or as JSON lines."""
    taken = 0
    for name in ("prompts.txt", "prompts.jsonl"):
        try:
            taken += bool(_read_prompts(file_of(data, name)))
        except InputError:
            continue
    return taken == 2


def run_records(data: bytes) -> bool:
    """A run's small files of JSON, damaged or not this project's: each reader on the same bytes."""
    file_of(data, "run/manifest.json")
    file_of(data, "run/part-00000.json")
    file_of(data, "run/plan.json")
    file_of(data, "run/job.json")
    file_of(data, "run/removed/pending.json")
    file_of(data, f"run/inspect/labels/{_ID}.json")
    run = Folder(str(scratch() / "run"))
    sidecar = read_sidecar(run, "part-00000")
    finished(run, {"part-00000": "f"})
    found: list[Any] = [
        sidecar,
        read_plan(run),
        JobRecord.read(run),
        export._present(run),
        Labels(run).of(_ID).changed,
    ]
    with suppress(InputError):
        found.append(read_manifest(run))
    with suppress(RunError):
        found.append(pending(run))
    found += _steps(data)
    return any(found)


def crawl_journals(data: bytes) -> bool:
    """The journal of a part that is being fetched, its lines sealed anew where the first byte says so."""
    again, body = data[:1] == b"1", data[1:]
    if again:
        body = b"".join(spool._sealed(line) for line in body.split(b"\n"))
    file_of(bytes(100), "open/part-00000.warc.gz")
    file_of(body, "open/part-00000.journal")
    part = spool.open_part(scratch() / "open", Planned("part-00000", "f"))
    assert part.num_bytes <= 100
    return bool(list(part.lines())) or part.header.generation > 1


def pauses(data: bytes) -> bool:
    """The pauses that hosts have asked for, as a crawl that was killed has left them."""
    found = Pauses(file_of(data, "pauses")).read()
    return sum(pause.left_s(1.5e9) for pause in found.values()) >= 0 and bool(found)


def _settings() -> tuple[bytes, ...]:
    return (
        b'[collect]\ndumps = ["a"]\nsince = 2019-06-01\n[fetch]\nresolve = { "a.b" = "127.0.0.1:80" }\n',
        render(Settings(), comments=False).encode(),
    )


def _lists() -> tuple[bytes, ...]:
    return (
        b"example.com # a remark\nhttps://example.com/page\nt3_abc123\n",
        b"\xef\xbb\xbfhttps://example.com/a\r\nhttps://example.com/b\n",
        b"example.com\nwww.example.org\n", b"t3_abc\nt3_abd\n", _ID.encode() + b"\n",
    )  # fmt: skip


def _records() -> tuple[bytes, ...]:
    file = File("part-00000.parquet", 0, 1, "0" * 64)
    part = Part("part-00000", "f", Counts(2, 1, {"bad_url": 1}), (file,), {"months": {"2005-06": 1}}, 1.5)
    manifest = Manifest(
        "collect", "0.1.0", "f", {"a": 1}, {"b": "c"}, Counts(2, 1, {"bad_url": 1}), (part,), {}
    )
    one = export.Export("jsonl", "run", "s", "t", 260, 256, {"train": 1}, {"train": 1}, (file,))
    label = {
        **Labelled(_ID, "https://example.com/", ("good",), "note").to_json(),
        "changed": "2020-01-01T00:00:00+00:00",
    }
    job = {"name": "a", "endpoint": None, "flink_master": "b"}
    values = (
        part.to_json(), {"parts": ["part-00000"]}, job, label,
        {"step": 3, "loss": 2.5, "val_loss": None},
    )  # fmt: skip
    return (manifest.encode(), one.encode(), *(json.dumps(value).encode() for value in values))


def _journals() -> tuple[bytes, ...]:
    header = spool.Header(fingerprint="f", generation=2, base={"files": []}, due={_ID: 2})
    checksum = xxhash.xxh3_64_intdigest(bytes(60))
    line = spool.Line(
        entry=Entry(_ID, "https://example.com/", "fetched"), final=True, end=60, checksum=checksum
    )
    lines = [spool._encoder.encode(header), spool._encoder.encode(line), spool._encoder.encode(line)]
    return b"1" + b"\n".join(lines), b"0" + b"".join(map(spool._sealed, lines))


def _pauses() -> tuple[bytes, ...]:
    return (b'{"origin":"https://example.com:443","asked_s":60.0,"until":1500000060.0}\n' * 2,)


_IN_SETTINGS = (
    *b"[run] [collect] [link] [fetch] [filter] [model] [train] [[a]] a.b.c = \"\"\" ''' inf nan".split(),
    *b"1e400 0o7 1979-05-27".split(),
    b"\nmin_karma = ", b"\ndelay_s = ", b"\ncontact = ", b"\nresolve = { ", b"\nport = ", b"train.tokens=",
    b"filter.min_words=", b"2019-13-45", b"9999-12-31", b"{}", b"[1, [2]]",
)  # fmt: skip
_IN_RECORDS = (
    *b'"name" "parts" "files" "counts" "in" "kept" "rejected" "facts" "seconds" "bytes" "changed"'.split(),
    *b'"labels" "step"'.split(),
    *b'"entry" "end" "checksum" "origin" "until" {} [] [[]] {"a":{}} "../a" null true 1e400 -1'.split(),
)

TARGETS = (
    Target(settings_files, _settings, _IN_SETTINGS),
    Target(
        assignments,
        lambda: (b"filter.min_words=100", b'link.opt_out=["example.com"]\nrun.dir=x'),
        _IN_SETTINGS,
    ),
    Target(
        owners_lists, _lists, (b"t3_", b"://", b"#", b"www.", b"co.uk", "\u3002".encode(), b"xn--", b"&amp;")
    ),
    Target(prompts, lambda: (b'"A prompt"\n{"prompt": "Another"}\r\n',), (b'"prompt"', b"{}", b"[]")),
    Target(run_records, _records, _IN_RECORDS),
    Target(crawl_journals, _journals, _IN_RECORDS),
    Target(pauses, _pauses, _IN_RECORDS),
)
