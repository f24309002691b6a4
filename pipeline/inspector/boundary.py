"""What of a run leads out of it: names in manifests cannot (``Folder.path``), but a file may be a link."""

import os
from pathlib import Path

from pipeline.errors import InputError
from pipeline.runs import Folder
from pipeline.stages import STAGES


def refuse_links_out(run: Folder) -> None:
    """Raises InputError where a file of a local run is a link to outside of its stage's folder.

    The folder itself may be a link: its owner has it on another disk.
    """
    if not run.is_local():
        return
    for stage in STAGES:
        folder = Path((run / stage.folder).path())
        inside = folder.resolve()
        for place, folders, files in os.walk(folder):
            for path in (Path(place, name) for name in (*folders, *files)):
                if path.is_symlink() and not path.resolve().is_relative_to(inside):
                    raise InputError(
                        f"{path} is a link to {path.resolve()}, out of the run: the inspector shows nothing "
                        "from elsewhere. If you trust the run, put the file itself there."
                    )
