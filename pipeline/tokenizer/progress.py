"""How far a training is: what it leaves in the stage's folder while it goes on, for who looks."""

import json
from dataclasses import asdict, dataclass

from pipeline.runs import Folder

TRAINING = "training.json"


@dataclass(frozen=True, slots=True)
class Training:
    """A training that goes on.

    The trainer says nothing while it learns, so of that phase only its beginning is known.
    """

    num_bytes: int  # of UTF-8 text read so far
    of_bytes: int  # about as many are to be read
    num_merges: int  # to be learnt, once all is read
    began: float  # reading, in seconds of the epoch
    learning_since: float | None = None  # likewise; None while texts are read

    def write(self, folder: Folder) -> None:
        """Leaves it in a stage's folder."""
        folder.write(TRAINING, (json.dumps(asdict(self)) + "\n").encode())


def read_training(folder: Folder) -> Training | None:
    """What a training says in a stage's folder; None where none goes on, or the file is torn."""
    try:
        return Training(**json.loads(folder.read(TRAINING)))
    except (FileNotFoundError, ValueError, TypeError):
        return None
