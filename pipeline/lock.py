"""One at a time: who changes a local run holds its lock, and others can see that somebody is at work."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import InputError, RunError, refusal
from pipeline.runs import Folder

_LOCK = ".lock"

# Refusals that are the place's, which was named; others (a full disk, too few open files) are the machine's.
_OF_THE_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS}

# Who only looks holds the lock for a moment: that is no other build.
_TRIES = 5
_WAIT_S = 0.05


@contextmanager
def locked(run: Folder) -> Iterator[None]:
    """Keeps a second build out of a local run directory; the lock goes with its owner, however it ends."""
    if not run.is_local():
        yield
        return
    path = Path(run.path(_LOCK))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        told = refusal(error.errno, str(path))
        if told and error.errno not in _OF_THE_PLACE:
            raise RunError(told) from error
        raise InputError(
            f"{run.uri} cannot be a run directory ({error.strerror}): see to it that it may be written, or "
            "name another in run.dir or with --run."
        ) from error
    try:
        for _ in range(_TRIES):
            if _take(descriptor, fcntl.LOCK_EX):
                break
            time.sleep(_WAIT_S)
        else:
            raise RunError(
                f"another build is at work in {run.uri}: wait for it, or give this one its own --run."
            )
        yield
    finally:
        os.close(descriptor)


def is_locked(run: Folder) -> bool | None:
    """Whether somebody changes a run; None where that cannot be seen: of remote runs."""
    if not run.is_local():
        return None
    try:
        descriptor = os.open(run.path(_LOCK), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        return not _take(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int) -> bool:
    """Takes a lock if it can be had at once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
