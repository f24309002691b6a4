"""The reference of all settings is what the code says, and the code goes by each of them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from webtext.settings import Settings, sections
from webtext.settings_reference import HOW_TO, reference

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def settings_by_section() -> Iterator[tuple[str, str, type[BaseModel]]]:
    """Each setting: its section's dotted name, its own, and the section."""
    for name, section in sections(Settings()):
        for key in type(section).model_fields:
            if not isinstance(getattr(section, key), BaseModel):
                yield name, key, type(section)


def test_the_reference_is_what_the_code_writes() -> None:
    assert (DOCS / "settings.md").read_text("utf-8") == reference(), "run: make docs"


def test_the_reference_has_every_setting_and_its_how_to() -> None:
    text = reference()
    names = [f"{section}.{key}" for section, key, _ in settings_by_section()]
    assert len(names) > 150
    for name in names:
        assert text.count(f"| `{name}`") == (2 if name.startswith("filter.lines.") else 1), name
    assert HOW_TO.keys() >= Settings.model_fields.keys()
    for guide in HOW_TO.values():
        assert (DOCS / guide).is_file(), guide


@pytest.mark.parametrize(
    "row",
    [
        '| `fetch.source` | `"web"`, `"warc"` | `"web"` |',
        "| `fetch.timeout_s` | number of seconds, > 0 | `30.0` |",
        "| `fetch.domain_delays_s` ○ | table: name = number of seconds, ≥ 0 | `{}` |",
        "| `fetch.ports` | list: whole number, ≥ 1, ≤ 65,535 | `[80, 443]` |",
        "| `collect.reddit.contact` ○ | text |",  # of a section that is marked as a whole
        "| `collect.since` | day | — |",
        "| `filter.rules.gopher_hashes` | — | 0.1 | — | 0.1 | at most … number signs a word |",
        "| `filter.lines.terminal_punctuation` | `true` | `false` |",
        "| gpt2 | `1.5B` | 300,000,000,000 | 524,288 | 0 | 0.0002 |",
    ],
)
def test_rows_read_as_people_expect(row: str) -> None:
    assert f"\n{row}" in reference()


def _names(section: type[BaseModel]) -> set[str]:
    return {section.__name__, *(more.__name__ for more in section.__subclasses__())}


def _is_settings(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and node.name.endswith(("Settings", "Section"))


def _read(tree: ast.AST) -> Iterator[str]:
    """Names of attributes that are read, of fields of other classes, and words that stand as strings."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.decorator_list and "validator" in ast.dump(node):
            continue  # what a section checks of itself is no use
        if _is_settings(tree) and isinstance(node, ast.AnnAssign):
            continue  # the declaration
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        yield from _read(node)


def test_every_setting_is_used() -> None:
    """In a module that names the setting's section, or a section that has it inside."""
    modules = {
        path: path.read_text("utf-8")
        for package in ("pipeline", "tokenizer", "model", "webtext")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "settings_reference.py"
    }
    read = {path: set(_read(ast.parse(text))) for path, text in modules.items()}
    kinds = {name: _names(type(section)) for name, section in sections(Settings())}
    for name, key, _ in settings_by_section():
        if name == "filter.rules":
            continue  # filter reads them by the rules' names
        around = {*kinds[name], *kinds[name.split(".")[0]]}
        users = [path for path, text in modules.items() if any(kind in text for kind in around)]
        assert any(key in read[path] for path in users), f"nothing goes by {name}.{key}"
