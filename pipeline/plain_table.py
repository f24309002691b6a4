"""Tables, numbers and foreign texts as the commands print them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def plain_table(first: str, *numbers: str, title: str | None = None) -> "Table":
    """A table with a rule under its head: a column to the left, and numbers to the right."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    table.add_column(first, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def bar(num: int, of: int, width: int) -> str:
    """A number as a bar of so many characters, in proportion to another: never nothing where it is not 0.

    >>> bar(1, 2, 4)
    '██  '
    """
    eighths = max(round(num / of * width * 8), 1) if num else 0
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width)


def spark(nums: Sequence[int]) -> str:
    """Numbers as a row of bars, a character each, the largest one whole.

    >>> spark([0, 1, 4, 8])
    ' ▁▄█'
    """
    most = max(nums, default=0)
    return "".join(" ▁▂▃▄▅▆▇█"[max(round(8 * num / most), 1) if num else 0] for num in nums)


def percentage(num: float, of: float, *, digits: int = 1) -> str:
    """``12.3 %``; empty where there is nothing to compare with."""
    return f"{num / of:.{digits}%}".replace("%", " %") if of else ""


def byte_size(num: float) -> str:
    """Bytes as people read them, in powers of 1,000: ``12.3 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num < 1000:
            return f"{num:,.0f} bytes" if unit == "bytes" else f"{num:.1f} {unit}"
        num /= 1000
    return f"{num:,.1f} TB"


def duration(seconds: float) -> str:
    """A time as people say it: ``45 s``, ``12 min``, ``3.4 h``, ``5.2 days``."""
    for unit, length, below in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 48 * 3600)):
        if seconds < below:
            return f"{seconds / length:.1f} h" if unit == "h" else f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:,.1f} days"


def visible(text: str) -> str:
    r"""A text without anything that a terminal would act on: what does not print stands there by its name.

    >>> visible("one\ntwo \x1b[31m \u202e")
    'one␊two ␛[31m \\u202e'
    """
    return "".join(char if char.isprintable() else _name(char) for char in text)


def _name(char: str) -> str:
    """The picture of a control character in ASCII, the escape of any other."""
    if char < " ":
        return chr(0x2400 + ord(char))
    return "␡" if char == "\x7f" else ascii(char)[1:-1]
