"""A stop before too much is removed: a low threshold, or pages that all say the same, can empty a corpus."""

from pipeline.config import DedupeSettings
from pipeline.dedupe.figures import ClusterFigures
from pipeline.errors import RunError
from pipeline.runs import read_sidecar
from pipeline.stages import Job

_NUM_NAMED = 3


def check_limits(job: Job) -> None:
    """Raises RunError where the verdicts that were passed go beyond what the settings let pass."""
    clusters, concluded = (read_sidecar(job.folder, name) for name in ("clusters", "concluded"))
    if clusters is None or concluded is None:
        raise RunError(
            f"{job.folder.uri}: clusters.json or concluded.json is gone: run the same build again."
        )
    settings = job.settings
    num_in = job.inputs["filter"].counts.kept
    problems = [
        *_too_much_removed(concluded.facts["removed"], num_in, settings),
        *_too_large(concluded.facts["most_texts"], settings),
    ]
    if not problems:
        return
    figures = ClusterFigures.from_facts(clusters.facts)
    largest = [] if figures is None else figures.largest[:_NUM_NAMED]
    named = [f"  {one.num_documents:,} documents like {one.url or one.survivor}" for one in largest]
    advice = (
        f"{job.folder.uri}/clusters.parquet names every document and the one that would stay for it. If they "
        "are alike indeed, raise the limit and run the same build again: it goes on from here. If not, raise "
        f"dedupe.threshold (now {settings.threshold:g})."
    )
    raise RunError("\n".join([*problems, "The largest clusters:", *named, advice]))


def _too_much_removed(num_removed: int, num_in: int, settings: DedupeSettings) -> list[str]:
    problem = (
        f"dedupe would remove {num_removed:,} of {num_in:,} documents ({num_removed / max(1, num_in):.1%}), "
        f"more than dedupe.max_removed = {settings.max_removed:g} lets pass."
    )
    return [problem] if num_removed > settings.max_removed * num_in else []


def _too_large(num_texts: int, settings: DedupeSettings) -> list[str]:
    problem = (
        f"dedupe found {num_texts:,} different texts in one cluster of near-duplicates, more than "
        f"dedupe.max_cluster = {settings.max_cluster:,} lets pass."
    )
    return [problem] if num_texts > settings.max_cluster else []
