"""Whether a folder holds a run; and where it does not, what to say to whoever named it."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pipeline.errors import InputError
from pipeline.runs import Folder
from pipeline.stages import STAGES

SETTINGS = "webtext.toml"
"""A run's own settings, as they were resolved. The file that people write often has the same name."""

DIGEST = "# Settings digest: "
"""How a run's own settings begin, and no others."""

_MOST_NAMED = 3


def is_run(run: Folder) -> bool:
    """Whether a build has begun in the folder."""
    if run.size(SETTINGS) is not None and run.read(SETTINGS).startswith(DIGEST.encode()):
        return True
    return any((run / stage.folder).sizes() for stage in STAGES)


def no_run(run: Folder) -> InputError:
    """The error for a folder without a run: it tells of runs nearby, or how one begins."""
    said = f"{run.uri}: there is no run here."
    path = Path(run.uri)
    if "://" in run.uri:
        return InputError(f"{said} Name the folder that `webtext build` wrote.")
    if path.suffix == ".toml" and path.is_file():
        return InputError(f"{said} It is a settings file: name the folder that run.dir says in it.")
    if names := ", ".join(map(str, islice(_runs_near(path), _MOST_NAMED))):
        return InputError(f"{said} Did you mean {names}?")
    return InputError(
        f"{said} Name the folder that `webtext build` wrote (run.dir in its settings file), or start the run "
        "with `webtext build`."
    )


def _runs_near(path: Path) -> Iterator[Path]:
    """The runs that a folder is in, that it holds, and that the folder has that it should be in."""
    within = (path.parent, path.parent.parent)
    below = [*path.glob(f"*/{SETTINGS}"), *path.glob(f"*/*/{SETTINGS}")]
    beside = path.parent.glob(f"*/{SETTINGS}")
    seen = set()
    for folder in (*within, *(found.parent for found in (*sorted(below), *sorted(beside)))):
        if folder not in seen and is_run(Folder(str(folder))):
            seen.add(folder)
            yield folder
