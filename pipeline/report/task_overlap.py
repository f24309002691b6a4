"""How much of evaluation tasks the corpus of a finished run has, by n-grams: what stands beside a score.

It is asked of a model's training data afterwards, and so of any task, whether the run's filter knew of it or
not. Words, n-grams and their hashes are the filter's (`pipeline/filter/grams.py`, `contamination.py`); the
question is GPT-2's (Radford et al. 2019, section 4), which asks it of Bloom filters of the corpus's 8-grams.
Here the tasks' n-grams are in memory and the corpus passes by, so memory grows with the tasks alone, and one
pass serves all of them.

    https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.export.source import check_sizes
from pipeline.filter.contamination import Index, SetGrams, build_index, count_flagged, find, overlap
from pipeline.filter.evaluation_sets import Example
from pipeline.remove.removal import refuse_while_pending
from pipeline.runs import File, Folder
from pipeline.stages import BY_NAME
from pipeline.status import require_run, require_stage

GPT2_N = 8
"""Words in an n-gram of GPT-2's table 6."""

NO_CORPUS = "so there is no corpus to look for the tasks in: webtext build FILE --until dedupe makes it."
"""What to say where a run's dedupe is not finished."""

_DOCUMENTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOverlap:
    """How much of a task's items a corpus has, for one n.

    Items of fewer than n words in each of their texts have no n-gram: whether the corpus has them cannot be
    told. They are counted in `num_too_short`, and in no share.

    Attributes:
        n: Words in an n-gram.
        num_items: All items.
        num_too_short: Those without a single n-gram.
        num_grams: The task's distinct n-grams.
        num_found: Those of them that stand in a document of the corpus.
        num_items_hit: Items of which the corpus has an n-gram at least.
        mean_item_share: The mean, over items with n-grams, of the share of the item's n-grams that the corpus
            has, from 0 to 1; one that the item repeats counts each time. None where no item has any. (GPT-2's
            "average overlap" of LAMBADA.)
    """

    n: int
    num_items: int
    num_too_short: int
    num_grams: int
    num_found: int
    num_items_hit: int
    mean_item_share: float | None

    @property
    def share(self) -> float | None:
        """Of the task's distinct n-grams, those that the corpus has, from 0 to 1: as in GPT-2's table 6.

        None where the task has none.
        """
        return self.num_found / self.num_grams if self.num_grams else None

    @property
    def share_of_items(self) -> float | None:
        """Of the items with n-grams, those of which the corpus has one at least; None without such items."""
        num_told = self.num_items - self.num_too_short
        return self.num_items_hit / num_told if num_told else None

    def to_json(self) -> dict[str, Any]:
        """As it stands beside a score: the fields, and the two shares that follow from them."""
        return {**asdict(self), "share": self.share, "share_of_items": self.share_of_items}


def measure_overlaps(
    run: Folder,
    tasks: Mapping[str, Iterable[Example]],
    n: int = GPT2_N,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, TaskOverlap]:
    """How much of each task the corpus of a run has, by the tasks' names.

    Args:
        run: A run whose dedupe is finished. Its whole corpus is searched, whatever split a document is in.
        tasks: The examples of each.
        n: Words in an n-gram, from 1 to 127.
        on_progress: Told, before the first file and after each, how many bytes of the corpus's files are
            searched, and of how many.

    Raises:
        InputError: There is no run, its corpus is not finished, a removal is under way, or a file of the
            corpus is missing or damaged.
        ValueError: n is not from 1 to 127.
    """
    files = _corpus_files(run)
    index = build_index(tasks, [n])
    folder = run / BY_NAME["dedupe"].folder
    is_found = np.zeros(len(index.tables[0].hashes), np.bool_)
    done, num_bytes = 0, sum(file.bytes for file in files)
    for file in files:
        if on_progress:
            on_progress(done, num_bytes)
        _mark_found(is_found, index, _texts(folder, file))
        done += file.bytes
    if on_progress:
        on_progress(done, num_bytes)
    return _overlaps(index, is_found)


def _corpus_files(run: Folder) -> list[File]:
    """The tables of a run's corpus, which are there and of the right sizes."""
    require_run(run)
    refuse_while_pending(run)
    manifest = require_stage(run, "dedupe", NO_CORPUS)
    files = [part.file(f"{part.name}.parquet") for part in manifest.counted()]
    check_sizes(run / BY_NAME["dedupe"].folder, files)
    return files


def _texts(folder: Folder, file: File) -> Iterator[pa.Array]:
    """The texts of a table of the corpus, some at a time, once its checksum has been found right."""
    with _reading(folder, file.name):
        with folder.open(file.name) as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                raise OSError("its SHA-256 is not the manifest's")
        for batch in folder.read_batches(file.name, ["text"], _DOCUMENTS_AT_ONCE):
            yield batch["text"]


@contextmanager
def _reading(folder: Folder, name: str) -> Iterator[None]:
    """Raises InputError, naming the file, where what is read in the block is damaged."""
    try:
        yield
    except (OSError, KeyError, pa.ArrowException) as error:
        raise InputError(
            f"{folder.uri}/{name} cannot be read ({str(error).strip()}): `webtext verify` tells what to do."
        ) from error


def _mark_found(is_found: npt.NDArray[np.bool_], index: Index, texts: Iterable[pa.Array]) -> None:
    """Marks which hashes of the index's only table are in the texts."""
    for some in texts:
        is_found[np.searchsorted(index.tables[0].hashes, find(some, index)["hash"].to_numpy())] = True


def _overlaps(index: Index, is_found: npt.NDArray[np.bool_]) -> dict[str, TaskOverlap]:
    (table,) = index.tables
    counted = overlap(index, {table.n: table.hashes[is_found]})
    return {
        one.name: TaskOverlap(
            n=one.n,
            num_items=one.num_examples,
            num_too_short=one.num_too_short,
            num_grams=one.num_grams,
            num_found=one.num_found,
            num_items_hit=one.num_examples_hit,
            mean_item_share=_mean_item_share(of_set.grams[0], is_found),
        )
        for one, of_set in zip(counted, index.sets, strict=True)
    }


def _mean_item_share(grams: SetGrams, is_found: npt.NDArray[np.bool_]) -> float | None:
    num_grams = np.diff(grams.ends, prepend=0)
    has_grams = num_grams > 0
    if not has_grams.any():
        return None
    return float(np.mean(count_flagged(grams, is_found)[has_grams] / num_grams[has_grams]))
