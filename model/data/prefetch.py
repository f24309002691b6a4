"""Batches made ahead of time, by processes beside the one that trains."""

import traceback
from collections.abc import Generator, Iterable
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from model.data.workload import Data
from model.errors import ModelError
from model.training.objectives import Batch

_AHEAD = 4  # Batches that each process has made or is making before they are asked for.


@dataclass(frozen=True)
class Span:
    """Sequences of the row that training reads.

    Attributes:
        first: Number of the first one.
        count: How many.
    """

    first: int
    count: int


def micro_batches(step: Span, micro_batch: int, rank: int = 0, world: int = 1) -> list[Span]:
    """The part of a step's sequences that process `rank` of `world` reads, a forward pass each.

    Every process has as many passes, of the same sizes, as all take part in each exchange of gradients.
    Which sequences a step reads does not depend on `world`.

    Raises:
        ModelError: The sequences do not divide among the processes.
    """
    each, left_over = divmod(step.count, world)
    if left_over or not each:
        raise ModelError(
            f"a step of {step.count:,} sequences does not divide among {world} processes; set"
            f" train.batch_tokens to a multiple of {world} sequences"
        )
    begin = step.first + rank * each
    return [Span(begin + done, min(micro_batch, each - done)) for done in range(0, each, micro_batch)]


class _Spans(Dataset[Batch | Exception]):
    """Batches by what they span; errors as values, so that they are raised as what they were."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def __getitem__(self, span: Span) -> Batch | Exception:
        try:
            return self._data.batch(span.first, span.count)
        except Exception as error:
            error.add_note(traceback.format_exc())
            return error


def read_ahead(
    data: Data, spans: Iterable[Span], *, workers: int, pin: bool = False
) -> Generator[Batch, None, None]:
    """The batches of `spans`, in their order, made by `workers` processes while others are used.

    Close it (`contextlib.closing`) to end the processes, also where it is not read to its end. An error in
    a process is raised here, as what it was.

    Args:
        data: What to read.
        spans: May be endless; read a few batches ahead.
        workers: Processes; with 0, each batch is made when it is asked for.
        pin: Whether the batches lie in pinned memory, from which a GPU copies in the background.
    """
    loader = DataLoader(
        _Spans(data),
        sampler=spans,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        pin_memory=pin,
        # A fork shares the index and the mapped tokens; another start would copy them.
        multiprocessing_context="fork" if workers else None,
        # Its own, as the loader would draw from the global one.
        generator=torch.Generator(),
    )
    batches = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, Exception):
                raise batch
            yield batch
    finally:
        del batches  # Ends the processes.
