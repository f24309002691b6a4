"""A run over the real pages beside the checkout."""

from pathlib import Path

import pytest

from tests.command import webtext
from tests.conftest import SHARED

SETTINGS = """
[run]
dir = "run"
[collect]
dumps = ["{realweb}/RS_2019-12.zst"]
[link]
karma = "max"
submissions_per_part = 60
[fetch]
source = "warc"
warcs = ["{realweb}/pages.warc.gz"]
[filter]
languages = []
[tokenizer]
vocab_size = 2000
[shard]
val_fraction = 0.1
tokens_per_shard = 40000
"""


def build_real_pages(folder: Path) -> Path:
    """Builds the whole run, ``run`` in a folder with its settings file; skips where there are no pages."""
    if not SHARED.is_dir():
        pytest.skip(f"the real data is not beside the checkout ({SHARED} is not there)")
    (folder / "webtext.toml").write_text(SETTINGS.format(realweb=SHARED / "realweb"))
    answer = webtext("build", "webtext.toml", cwd=folder)
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr
    return folder
