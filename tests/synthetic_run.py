"""A whole small run, written by hand as the stages write it: for the tests of what reads runs."""

import gzip
import hashlib
import io
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from pipeline import config
from pipeline.canonical import key_of
from pipeline.dedupe.figures import cluster_figures
from pipeline.extract.metadata import Metadata
from pipeline.filter.plan import MEASURED
from pipeline.filter.settings import FilterSettings
from pipeline.records import (
    CLUSTERS,
    CORPUS,
    DOCUMENTS,
    FILTERED,
    LEDGER,
    LINKS,
    REJECTED,
    SHARD_DOCUMENTS,
    SUBMISSIONS,
)
from pipeline.records import MEASURED as MEASURED_SCHEMA
from pipeline.runs import Counts, Folder, Manifest, PartWriter
from pipeline.shard.split import SPLITS, splits_of
from pipeline.stages import BY_NAME, Job, Plan, Planned, _commit, part_name
from pipeline.urls import domain_hash, registrable_domain
from tests.document_parts import NOTHING_MEASURED
from tokenizer.config import TokenizerSettings
from tokenizer.files import MERGES_TXT, TOKENIZER_JSON, VOCAB_JSON, write_tokenizer
from tokenizer.tokenfile import Index, document_index, index_bytes, token_dtype
from tokenizer.vocabulary import Vocabulary

SETTINGS: Mapping[str, Any] = {
    "collect": config.CollectSettings(),
    "link": config.LinkSettings(),
    "fetch": config.FetchSettings(),
    "extract": config.Extraction(),
    "filter": FilterSettings(languages=("en", "de"), min_words=10),
    "dedupe": config.DedupeSettings(),
    "tokenizer": TokenizerSettings(vocab_size=257),
    "shard": config.ShardSettings(val_fraction=0.1, test_fraction=0.1),
}

NUM_PARTS = 2
SUBREDDITS = ("news", "programming", "science", "books")
LANGUAGES = ("en", "en", "en", "de")
START = datetime(2019, 10, 1, tzinfo=UTC)
FETCHED = datetime(2020, 1, 2, tzinfo=UTC)
EXTRACTOR = "trafilatura 2.1.0"

Rows = list[dict[str, Any]]


def write_run(
    path: Path,
    num_links: int = 60,
    upto: str = "shard",
    *,
    months: Mapping[str, tuple[int, int]] | None = None,
    damage: Mapping[str, int] | None = None,
    retried: bool = False,
) -> Folder:
    """Writes a run of about ``num_links`` links, up to and with one stage.

    Args:
        path: Where.
        num_links: Those that link knows of, low karma with them.
        upto: The last stage.
        months: Self posts besides: month → how many, and how many of them have a score of 3 or more.
        damage: Damaged dumps → their unpacked bytes that were used.
        retried: Whether some links were tried again after fetch was finished.
    """
    run = Folder(str(path))
    run.write("webtext.toml", b"# Settings digest: 0\n")
    manifests: dict[str, Manifest] = {}
    rows: dict[int, Rows] = {}
    works = {
        "collect": partial(_collect, months=months or {}, damage=damage or {}),
        **_STAGES,
        "fetch": partial(_fetch, retried=retried),
    }
    for name, work in works.items():
        inputs = {before: manifests[before] for before in BY_NAME[name].after}
        job = Job(BY_NAME[name], run, SETTINGS[name], inputs)
        rows = work(job, rows or _split(_links(num_links)))
        sidecars = (path for path in Path(job.folder.path()).glob("*.json") if path.stem not in _FILES)
        parts = tuple(Planned(path.stem, _fingerprint(path.stem)) for path in sorted(sidecars))
        digests = {before: manifest.digest() for before, manifest in inputs.items()}
        manifests[name] = _commit(job, Plan(parts), digests, job.fingerprint(*digests.values()))
        if name == upto:
            break
    return run


