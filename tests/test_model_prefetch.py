"""Batches made ahead by other processes."""

import multiprocessing
from collections.abc import Iterator
from contextlib import closing
from itertools import count, islice
from pathlib import Path

import pytest
import torch

from model.config import ModelSettings, TrainSettings
from model.data.masked import AlbertBatch
from model.data.prefetch import Span, read_ahead
from model.data.sequences import GPT2Batch, GPT2Data, open_shards
from model.data.workload import Data, open_workload
from model.errors import ModelError
from model.training.objectives import Batch
from model.training.recipe import resolve_recipe
from tests.test_model_shards import write_run

# Newer Pythons warn of what torch's loader has always done.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


def open_data(run: Path, architecture: str) -> Data:
    model = ModelSettings.model_validate({"architecture": architecture, "preset": "tiny", "context": 32})
    recipe = resolve_recipe(model, TrainSettings(batch_tokens=256))
    return open_workload(run, model, recipe, seed=0).train


def columns(batch: Batch) -> list[torch.Tensor]:
    return [value for value in vars(batch).values() if value is not None]


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("architecture", ["gpt2", "albert"])
def test_batches_come_in_order_as_if_made_here(run: Path, architecture: str, workers: int) -> None:
    data = open_data(run, architecture)
    spans = [Span(7 * number, 1 + number % 5) for number in range(20)]
    state = torch.get_rng_state()
    with closing(read_ahead(data, spans, workers=workers)) as batches:
        made = list(batches)
    assert len(made) == len(spans)
    for batch, span in zip(made, spans, strict=True):
        expected = data.batch(span.first, span.count)
        assert isinstance(batch, type(expected))
        assert all(torch.equal(*pair) for pair in zip(columns(batch), columns(expected), strict=True))
    assert torch.equal(torch.get_rng_state(), state), "nothing is drawn that training would draw"


def test_documents_come_along(run: Path) -> None:
    data = GPT2Data(open_shards(run).documents("train"), 16, 0, separate=True)
    with closing(read_ahead(data, [Span(3, 2)], workers=1)) as batches:
        (batch,) = batches
    documents = data.batch(3, 2).documents
    assert isinstance(batch, GPT2Batch)
    assert batch.documents is not None
    assert documents is not None
    assert torch.equal(batch.documents, documents)


class _Broken:
    """Data of which the fourth batch cannot be made."""

    num_sequences = 100

    def __init__(self, data: Data) -> None:
        self._data = data

    def batch(self, first: int, count: int) -> Batch:
        if first == 3:
            raise ModelError("the disk is gone; put it back")
        return self._data.batch(first, count)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_where_its_batch_would(run: Path, workers: int) -> None:
    data = _Broken(open_data(run, "gpt2"))
    with closing(read_ahead(data, (Span(number, 1) for number in count()), workers=workers)) as batches:
        assert len(list(islice(batches, 3))) == 3
        with pytest.raises(ModelError) as raised:
            next(batches)
    assert str(raised.value) == "the disk is gone; put it back"
    assert "in batch" in raised.value.__notes__[0], "where it happened is told beside"
    assert not multiprocessing.active_children()


def test_closing_ends_the_processes_of_an_endless_row(run: Path) -> None:
    before = set(multiprocessing.active_children())
    asked: list[int] = []

    def endless() -> Iterator[Span]:
        for number in count():
            asked.append(number)
            yield Span(number, 1)

    batches = read_ahead(open_data(run, "gpt2"), endless(), workers=2)
    next(batches)
    assert len(set(multiprocessing.active_children()) - before) == 2
    batches.close()
    assert set(multiprocessing.active_children()) == before
    assert len(asked) <= 10, "only a few batches are made ahead"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinning memory needs a GPU")
@pytest.mark.parametrize("architecture", ["gpt2", "albert"])
def test_batches_are_pinned_for_a_gpu(run: Path, architecture: str) -> None:
    with closing(read_ahead(open_data(run, architecture), [Span(0, 2)], workers=1, pin=True)) as batches:
        (batch,) = batches
    assert isinstance(batch, GPT2Batch | AlbertBatch)
    assert all(column.is_pinned() for column in columns(batch))
