"""What goes wrong and is somebody's to mend: the message says what, where, and what to do."""


class InputError(Exception):
    """Bad input or settings: the command ends with exit status 2 before or without doing the work."""


class RunError(Exception):
    """A run that failed: the command ends with exit status 1; whole parts stay and are not redone."""
