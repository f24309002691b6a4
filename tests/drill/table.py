"""The table that the drill prints: each fault, how often it was tried and survived, and what was said."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass
class Line:
    """A fault's line: how often it struck, in which stages, how the builds ended, and what is wrong."""

    tried: int = 0
    struck: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


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
