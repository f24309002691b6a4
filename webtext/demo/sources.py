"""The docstrings of the Python modules that are installed, read from their sources.

Sources are parsed and never imported: importing somebody's module runs it.
"""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Well documented packages stand first: a web of the usual size is then made without reading many others.
_FIRST = ("numpy", "scipy", "networkx", "sympy", "pymongo", "hypothesis", "PIL", "altair", "rich")
# Parsing takes most of the time: sources with less than this share of docstrings are not worth it.
_MIN_SHARE = 0.25
_SKIPPED_FOLDERS = frozenset(
    {"tests", "test", "testing", "idlelib", "lib2to3", "site-packages", "_vendor", "vendored", "__pycache__"}
)


@dataclass(frozen=True, slots=True)
class Docstring:
    """What documents one module, class or function, and its dotted name."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Package:
    """A top-level package (or the whole standard library) and where its sources are."""

    name: str
    folder: Path

    def docstrings(self) -> Iterator[Docstring]:
        """Reads the docstrings of all modules but the tests, in the order of their paths."""
        if self.name == "python":
            yield from _language_reference(self.folder / "pydoc_data" / "topics.py")
        for path in sorted(self.folder.rglob("*.py")):
            place = path.relative_to(self.folder)
            if _SKIPPED_FOLDERS.isdisjoint(place.parts[:-1]) and "test" not in place.stem.split("_"):
                prefix = () if self.name == "python" else (self.name,)
                parts = [*prefix, *place.with_suffix("").parts]
                yield from _read_module(path, ".".join(part for part in parts if part != "__init__"))


def installed_packages() -> Iterator[Package]:
    """Finds the standard library, then well documented packages, then the others by name."""
    paths = sysconfig.get_paths()
    yield Package("python", Path(paths["stdlib"]))
    site = Path(paths["purelib"])
    names = {path.parent.name for path in site.glob("*/__init__.py")} - _SKIPPED_FOLDERS
    for name in sorted(names, key=lambda name: (name not in _FIRST, name)):
        yield Package(name, site / name)


def _language_reference(path: Path) -> Iterator[Docstring]:
    """Reads the chapters that the interpreter's help() shows: one dictionary of long texts."""
    if not path.is_file():
        return
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Dict):
            for topic, text in sorted(ast.literal_eval(node).items()):
                yield Docstring(f"python.{topic}", text)


def _read_module(path: Path, name: str) -> Iterator[Docstring]:
    source = path.read_bytes()
    if sum(map(len, source.split(b'"""')[1::2])) < _MIN_SHARE * len(source):
        return
    try:
        with warnings.catch_warnings():
            # Somebody else's invalid escapes are no concern of ours.
            warnings.simplefilter("ignore")
            module = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    yield from _documented(module, name)


def _documented(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[Docstring]:
    if text := ast.get_docstring(node):
        yield Docstring(name, text)
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _documented(child, f"{name}.{child.name}")
