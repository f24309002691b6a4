"""A synthetic run with all that a report can tell: months out of line, a retry, a model's training."""

import json
from pathlib import Path

from pipeline.runs import Folder
from tests.synthetic_run import write_run


def write_reported_run(path: Path) -> Folder:
    """A finished run of 300 links, its May of 2023 out of line, and the log of a training that was killed."""
    months = {f"2023-{month:02d}": (1000, 4 if month == 5 else 310) for month in range(1, 10)}
    run = write_run(path, num_links=300, months=months, retried=True)
    lines = [
        {"step": n, "loss": 9 - n / 500, "val_loss": 8.5 if n % 500 == 0 else None} for n in range(1, 2001)
    ]
    checkpoints = Path(run.path("checkpoints/gpt2"))
    checkpoints.mkdir(parents=True)
    log = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 2001, "lo'
    (checkpoints / "log.jsonl").write_text(log)
    return run
