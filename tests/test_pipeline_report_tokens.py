"""Token frequencies: counted in the shards' files, and Zipf's line through them."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import InputError
from pipeline.report import token_counts as module
from pipeline.report.queries import QUERIES
from pipeline.report.statistics import measure
from pipeline.report.token_counts import TOKEN_COUNTS, token_counts
from pipeline.runs import File, Folder, Manifest, read_manifest
from tests.synthetic_run import write_run

ZIPF, FREQUENCIES = (
    next(query for query in QUERIES if query.name == name) for name in ("zipf", "token_frequencies")
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_run(tmp_path_factory.mktemp("tokens") / "run", num_links=100)


def _manifest(run: Folder) -> Manifest:
    manifest = read_manifest(run / "shards")
    assert manifest is not None
    return manifest


@pytest.mark.parametrize("bytes_at_once", [1 << 21, 64])
def test_every_id_is_counted_in_every_shard(
    run: Folder, bytes_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BYTES_AT_ONCE", bytes_at_once)
    found = token_counts(run, _manifest(run)).to_pylist()
    counts: Counter[int] = Counter()
    for path in Path(run.path("shards")).glob("*.bin"):
        counts.update(np.fromfile(path, "<u2").tolist())
    assert [row["id"] for row in found] == list(range(262))
    assert {row["id"]: row["times"] for row in found if row["times"]} == counts
    assert [row["id"] for row in found if row["special"]] == list(range(256, 262))
    by_token = {row["token"]: row["times"] for row in found}
    texts = "".join(
        row["text"]
        for name in ("part-00000.parquet", "part-00001.parquet")
        for row in (run / "corpus").read_table(name).to_pylist()
    )
    assert by_token["␣"] == texts.count(" ")
    assert by_token["\\xe2"] == texts.count("—")  # its first byte
    assert by_token["w"] == texts.count("w")


def test_frequencies_are_in_the_order_of_rank_without_special_tokens(run: Folder) -> None:
    statistics = measure(run).measured
    rows = statistics["token_frequencies"].rows
    table = token_counts(run, _manifest(run)).to_pylist()
    every = sorted((row for row in table if not row["special"]), key=lambda row: (-row["times"], row["id"]))
    used = [row for row in every if row["times"]]
    assert [row["rank"] for row in rows[:9]] == list(range(1, 10))
    assert rows[-1]["rank"] == len(used)
    for row in rows:
        assert (row["times"], row["token"]) == (
            used[row["rank"] - 1]["times"],
            used[row["rank"] - 1]["token"],
        )
    ranks, times = (np.log([row[name] for row in rows]) for name in ("rank", "times"))
    slope, intercept = np.polyfit(ranks, times, 1)
    [line] = statistics["zipf"].rows
    assert line["exponent"] == pytest.approx(-slope, abs=1e-4)
    assert line["constant"] == pytest.approx(np.exp(intercept), abs=0.1)
    assert rows[4]["zipf"] == pytest.approx(np.exp(intercept) * 5**slope, abs=0.1)


def _fitted(times: list[int]) -> tuple[list[Any], list[Any]]:
    rows = [
        {"id": number, "token": f"t{number}", "special": False, "times": num}
        for number, num in enumerate(times)
    ]
    rows.append({"id": len(times), "token": "<|endoftext|>", "special": True, "times": 10**12})
    with duckdb.connect() as connection:
        connection.register("token_counts", pa.Table.from_pylist(rows, TOKEN_COUNTS))
        return connection.execute(ZIPF.sql).fetchall(), connection.execute(FREQUENCIES.sql).fetchall()


@pytest.mark.parametrize(("constant", "exponent"), [(10**9, 1.0), (3 * 10**8, 1.31), (10**7, 0.4)])
def test_a_distribution_made_by_zipfs_law_gives_its_numbers_back(constant: int, exponent: float) -> None:
    times = [round(constant / rank**exponent) for rank in range(1, 50_001)]
    [(found_exponent, found_constant)], rows = _fitted([*times[::-1], 0, 0])
    assert found_exponent == pytest.approx(exponent, abs=0.001)
    assert found_constant == pytest.approx(constant, rel=0.005)
    assert 150 <= len(rows) <= 250
    assert rows[0][:3] == (1, constant, "t49999")
    assert rows[-1][0] == 50_000
    assert all(zipf == pytest.approx(num, rel=0.02, abs=1) for _, num, _, zipf in rows)


def test_a_single_token_has_no_line() -> None:
    assert _fitted([7]) == ([], [(1, 7, "t0", None)])
    assert _fitted([0]) == ([], [])


def _with_rows(manifest: Manifest, num: int) -> Manifest:
    parts = tuple(
        dataclasses.replace(
            part, files=tuple(File(one.name, one.bytes, one.rows + num, one.sha256) for one in part.files)
        )
        for part in manifest.parts
    )
    return dataclasses.replace(manifest, parts=parts)


def test_a_shard_that_is_not_what_it_should_be_says_what_to_do(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_links=20)
    manifest = _manifest(run)
    with pytest.raises(InputError, match=r"bin is damaged \(it has [\d,]+ tokens.*webtext verify"):
        token_counts(run, _with_rows(manifest, 1))
    path = Path(run.path("shards/train-00000.bin"))
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(InputError, match="tokens"):
        token_counts(run, manifest)
    path.write_bytes(data[:-2] + b"\xff\xff")
    with pytest.raises(InputError, match=r"none of the tokenizer's 262\): `webtext verify`"):
        token_counts(run, manifest)
