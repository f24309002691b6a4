"""What is asked to be removed: a file with one entry a line, all of one kind."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from pipeline.config import UrlSettings
from pipeline.errors import InputError
from pipeline.link.opt_out import OptOuts, host_of, link_key_of, read_entries, submission_of

_ID = re.compile(r"[0-9a-f]{32}")
_MAX_SHOWN = 80  # characters of an entry that is wrong


class Kind(StrEnum):
    """What the entries of a file are."""

    URLS = "urls"
    DOMAINS = "domains"
    SUBMISSIONS = "submissions"
    DOCUMENTS = "documents"


_EXAMPLES = {
    Kind.URLS: "a URL (https://example.com/page)",
    Kind.DOMAINS: "a domain (example.com)",
    Kind.SUBMISSIONS: "a submission (t3_abc123)",
    Kind.DOCUMENTS: "a document's id (32 hexadecimal digits)",
}


@dataclass(frozen=True, slots=True)
class Request:
    """The entries of a file, each with the places (file and line) where it stands; one of three has any."""

    kind: Kind
    keys: dict[bytes, str]
    domains: dict[str, str]
    submissions: dict[str, str]

    def opt_outs(self) -> OptOuts:
        """The same, ready to be compared with columns."""
        return OptOuts.of(self.domains, self.keys, self.submissions)

    @property
    def places(self) -> list[str]:
        """Where the entries stand."""
        return [*self.keys.values(), *self.domains.values(), *self.submissions.values()]


def read_request(kind: Kind, path: Path, rules: UrlSettings) -> Request:
    """The entries of a file.

    Args:
        kind: What they are.
        path: The file: UTF-8, an entry a line; what stands behind ``#`` is a remark.
        rules: By which the run's links have their keys.

    Raises:
        InputError: There is no such file, it has no entry, or one is not of the kind; its line is named.
    """
    if not path.is_file():
        raise InputError(f"--{kind}: {path} is not a file. Give one with an entry a line.")
    read = _readers(rules)[kind]
    found: dict[bytes | str, str] = {}
    for where, entry in read_entries(str(path)):
        value = read(entry)
        if not value:
            shown = entry if len(entry) <= _MAX_SHOWN else f"{entry[:_MAX_SHOWN]}…"
            raise InputError(
                f"{where}: {shown!r} is not {_EXAMPLES[kind]}. Correct it, or take it out: nothing was "
                "removed."
            )
        found.setdefault(value, where)
    if not found:
        raise InputError(f"{path} has no entry: write {_EXAMPLES[kind]} a line.")
    keys = {value: where for value, where in found.items() if isinstance(value, bytes)}
    names = {value: where for value, where in found.items() if isinstance(value, str)}
    is_domain = kind is Kind.DOMAINS
    return Request(kind, keys, names if is_domain else {}, {} if is_domain else names)


def _readers(rules: UrlSettings) -> dict[Kind, Callable[[str], bytes | str | None]]:
    return {
        Kind.URLS: partial(link_key_of, rules=rules),
        Kind.DOMAINS: host_of,
        Kind.SUBMISSIONS: submission_of,
        Kind.DOCUMENTS: _document,
    }


def _document(entry: str) -> bytes | None:
    return bytes.fromhex(entry) if _ID.fullmatch(entry) else None
