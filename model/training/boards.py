"""Where curves are drawn: TensorBoard always, Weights & Biases where its project is named."""

import importlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from model.errors import ModelError

_WANDB_RUN = "wandb-run.txt"


class Board(Protocol):
    """What draws numbers over steps."""

    def draw(self, scalars: Mapping[str, float], step: int) -> None:
        """Adds a point to each curve."""

    def close(self) -> None:
        """Hands over what is still under way."""


class TensorBoard:
    """Event files in `directory/tensorboard`; points of `first_step` and later that are there are hidden."""

    def __init__(self, directory: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory / "tensorboard"), purge_step=first_step)

    def draw(self, scalars: Mapping[str, float], step: int) -> None:
        """Adds a point to each curve."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes out what is held and closes the files."""
        self._writer.close()


class WeightsAndBiases:
    """A run of wandb, by default on its server; with WANDB_MODE=offline in `directory/wandb` alone.

    The run's id is kept in `directory`, so that training that goes on draws on in the same run. Steps are
    a curve of their own, since wandb's own numbers cannot go back to a checkpoint.

    Raises:
        ModelError: wandb is not installed, or cannot start a run.
    """

    def __init__(self, project: str, directory: Path, config: Mapping[str, Any]) -> None:
        try:
            wandb: Any = importlib.import_module("wandb")
        except ImportError as error:
            raise ModelError(
                "train.wandb: wandb is not installed; install webtext[wandb], or leave the setting out"
            ) from error
        kept = directory / _WANDB_RUN
        if not kept.is_file():
            kept.write_text(uuid.uuid4().hex[:12] + "\n")
        try:
            self._run: Any = wandb.init(
                project=project,
                dir=str(directory),
                id=kept.read_text().strip(),
                name=directory.name,
                config=dict(config),
                resume="allow",
            )
        except wandb.Error as error:
            raise ModelError(
                f"train.wandb: no run can be started ({error}); run wandb login, set WANDB_MODE=offline, or"
                " leave the setting out"
            ) from error
        self._run.define_metric("*", step_metric="step")

    def draw(self, scalars: Mapping[str, float], step: int) -> None:
        """Adds a point to each curve."""
        self._run.log({**scalars, "step": step})

    def close(self) -> None:
        """Waits until all is handed over."""
        self._run.finish()