_FILES = ("tokenizer", "vocab")  # JSON files that are no sidecars


def _fingerprint(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _writer(job: Job, index: int) -> PartWriter:
    return PartWriter(job.folder, part_name(index), _fingerprint(part_name(index)))


def _links(num: int) -> Rows:
    """What is known of each link, with the fates that later stages have for it."""
    rows = []
    for n in range(num):
        domain = f"site{n % 7}.example"
        canonical = f"{domain}/{n}"
        key = key_of(canonical)
        submissions: Rows = [
            {
                "id": f"s{n}x{m}",
                "score": (n * 7 + m * 13) % 150,
                "subreddit": SUBREDDITS[(n + m) % len(SUBREDDITS)],
                "created": START + timedelta(hours=37 * n + m),
                "retrieved": None,
            }
            for m in range(1 + n % 3)
        ]
        karma = max(one["score"] for one in submissions)
        identity = {"key": key, "id": key.hex(), "canonical": canonical, "domain": domain}
        url = f"https://{canonical}"
        rows.append({**identity, "url": url, "submissions": submissions, "karma": karma, "n": n})
    return rows


def _split(rows: Rows) -> dict[int, Rows]:
    """The rows by part: a domain is in one only."""
    return {index: [row for row in rows if row["n"] % 7 % NUM_PARTS == index] for index in range(NUM_PARTS)}


def _table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema)


def _collect(
    job: Job,
    parts: dict[int, Rows],
    *,
    months: Mapping[str, tuple[int, int]],
    damage: Mapping[str, int],
) -> dict[int, Rows]:
    for index, rows in parts.items():
        submissions = [
            {**one, "key": row["key"], "domain_hash": domain_hash(row["domain"]), "url": row["url"]}
            for row in rows
            for one in row["submissions"]
        ]
        writer = _writer(job, index)
        writer.table("parquet", _table(submissions, SUBMISSIONS))
        num = len(submissions)
        rejected = {"self_post": num * 2, "media_domain": num, "not_json": 3}
        # Each submission stands for the three of its month that were rejected, too.
        posts = Counter({month: 4 * num for month, num in _by_month(submissions).items()})
        high = [one for one in submissions if one["score"] >= 3]
        posts_3 = Counter({month: 4 * num for month, num in _by_month(high).items()})
        facts: dict[str, Any] = {"months": posts, "months_3": posts_3}
        if index == 0:
            posts.update({month: num for month, (num, _) in months.items()})
            posts_3.update({month: num for month, (_, num) in months.items()})
            rejected["self_post"] += sum(num for num, _ in months.values())
            facts |= {"damage": dict(damage)} if damage else {}
        writer.commit(Counts(num + sum(rejected.values()), num, rejected), seconds=1.5, facts=facts)
    return parts


def _by_month(submissions: Rows) -> Counter[str]:
    return Counter(one["created"].strftime("%Y-%m") for one in submissions if one["created"] is not None)


def _link(job: Job, parts: dict[int, Rows]) -> dict[int, Rows]:
    kept = {}
    for index, rows in parts.items():
        kept[index] = [row for row in rows if row["karma"] >= 3]
        links = [
            {
                **row,
                "karma_max": row["karma"],
                "karma_sum": sum(one["score"] for one in row["submissions"]),
                "created": row["submissions"][0]["created"],
            }
            for row in kept[index]
        ]
        writer = _writer(job, index)
        writer.table("parquet", _table(links, LINKS))
        num_in = sum(len(row["submissions"]) for row in rows)
        low = sum(len(row["submissions"]) for row in rows if row["karma"] < 3)
        rejected = {"low_karma": low, "same_link": num_in - low - len(links)}
        sums = [sum(one["score"] for one in row["submissions"]) for row in rows]
        facts = {
            "links_by_max": _at_least(row["karma"] for row in rows),
            "links_by_sum": _at_least(sums),
        }
        writer.commit(Counts(num_in, len(links), rejected), seconds=0.5, facts=facts)
    return kept


