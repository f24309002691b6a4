"""What is called nowhere in the tree, since foreign bytes could run code or write outside by it.

Each call is known by what it is imported as; those that are fine stand in ALLOWED with the reason.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("webtext", "pipeline", "tokenizer", "model", "dags", "deploy", "tests", "benchmarks")

# What runs code that data hold, or a shell, or writes where archives say.
FORBIDDEN = {
    *(f"{module}.{name}" for module in ("pickle", "marshal") for name in ("load", "loads")),
    *("pickle.Unpickler", "pickle._Unpickler", "shelve.open", "joblib.load", "pandas.read_pickle"),
    *("torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"),
    "torch.distributed.checkpoint.filesystem.FileSystemReader",
    "torch.distributed.checkpoint.state_dict_loader.load",
    *("eval", "exec", "compile", "builtins.eval", "builtins.exec"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("tempfile.mktemp", "shutil.unpack_archive", "ssl._create_unverified_context"),
}
# What is fine with one argument, and not without it.
SAFE_WITH = {
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "lxml.etree.XMLParser": ("resolve_entities", False),
}
# What is never fine with an argument, whatever is called.
UNSAFE_WITH = {"shell": True, "trust_remote_code": True, "weights_only": False, "allow_pickle": True}
# Methods that write files, of whatever they are called on; fine with filter="data".
UNPACKING = {"extractall"}

_OF_TORCH = "torch.distributed.checkpoint"
_OWN = "what the test itself has pickled"
ALLOWED = {
    (
        "model/training/optimizer_state.py",
        f"{_OF_TORCH}.filesystem.FileSystemReader",
    ): "told where tensors are, it reads no metadata",
    ("model/training/optimizer_state.py", f"{_OF_TORCH}.state_dict_loader.load"): "by that reader",
    ("tests/test_security_pickles.py", "pickle.loads"): "it shows that the trap works",
    ("tests/test_object_store.py", "pickle.loads"): _OWN,
    ("tests/test_pipeline_export.py", "pickle.loads"): "what our export wrote",
    ("tests/test_pipeline_filter_contamination.py", "pickle.loads"): _OWN,
    ("tests/test_pipeline_urls.py", "pickle.loads"): _OWN,
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call | None]]:
    """What a module names or calls, by full dotted names as far as its imports tell them."""
    imported: dict[str, str] = {}
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    called = {id(node.func): node for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        if isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Load):
            yield dotted(node, imported), called.get(id(node))


def dotted(node: ast.expr, imported: dict[str, str]) -> str:
    """``np.load`` as ``numpy.load``; ``(…).extractall`` as ``.extractall``."""
    if isinstance(node, ast.Name):
        return imported.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, imported)}.{node.attr}"
    return ""


def offences(source: str) -> Iterator[str]:
    """The names of the calls in a module that are not to be."""
    for name, call in calls(ast.parse(source)):
        given = {one.arg: one.value for one in call.keywords} if call else {}
        if name in FORBIDDEN:
            yield name
        elif name in SAFE_WITH:
            argument, wanted = SAFE_WITH[name]
            if not is_constant(given.get(argument), wanted):
                yield name
        elif name.rpartition(".")[2] in UNPACKING and call and not is_constant(given.get("filter"), "data"):
            yield name.rpartition(".")[2]
        for argument, wanted in UNSAFE_WITH.items():
            if is_constant(given.get(argument), wanted):
                yield f"{name}({argument}={wanted})"


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def test_nothing_in_the_tree_runs_what_data_say() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for name in offences(path.read_text("utf-8"))
    }
    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import torch\ntorch.load(f)", "torch.load"),
        ("import torch\ntorch.load(f, weights_only=False)", "torch.load"),
        ("from torch import load as read\nread(f, weights_only=kind)", "torch.load"),
        ("import pickle as p\np.loads(b)", "pickle.loads"),
        ("from pickle import load\nmap(load, files)", "pickle.load"),
        ("import numpy as np\nnp.load(f)", "numpy.load"),
        ("import numpy as np\nnp.load(f, allow_pickle=True)", "numpy.load"),
        ("read(f, allow_pickle=True)", "read(allow_pickle=True)"),
        ("eval('1')", "eval"),
        ("import subprocess\nsubprocess.run('x', shell=True)", "subprocess.run(shell=True)"),
        ("import os\nos.system('x')", "os.system"),
        ("import tarfile\nwith tarfile.open(f) as tar:\n    tar.extractall(folder)", "extractall"),
        ("import zipfile\nzipfile.ZipFile(f).extractall(folder)", "extractall"),
        ("import shutil\nshutil.unpack_archive(f)", "shutil.unpack_archive"),
        ("from lxml import etree\netree.XMLParser()", "lxml.etree.XMLParser"),
        ("import yaml\nyaml.load(f)", "yaml.load"),
        ("from datasets import load_dataset\nload_dataset(n, trust_remote_code=True)", "trust_remote_code"),
    ],
)
def test_what_is_not_to_be_is_seen(source: str, name: str) -> None:
    assert any(name in one for one in offences(source)), source


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(f, weights_only=True)",
        "import numpy as np\nnp.load(f, allow_pickle=False)",
        "network.eval()",
        "import json\njson.load(f)",
        "import re\nre.compile('a')",
        "import tarfile\ntarfile.open(f).extractall(folder, filter='data')",
    ],
)
def test_what_may_be_is_not(source: str) -> None:
    assert not list(offences(source)), source
