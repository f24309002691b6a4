"""The one error that this package raises for its user to act on."""


class ModelError(ValueError):
    """Something that the user can put right: the message says what, where, and what to do."""