def _at_least(karma: Iterable[int]) -> dict[str, int]:
    every = list(karma)
    return {str(least): sum(one >= least for one in every) for least in (1, 2, 3, 5, 10)}


def warc_record(kind: str, url: str, body: bytes) -> bytes:
    """One gzipped WARC record."""
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
    header = (
        f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\n"
        f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>\r\n"
        f"WARC-Date: 2020-01-02T00:00:00Z\r\nContent-Type: application/http; msgtype={kind}\r\n"
        f"Content-Length: {len(http)}\r\n\r\n"
    )
    return gzip.compress(header.encode() + http + b"\r\n\r\n", mtime=0)


def _text(n: int) -> str:
    words = [f"word{(n * 31 + m * m) % 97}" for m in range(20 + n * n % 400)]
    return " ".join(words) + f" — the end of page {n}."


def _fetch(job: Job, parts: dict[int, Rows], *, retried: bool = False) -> dict[int, Rows]:
    """With ``retried``, the last part is as a retry leaves it, and has a page with another's body."""
    kept = {}
    for index, rows in parts.items():
        again = retried and index == NUM_PARTS - 1
        names = [f"part-{index:05d}.warc.gz", *([f"part-{index:05d}.2.warc.gz"] if again else [])]
        warcs = {name: io.BytesIO() for name in names}
        ledger: Rows = []
        for row in rows:
            last = _last_try(row)
            if last["attempt"] > 1:
                ledger.append({**last, **_NOTHING, "attempt": 1, "outcome": "timeout", "fetched": FETCHED})
            if last["outcome"] == "fetched":
                name = names[-1] if last["attempt"] > 1 else names[0]
                if again and row["n"] % 16 == 5:
                    same = next(one for one in ledger if one["outcome"] == "fetched")
                    place = {key: same[key] for key in ("warc", "offset", "length")} | {"revisit": True}
                else:
                    body = f"<html><p>{_text(row['n'])}</p></html>".encode()
                    data = warc_record("response", last["final_url"], body)
                    place = {"warc": name, "offset": warcs[name].tell(), "length": len(data)}
                    warcs[name].write(data)
                last |= place
                row.update({key: last[key] for key in ("warc", "offset", "length", "final_url", "source")})
                row["fetched"] = last["fetched"]
            ledger.append(last)
        kept[index] = [row for row in rows if "warc" in row]
        writer = _writer(job, index)
        for name, stream in warcs.items():
            with writer.open_named(name) as sink:
                sink.write(stream.getvalue())
            writer.rows(sum(one["warc"] == name and not one["revisit"] for one in ledger))
        writer.table("2.ledger.parquet" if again else "ledger.parquet", _table(ledger, LEDGER))
        final = Counter({one["id"]: one["outcome"] for one in ledger}.values())
        final.pop("fetched", None)
        writer.commit(Counts(len(rows), len(kept[index]), dict(final)), seconds=30.25)
    return kept


_NOTHING: Mapping[str, Any] = {
    **dict.fromkeys(LEDGER.names[6:]),  # the columns before say which try it is, and how it ended
    "redirects": 0,
    "truncated": False,
    "revisit": False,
}


def _last_try(row: Mapping[str, Any]) -> dict[str, Any]:
    """A link's last try, but for where its page is: each tenth is tried twice, some fail for good."""
    n = row["n"]
    outcome = {0: "http_4xx", 1: "timeout", 2: "dns"}.get(n % 16, "fetched")
    entry = {
        "id": row["id"],
        "url": row["url"],
        "attempt": 1 + (n % 10 == 0),
        "outcome": outcome,
        "detail": "",
        "source": "wayback" if outcome == "fetched" and n % 16 == 3 else "web",
        **_NOTHING,
        "seconds": n / 40,
        "fetched": FETCHED + timedelta(seconds=n),
    }
    if outcome in ("fetched", "http_4xx"):
        entry |= {"robots": "none", "address": "192.0.2.1", "first_byte_s": n / 50, "connect_s": n / 200}
        entry |= {"dns_s": n / 1000 if n % 2 else None, "status": 404}
    if outcome == "fetched":
        size = len(_text(n).encode())
        entry |= {"final_url": row["url"] + "/", "status": 200, "content_type": "text/html", "bytes": size}
    return entry


