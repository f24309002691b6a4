"""The table that the drill prints: each fault, how often it was tried and survived, and what was said."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

# The lines that no fault has: builds without one, and the comparison.
IN_BETWEEN, THE_END = "(nothing)", "(the end)"

_A_FEW = 3  # tries of a kind of fault that may all come too late: stages of few parts are soon over


@dataclass
class Line:
    """A fault's line: how often it struck, in which stages, how the builds ended, and what is wrong."""

    tried: int = 0
    struck: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


def never_struck(lines: Mapping[str, Line], excused: Collection[str] = ()) -> dict[str, str]:
    """What is wrong, by its line, with a drill whose faults come too late: it is survived by doing nothing.

    Args:
        lines: The table.
        excused: Faults that cannot be had on this machine.
    """
    tried = {name: line for name, line in lines.items() if name not in (IN_BETWEEN, THE_END)}
    found = {
        name: f"it was tried {line.tried} times, and never struck"
        for name, line in tried.items()
        if line.tried > _A_FEW and not line.struck and name not in excused
    }
    if not any(line.struck for line in tried.values()):
        found[THE_END] = "nothing struck at all"
    return found


def show(lines: dict[str, Line], not_tried: Iterable[str], console: Console) -> None:
    """Prints the table, what could not be tried here, and all complaints."""
    table = Table("fault")
    for name in ("tried", "struck", "survived"):
        table.add_column(name, justify="right")
    table.add_column("in the stages")
    table.add_column("the build ended")
    for name, line in lines.items():
        survived = max(0, line.struck - len(line.complaints))
        table.add_row(
            name,
            str(line.tried),
            str(line.struck),
            str(survived),
            _counted(line.stages),
            _counted(line.ended),
        )
    console.print(table)
    for one in not_tried:
        console.print(f"not tried here: {one}")
    for name, line in lines.items():
        for complaint in line.complaints:
            console.print(f"✗ {name}: {complaint}", markup=False, highlight=False, soft_wrap=True)


def _counted(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {num}" if num > 1 else name for name, num in numbers.items())
