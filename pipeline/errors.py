"""What goes wrong and is somebody's to mend: the message says what, where, and what to do."""

import errno
import os

# What a person can do where the system refuses.
_REMEDIES = {
    errno.ENOSPC: "Make room",
    errno.EDQUOT: "Make room, or have the quota raised",
    errno.EMFILE: "Raise the limit on open files (ulimit -n 4096)",
    errno.ENFILE: "Raise the system's limit on open files, or close other programs",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f unlimited)",
    errno.EROFS: "See to it that it may be written",
    errno.EACCES: "See to it that it may be read and written",
    errno.EPERM: "See to it that it may be read and written",
    errno.EIO: "See to its disk",
}


class InputError(Exception):
    """Bad input or settings: the command ends with exit status 2 before or without doing the work."""


class RunError(Exception):
    """A run that failed: the command ends with exit status 1; whole parts stay and are not redone."""


def refusal(number: int | None, place: str | None = None) -> str | None:
    """What the system refuses, of which file, and what to do; None where no person could do anything.

    Args:
        number: The system's, as in OSError.errno.
        place: The file, if it is known.
    """
    if number not in _REMEDIES:
        return None
    where = f" ({place})" if place else ""
    return (
        f"{os.strerror(number)}{where}. {_REMEDIES[number]}, and run the same command again: it goes on from "
        "what is there."
    )
