"""How much of evaluation tasks a run's corpus has: what ``webtext evaluate --contamination RUN`` shows."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.filter.evaluation_sets import Example
from pipeline.report.task_overlap import GPT2_N, NO_CORPUS, TaskOverlap, measure_overlaps
from pipeline.runs import Folder
from pipeline.status import require_run, require_stage


def contamination_of(
    run: str | Path,
    texts_by_task: Mapping[str, Sequence[Sequence[str]]],
    n: int = GPT2_N,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, TaskOverlap]:
    """How much of each task the corpus of a run has, in one pass over it for all tasks.

    Args:
        run: The run that the model was trained on: a directory, or a URI (as a string).
        texts_by_task: By the tasks' names, the texts of each evaluated item (`Task.texts`). No n-gram goes
            from one text into the next.
        n: Words in an n-gram, from 1 to 127.
        on_progress: Told how many bytes of the corpus's files are searched, and of how many.

    Raises:
        InputError: There is no run, its corpus is not finished, a removal is under way, or a file of the
            corpus is missing or damaged.
        ValueError: n is not from 1 to 127.
    """
    tasks = {name: [Example(tuple(texts)) for texts in items] for name, items in texts_by_task.items()}
    return measure_overlaps(Folder(str(run)), tasks, n, on_progress)


def corpus_digest(run: str | Path) -> str:
    """The sha256 of the manifest of a run's corpus, in hexadecimal.

    Raises:
        InputError: There is no run, or its corpus is not finished.
    """
    folder = Folder(str(run))
    require_run(folder)
    return require_stage(folder, "dedupe", NO_CORPUS).digest()