def _sift(job: Job, parts: dict[int, Rows], schema: pa.Schema, reasons: Mapping[int, str]) -> dict[int, Rows]:
    """Writes a table of documents; a link whose number modulo 23 is in ``reasons`` is rejected."""
    kept = {}
    for index, rows in parts.items():
        kept[index] = [row for row in rows if row["n"] % 23 not in reasons]
        rejected = [
            {"value": "1", **row, "reason": reasons[row["n"] % 23]}
            for row in rows
            if row["n"] % 23 in reasons
        ]
        writer = _writer(job, index)
        writer.table("parquet", _table(kept[index], schema))
        writer.table("rejected.parquet", _table(rejected, REJECTED))
        counts = Counter(row["reason"] for row in rejected)
        writer.commit(Counts(len(rows), len(kept[index]), dict(counts)), seconds=2.0)
    return kept


def _clusters(kept: Rows, rejected: Rows) -> Rows:
    rows = []
    for lost, survivor in zip(rejected, kept, strict=False):
        similarity = 1.0 if lost["reason"] == "exact_duplicate" else 0.7 + lost["n"] % 30 / 100
        lost["value"] = f"{survivor['id']} {similarity:.3f}"
        survivor["cluster"] = min(lost["id"], survivor["id"])
        for row, value in ((survivor, 1.0), (lost, similarity)):
            rows.append(
                {
                    "cluster": survivor["cluster"],
                    "id": row["id"],
                    "url": row["url"],
                    "survivor": survivor["id"],
                    "run": None,
                    "similarity": value,
                    "estimate": value,
                    "kept": row is survivor,
                }
            )
    return rows


def _extract(job: Job, parts: dict[int, Rows]) -> dict[int, Rows]:
    for row in (row for rows in parts.values() for row in rows):
        row |= {
            "text": _text(row["n"]),
            **Metadata()._asdict(),
            "title": f"Page {row['n']}",
            "created": row["submissions"][0]["created"],
            "subreddits": sorted({one["subreddit"] for one in row["submissions"]}),
            "submissions": [one["id"] for one in row["submissions"]],
            "extractor": EXTRACTOR,
        }
    return _sift(job, parts, DOCUMENTS, {5: "no_text"})


def _filter(job: Job, parts: dict[int, Rows]) -> dict[int, Rows]:
    """With measures by which just those are rejected that are."""
    for index, rows in parts.items():
        for row in rows:
            n = row["n"]
            language = "fr" if n % 23 == 8 else LANGUAGES[n % len(LANGUAGES)]
            num_words = len(row["text"].split())
            row.update({**NOTHING_MEASURED, "language": language, "language_score": 0.9})
            row |= {"num_words": num_words, "wikipedia": None}
        name = part_name(index, MEASURED)
        writer = PartWriter(job.folder, name, _fingerprint(name))
        measured = [{**row, "num_words": 9 if row["n"] % 23 == 7 else row["num_words"]} for row in rows]
        writer.table("parquet", _table(measured, MEASURED_SCHEMA))
        writer.commit(None, seconds=1.0)
    return _sift(job, parts, FILTERED, {7: "too_short", 8: "language"})


