"""What to say where a device's memory ends while a model is used."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import RunError


@contextmanager
def advice_on_memory(batch: int) -> Iterator[None]:
    """Says what to lower where the device's memory does not hold `--batch` texts.

    Raises:
        RunError: The memory has ended.
    """
    from model.devices import is_out_of_memory

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        smaller = "choose a smaller model, or --device cpu where it was a GPU's"
        remedy = f"lower --batch from {batch}" if batch > 1 else smaller
        raise RunError(f"the device's memory does not hold this many texts at once; {remedy}.") from error
