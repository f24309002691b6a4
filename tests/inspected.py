"""An inspector of a run, asked over HTTP: what a page answers, without a browser."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pyarrow.fs
import pytest

import pipeline.runs
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.inspection import Inspection
from pipeline.inspector.judging.labels import Labels
from pipeline.inspector.web.app import create_app
from pipeline.inspector.web.security import Access
from pipeline.runs import Folder
from tests.browser import serving


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follows nothing: tests look at where they are sent."""


@contextmanager
def inspecting(run: Folder, *, indexed: bool = False) -> Iterator[str]:
    """Serves the inspector of a run until the block ends; its address."""
    with Catalogue(run) as catalogue:
        if indexed:
            catalogue.build()
            catalogue.wait()
            assert catalogue.state().is_ready
        with serving(create_app(Inspection(run, catalogue, Labels(run)), Access())) as address:
            yield address


def ask(address: str, form: Mapping[str, Any] | None = None, **headers: str) -> Answer:
    """GETs an address, or POSTs a form to it as one of the inspector's own pages does."""
    data = None if form is None else urlencode(form, doseq=True).encode()
    request = Request(address, data, {"sec-fetch-site": "same-origin", **headers})  # noqa: S310 - loopback
    try:
        with build_opener(_Stay).open(request, timeout=60) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read().decode())
    except HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read().decode())


@contextmanager
def remote(root: str) -> Iterator[Folder]:
    """A folder that is reached as an object store is, until the block ends: its files lie under ``root``."""

    def open_filesystem(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
        if not uri.startswith("s3://"):
            return opened(uri)
        return pyarrow.fs.SubTreeFileSystem(root, pyarrow.fs.LocalFileSystem()), uri.removeprefix("s3://")

    opened = pipeline.runs._open_filesystem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.runs, "_open_filesystem", open_filesystem)
        yield Folder("s3://bucket/run")
