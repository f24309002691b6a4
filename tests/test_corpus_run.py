"""The made run that benchmarks read (benchmarks/corpus_run.py): it is as the stages would have written it."""

from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.corpus_run import write_run
from benchmarks.corpus_texts import LANGUAGES
from pipeline.runs import Folder, read_manifest
from pipeline.stages import STAGES
from pipeline.status import read_status
from pipeline.verify import verify
from tokenizer.encode import Tokenizer
from webtext.settings import load_run

NUM_DOCUMENTS = 2_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return _write(tmp_path_factory.mktemp("made") / "run")


def _write(path: Path) -> Folder:
    return write_run(path, NUM_DOCUMENTS, num_words=2_000, vocab_size=600, num_warcs=2)


def _rows(run: Folder, stage: str, *columns: str) -> list[dict[str, Any]]:
    paths = sorted(Path(run.path()).glob(f"{stage}/part-?????.parquet"))
    assert len(paths) == 2
    return [row for path in paths for row in pq.read_table(path, columns=list(columns)).to_pylist()]


def test_nothing_is_wrong_with_it(run: Folder) -> None:
    assert [str(problem) for problem in verify(run)] == []
    load_run(run)


def test_it_has_what_was_asked_for(run: Folder) -> None:
    status = read_status(run)
    assert status.stages["dedupe"].counts.kept == status.stages["shard"].counts.kept == NUM_DOCUMENTS
    assert status.stages["dedupe"].counts.num_in == 1.11 * NUM_DOCUMENTS
    assert all(stage.finished for stage in status.stages.values())
    assert status.tokenizer is not None
    assert not status.warnings


def test_tokens_are_those_of_the_texts(run: Folder) -> None:
    tokenizer = Tokenizer.load(Path(run.path("tokenizer")))
    placed = pq.read_table(run.path("shards/part-00000.documents.parquet")).to_pylist()
    texts = {row["id"]: row["text"] for row in _rows(run, "corpus", "id", "text")}
    for row in placed[::97]:
        tokens = np.fromfile(run.path(f"shards/{row['split']}-00000.bin"), "<u2")
        own = tokens[row["first_token"] : row["first_token"] + row["num_tokens"]].tolist()
        assert own == [*tokenizer.encode(texts[row["id"]]), tokenizer.eot_id]
    assert len(texts) == len(placed) == NUM_DOCUMENTS


def test_texts_are_as_varied_as_the_web(run: Folder) -> None:
    rows = _rows(run, "corpus", "text", "num_words", "language", "karma")
    assert all(len(row["text"].split()) == row["num_words"] for row in rows)
    assert 450 < np.median([row["num_words"] for row in rows]) < 650
    assert {row["language"] for row in rows} == set(LANGUAGES)
    lines = Counter(line for row in rows for line in set(row["text"].splitlines()))
    assert all(num > NUM_DOCUMENTS / 50 for _, num in lines.most_common(5))
    karma = np.array([row["karma"] for row in rows])
    assert karma.min() == 3
    assert karma.max() > 20 * np.median(karma)


def test_copies_are_as_alike_as_they_are_said_to_be(run: Folder) -> None:
    clusters = pq.read_table(run.path("corpus/clusters.parquet")).to_pylist()
    texts = {row["id"]: row["text"] for row in _rows(run, "filtered", "id", "text")}
    texts |= {row["id"]: row["text"] for row in _rows(run, "corpus", "id", "text")}
    copies = [row for row in clusters if not row["kept"]]
    off = [row["similarity"] - _similarity(texts[row["id"]], texts[row["survivor"]]) for row in copies]
    assert len(copies) == 0.11 * NUM_DOCUMENTS
    exact = [difference for difference, row in zip(off, copies, strict=True) if row["similarity"] == 1]
    assert exact
    assert not any(exact)
    assert np.quantile(np.abs(off), 0.9) < 0.1  # of short texts it is a matter of chance
    assert abs(np.mean(off)) < 0.02


def _similarity(one: str, other: str) -> float:
    left, right = (set(zip(*(text.split()[i:] for i in range(5)), strict=False)) for text in (one, other))
    return len(left & right) / len(left | right)


def test_it_is_made_once_and_always_the_same(run: Folder, tmp_path: Path) -> None:
    parts = [path for path in Path(run.path()).glob("*/part-*") if path.suffix != ".json"]
    times = [path.stat().st_mtime_ns for path in parts]
    _write(Path(run.path()))
    assert times == [path.stat().st_mtime_ns for path in parts]
    again = _write(tmp_path / "run")
    for stage in STAGES:
        one, other = (read_manifest(folder / stage.folder) for folder in (run, again))
        assert one is not None
        assert one == other


def test_a_domain_is_in_one_part(run: Folder) -> None:
    numbers = sorted(
        _rows(run, "links", "canonical"), key=lambda row: int(row["canonical"].split("-")[-1], 16)
    )
    domains = [row["canonical"].partition("/")[0] for row in numbers]
    assert len(list(groupby(domains))) == len(set(domains)) > 100


def test_only_whole_parts(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="1,500 is no multiple"):
        write_run(tmp_path, 1_500)