def _dedupe(job: Job, parts: dict[int, Rows]) -> dict[int, Rows]:
    for row in (row for rows in parts.values() for row in rows):
        row |= {"cluster": row["id"], "cluster_created": row["created"]}
        row["cluster_domain"] = registrable_domain(urlsplit(row["final_url"]).hostname)
    reasons = {9: "exact_duplicate", 10: "near_duplicate"}
    rows = [row for part in parts.values() for row in part]
    for row in rows:
        row["reason"] = reasons.get(row["n"] % 23, "")
    clusters = _table(
        _clusters([r for r in rows if not r["reason"]], [r for r in rows if r["reason"]]), CLUSTERS
    )
    writer = PartWriter(job.folder, "clusters", _fingerprint("clusters"))
    writer.table("parquet", clusters.sort_by([("cluster", "ascending"), ("id", "ascending")]))
    writer.commit(None, seconds=0.25, facts=cluster_figures(clusters).facts())
    return _sift(job, parts, CORPUS, reasons)


def _tokenizer(job: Job, parts: dict[int, Rows]) -> dict[int, Rows]:
    """A vocabulary of the 256 bytes and the special tokens."""
    writer = PartWriter(job.folder, "vocabulary", _fingerprint("vocabulary"))
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Vocabulary(()), Path(folder))
        data = {name: (Path(folder) / name).read_bytes() for name in (VOCAB_JSON, MERGES_TXT, TOKENIZER_JSON)}
    for name, content in data.items():
        with writer.open_named(name) as sink:
            sink.write(content)
    num = sum(map(len, parts.values()))
    facts = {"vocab_size": 257, "tokenizer": hashlib.sha256(data[TOKENIZER_JSON]).hexdigest()}
    writer.commit(Counts(num, num), seconds=1.0, facts=facts)
    return parts


def _shard(job: Job, parts: dict[int, Rows]) -> dict[int, Rows]:
    for index, rows in parts.items():
        writer = _writer(job, index)
        table: Rows = []
        splits = list(splits_of(_table(rows, CORPUS), job.settings))
        for split in SPLITS:
            chosen = [row for row, own in zip(rows, splits, strict=True) if own == split]
            table += _write_split(writer, split, index, chosen) if chosen else []
        writer.table("documents.parquet", _table(table, SHARD_DOCUMENTS))
        digest = job.inputs["tokenizer"].facts["tokenizer"]
        writer.commit(Counts(len(rows), len(rows)), seconds=0.75, facts={"tokenizer": digest})
    return parts


def _write_split(writer: PartWriter, split: str, shard: int, rows: Rows) -> Rows:
    """Each document as its bytes' tokens and end-of-text; all of it but the end is one sentence."""
    ids = np.zeros(256, token_dtype(257))
    for token, spelled in enumerate(Vocabulary(()).tokens):
        ids[spelled[0]] = token
    encoded = [np.append(ids[list(row["text"].encode())], 256).astype(ids.dtype) for row in rows]
    lengths = [len(one) for one in encoded]
    placed = document_index(ids.dtype, lengths)
    sentences = Index(ids.dtype, placed.lengths - 1, placed.pointers, placed.documents)
    for suffix, data, num in (
        ("bin", np.concatenate(encoded).tobytes(), sum(lengths)),
        ("idx", index_bytes(placed), len(rows)),
        ("sentences.idx", index_bytes(sentences), len(rows)),
    ):
        with writer.open_named(f"{split}-{shard:05d}.{suffix}") as sink:
            sink.write(data)
        writer.rows(num)
    return [
        {
            "id": row["id"],
            "split": split,
            "shard": shard,
            "sequence": sequence,
            "first_token": int(placed.pointers[sequence]) // ids.itemsize,
            "num_tokens": lengths[sequence],
            "num_sentences": 1,
        }
        for sequence, row in enumerate(rows)
    ]


_STAGES: Mapping[str, Any] = {
    "link": _link,
    "fetch": _fetch,
    "extract": _extract,
    "filter": _filter,
    "dedupe": _dedupe,
    "tokenizer": _tokenizer,
    "shard": _shard,
}
