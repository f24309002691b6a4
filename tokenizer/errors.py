"""The one error that this package raises for input it cannot use."""


class TokenizerError(ValueError):
    """A vocabulary, a tokenizer file or a token file is unusable.

    The message says what is wrong, where (file, and line or byte offset), and what to do.
    """
