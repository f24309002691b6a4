"""What owners asked to leave out: domains, URLs and submissions, from the settings and from files."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.canonical import canonical, key_of
from pipeline.config import LinkSettings, UrlSettings
from pipeline.errors import InputError
from pipeline.hosts import domain_hash, lies_within, parents, registrable_domain
from pipeline.inputs import expand
from pipeline.records import SUBMISSIONS
from pipeline.remove.tombstones import Removed
from pipeline.urls import parse
from pipeline.wrappers import unwrap

_SUBMISSION = re.compile(r"t3_([0-9a-z]+)")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")
_REMARK = re.compile(r"(^|\s)#.*")

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class OptOuts:
    """Entries by what they mean, ready to be compared with columns.

    ``domains`` are hosts that stand for their subdomains too. Of these ``suffixes`` have whole registrable
    domains under them (``co.uk``); the others' registrable domains have the ``hashes``. Domains of which
    only hashes are known are in ``hashed``, and in ``hashed_suffixes`` if they are such.
    """

    domains: frozenset[str]
    suffixes: frozenset[str]
    hashed: frozenset[int]
    hashed_suffixes: frozenset[int]
    hashes: NDArray[np.uint64]
    keys: pa.Array  # of canonical URLs
    submissions: pa.Array  # ids

    @classmethod
    def of(
        cls,
        domains: Iterable[str] = (),
        keys: Iterable[bytes] = (),
        submissions: Iterable[str] = (),
        removed: Removed | None = None,
    ) -> Self:
        """From hosts as the WHATWG parser writes them, links' keys, and ids without ``t3_``.

        What was removed from the run is as if it were among them.
        """
        gone = removed or Removed()
        hosts = frozenset(domains)
        suffixes = frozenset(host for host in hosts if _is_suffix(host))
        hashes = {domain_hash(registrable_domain(host)) for host in hosts - suffixes}
        hashes |= {one.registrable for one in gone.domains if one.registrable is not None}
        return cls(
            hosts,
            suffixes,
            frozenset(one.host for one in gone.domains),
            frozenset(one.host for one in gone.domains if one.registrable is None),
            np.array(sorted(hashes), np.uint64),
            pa.array(sorted({*keys, *gone.keys}), SUBMISSIONS.field("key").type),
            pa.array(sorted({*submissions, *gone.submissions}), SUBMISSIONS.field("id").type),
        )

    def domain_hashes(self) -> frozenset[int]:
        """Of all its domains."""
        return self.hashed | {domain_hash(domain) for domain in self.domains}

    def digest(self) -> str:
        """The SHA-256, in hex, of the entries, in whatever order they were written."""
        keys = [key.hex() for key in self.keys.to_pylist()]
        lines = [*sorted(self.domains), "", *keys, "", *self.submissions.to_pylist()]
        lines += [f"{one:016x}" for one in sorted(self.hashed)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def among_ids(self, ids: pa.Array) -> Mask:
        """Which of these submissions' ids are an entry's."""
        return _among(ids, self.submissions)

    def among_keys(self, keys: pa.Array) -> Mask:
        """Which of these keys are of an entry's URL."""
        return _among(keys, self.keys)

    def on_host(self, domain_hashes: NDArray[np.uint64], urls: pa.Array) -> Mask:
        """Which URLs are on a host that is, or lies under, one of the domains.

        Only URLs that share a registrable domain with an entry are parsed.
        """
        hashes = self.hashes
        if self.suffixes or self.hashed_suffixes:
            # One URL of each registrable domain tells whether all are under a suffix.
            distinct, firsts = np.unique(domain_hashes, return_index=True)
            suffixes = self.suffixes, self.hashed_suffixes
            under = [_lies_within(host, *suffixes) for host in _hosts(urls.take(pa.array(firsts)))]
            hashes = np.concatenate([hashes, distinct[np.array(under, np.bool_)]])
        candidates = np.flatnonzero(np.isin(domain_hashes, hashes))
        found = np.zeros(len(urls), np.bool_)
        hosts = _hosts(urls.take(pa.array(candidates)))
        found[candidates] = [_lies_within(host, self.domains, self.hashed) for host in hosts]
        return found


def read_opt_outs(settings: LinkSettings, rules: UrlSettings, removed: Removed | None = None) -> OptOuts:
    """The entries of the settings and of the files that they name, and what was removed from the run.

    Args:
        settings: What to leave out.
        rules: How collect has read its URLs, so that an entry's has the same key.
        removed: What was removed.

    Raises:
        InputError: An entry is neither a domain nor a URL nor a submission; the file and line are named.
    """
    entries = [("link.opt_out", entry) for entry in settings.opt_out]
    if settings.opt_out_lists:
        for path in expand(settings.opt_out_lists, "link.opt_out_lists"):
            entries += read_entries(path)
    domains, keys, submissions = set(), set(), set()
    for where, entry in entries:
        if submission := submission_of(entry):
            submissions.add(submission)
        elif key := link_key_of(entry, rules):
            keys.add(key)
        elif host := host_of(entry):
            domains.add(host)
        else:
            raise InputError(
                f"{where}: {entry!r} is neither a domain (example.com) nor a URL (https://example.com/page) "
                "nor a submission (t3_abc123). Correct it, or take it out."
            )
    return OptOuts.of(domains, keys, submissions, removed)


def read_entries(path: str) -> Iterator[tuple[str, str]]:
    """A file's entries, one a line and without remarks, each behind where it stands.

    Raises InputError where a line is not UTF-8.
    """
    for number, line in enumerate(Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        where = f"{path}, line {number}"
        try:
            entry = _REMARK.sub("", line.decode()).strip()
        except UnicodeDecodeError:
            raise InputError(
                f"{where} is not UTF-8. Write the list as UTF-8 text, one entry a line."
            ) from None
        if entry:
            yield where, entry


def submission_of(entry: str) -> str | None:
    """The id, without ``t3_``, that an entry is."""
    found = _SUBMISSION.fullmatch(entry)
    return found and found[1]


def link_key_of(entry: str, rules: UrlSettings) -> bytes | None:
    """The key that a submission of the URL would have, if the entry is one."""
    url = parse(entry) if "://" in entry else None
    return url and key_of(canonical(unwrap(url) if rules.unwrap else url, rules))


def host_of(entry: str) -> str | None:
    """The host that an entry is, and nothing but a host."""
    url = None if "://" in entry else parse(f"http://{entry}")
    if url is None or url.href != f"http://{url.host}/" or not _HOST.fullmatch(url.host):
        return None
    return url.host


def _is_suffix(host: str) -> bool:
    """Whether whole registrable domains lie under a host: then it has none itself."""
    return registrable_domain(f"a.{host}") != registrable_domain(host)


def _lies_within(host: str, domains: frozenset[str], hashed: frozenset[int]) -> bool:
    return lies_within(host, domains) or any(domain_hash(name) in hashed for name in hashed and parents(host))


def _among(values: pa.Array, entries: pa.Array) -> Mask:
    among: Mask = pc.is_in(values, value_set=entries).to_numpy(zero_copy_only=False)
    return among


def _hosts(urls: pa.Array) -> Iterator[str]:
    for text in urls.to_pylist():
        url = parse(text)
        yield "" if url is None else url.host
