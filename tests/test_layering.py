"""Who may import whom: the arrows of ARCHITECTURE.md."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("webtext", "pipeline", "tokenizer", "model", "dags")
MAY_IMPORT = {
    "webtext": {"webtext", "pipeline", "tokenizer", "model"},
    "pipeline": {"pipeline", "tokenizer"},
    "tokenizer": {"tokenizer"},
    "model": {"model", "tokenizer"},
    "dags": set[str](),
}


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} has no modules"
    return found


def modules(package: str) -> Iterator[tuple[Path, set[str]]]:
    for path in files(package):
        imported = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                imported.add(node.module or "")
        yield path.relative_to(ROOT), imported


def importers(*names: str) -> set[Path]:
    """The modules that import one of these libraries."""
    return {
        path
        for package in PACKAGES
        for path, imported in modules(package)
        if {name.split(".")[0] for name in imported} & set(names)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_meet_along_the_arrows_only(package: str) -> None:
    for path, imported in modules(package):
        ours = {name.split(".")[0] for name in imported} & set(PACKAGES)
        assert ours <= MAY_IMPORT[package], f"{path} imports {ours - MAY_IMPORT[package]}"


def test_only_beam_modules_import_beam() -> None:
    assert {(path.parts[0], path.name) for path in importers("apache_beam")} == {("pipeline", "beam.py")}


def test_dags_are_parsed_without_anything_heavy() -> None:
    own = {path.stem for path in (ROOT / "dags").glob("*.py")}
    for path, imported in modules("dags"):
        tops = {name.split(".")[0] for name in imported}
        assert tops <= sys.stdlib_module_names | {"airflow"} | own, path


def test_only_the_model_imports_torch() -> None:
    assert {path.parts[0] for path in importers("torch")} == {"model"}


def test_only_the_asking_of_reddit_imports_praw() -> None:
    assert importers("praw", "prawcore") == {Path("pipeline/collect/reddit.py")}


def test_the_inspector_keeps_the_web_and_the_index_in_one_place_each() -> None:
    assert importers("tantivy") == {Path("pipeline/inspector/search/text_index.py")}
    web = Path("pipeline/inspector/web")
    served_by = Path("webtext/inspector.py")  # the command
    assert {path.parent for path in importers("starlette") - {served_by}} == {web}


@pytest.mark.parametrize(
    "module", ["pipeline", "pipeline.status", "pipeline.verify", "webtext.cli", "webtext.settings", "model"]
)
def test_looking_is_light(module: str) -> None:
    """What only looks at a run, or prints help, pulls in neither Beam nor torch nor a web server."""
    heavy = ["apache_beam", "torch", "aiohttp", "starlette", "trafilatura", "altair", "transformers", "praw"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["webtext", "pipeline", "tokenizer", "model"])
def test_each_package_is_ours(package: str) -> None:
    """Distributions of these names exist; the installed one must be this checkout's."""
    code = f"import {package}; print({package}.__file__)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert Path(answer.stdout.strip()).is_relative_to(ROOT)
    importlib.import_module(package)


@pytest.mark.parametrize("package", [*PACKAGES, "tests", "benchmarks"])
def test_files_stay_short(package: str) -> None:
    for path in files(package):
        assert len(path.read_text("utf-8").splitlines()) <= 500, path


@pytest.mark.parametrize("package", [*PACKAGES, "tests", "benchmarks"])
def test_functions_fit_a_screen(package: str) -> None:
    """What a function says and does; a command's signature, with an option a line or two, is not counted."""
    for path in files(package):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.body[0].lineno + 1
                assert lines <= 60, f"{path}: {node.name} has {lines} lines"
