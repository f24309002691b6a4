"""What the tests of engines share."""

from pathlib import Path

import pytest

from tests.real_pages import build_real_pages


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over the real pages, by the local runner: to be copied, not changed."""
    return build_real_pages(tmp_path_factory.mktemp("realweb"))
