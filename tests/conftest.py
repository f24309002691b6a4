"""What tests share: real data beside the checkout, and a stage run by hand."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pipeline.config import Section
from pipeline.runs import Folder, Manifest
from pipeline.stages import BY_NAME, Job, execute

SHARED = Path(__file__).resolve().parents[2] / "shared" / "realdata"

# How long an example takes depends on the machine: no test is about that.
settings.register_profile("test", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("test")
# What "make fuzz" asks for; a test run takes hypothesis' own hundred examples, or fewer where a test says so.
settings.register_profile("fuzz", settings.get_profile("test"), max_examples=100_000)

# A shell lets what it starts in the background ignore Ctrl-C, and so would the commands that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

RunStage = Callable[..., Manifest]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks as small as tests have are fastest on one core, above all where others are busy."""
    import torch  # which most tests have no use for

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def realdata() -> Path:
    """The folder of real data that may lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"the real data is not beside the checkout ({SHARED} is not there)")
    return SHARED


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    """An empty run directory."""
    return Folder(str(tmp_path / "run"))


@pytest.fixture(scope="session")
def small_built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the settings, the sources and the finished run of a few pages: for reading alone."""
    from tests.removal_run import FEW, build_in, write_sources

    folder = tmp_path_factory.mktemp("small")
    write_sources(folder, FEW)
    build_in(folder)
    return folder


@pytest.fixture(scope="session")
def real_built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the settings and the finished run over the real pages: for reading alone."""
    from tests.real_pages import build_real_pages

    return build_real_pages(tmp_path_factory.mktemp("realweb"))


@pytest.fixture
def run_stage(run: Folder) -> RunStage:
    """Brings one stage of ``run`` to its manifest: ``run_stage("link", settings, collect=manifest)``."""

    def execute_stage(name: str, settings: Section, **inputs: Manifest) -> Manifest:
        job = Job(BY_NAME[name], run, settings, inputs)
        return execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())

    return execute_stage
