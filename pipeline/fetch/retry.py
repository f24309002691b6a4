"""Trying again what failed: finished parts are opened anew for the links whose failure is of a kind.

The pages that a part has stay as they are; what the new tries bring goes into a second WARC file, and the
ledger keeps every try.
"""

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.fetch import politeness, spool
from pipeline.fetch.finish import CDXJ_SUFFIX
from pipeline.fetch.ledger import LEDGER_SUFFIX, last_tries
from pipeline.fetch.spool import Header
from pipeline.held import hold
from pipeline.records import Reason
from pipeline.runs import MANIFEST, Folder, Manifest, Part, read_manifest, read_sidecar

# What a link fails by on the web; the others are rules of the settings, or opt-outs.
REASONS = frozenset(
    [
        *politeness.PASSING,
        Reason.ROBOTS,
        Reason.CRAWL_DELAY,
        Reason.NOT_ALLOWED_ADDRESS,
        Reason.CERTIFICATE,
        Reason.TLS,
        Reason.DEAD_HOST,
        Reason.RATE_LIMITED,
        Reason.HTTP_4XX,
        Reason.HTTP_OTHER,
        Reason.HTTP_09,
        Reason.HEADER_TOO_LARGE,
        Reason.BAD_ENCODING,
        Reason.REDIRECT_LOOP,
        Reason.BAD_REDIRECT,
        Reason.NO_INDEX,
        Reason.WRONG_TYPE,
    ]
)


def parse_reasons(text: str) -> frozenset[Reason]:
    """Reasons from ``dns,timeout,http-5xx``.

    Raises:
        InputError: One is no reason for which a link fails on the web; all of those are named.
    """
    known = {str(reason): reason for reason in REASONS}
    names = [name.strip().lower().replace("-", "_") for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        said = f"{', '.join(wrong)}: no such reason" if wrong else "no reason is named"
        raise InputError(f"{said}. Reasons of fetch are: {', '.join(sorted(known))}.")
    return frozenset(known[name] for name in names)


def reopen(pages: Folder, reasons: Collection[Reason], source: str = "web") -> int:
    """Opens the parts of a finished fetch that have links whose last try failed for one of the reasons.

    From the moment that a part's sidecar is gone a build goes on with it, whatever stops this one.

    Args:
        pages: The stage's folder.
        reasons: Which failures are tried again.
        source: Where: "web", or an archive.

    Returns:
        How many links are tried again.

    Raises:
        InputError: The stage is not finished.
        RunError: A ledger or an index is damaged.
    """
    manifest = _finished(pages)
    due_by_part = {part.name: _due(pages, part, reasons) for part in manifest.counted()}
    opened = [part for part in manifest.counted() if due_by_part[part.name]]
    for part in opened:
        hold(pages, part.file(CDXJ_SUFFIX))  # it is written on, and so under a new checksum
        base = read_sidecar(pages, part.name) or part
        header = Header(
            fingerprint=part.fingerprint,
            generation=_generation(part) + 1,
            base=base.to_json(),
            due=dict(due_by_part[part.name]),
            source=source,
        )
        spool.begin_again(pages, part.name, header)
    if opened:  # the manifest first: with it, a build would take the stage for finished
        pages.remove([MANIFEST, *(f"{part.name}.json" for part in opened)])
    return sum(map(len, due_by_part.values()))


def _finished(pages: Folder) -> Manifest:
    manifest = read_manifest(pages)
    if manifest is None:
        raise InputError(
            f"{pages.uri} is not finished: `webtext build` goes on with it. What has failed can be tried "
            "again when it is."
        )
    return manifest


def _due(pages: Folder, part: Part, reasons: Collection[Reason]) -> Mapping[str, int]:
    """The links that are tried again, and the number of that try."""
    file = part.file(LEDGER_SUFFIX)
    hold(pages, file)
    last = last_tries(pages.read_table(file.name, columns=["id", "attempt", "outcome"]))
    wanted = [str(reason) for reason in reasons]
    due = last.filter(pc.is_in(last["outcome"], value_set=pa.array(wanted, pa.string())))
    attempts = [attempt + 1 for attempt in due["attempt"].to_pylist()]
    return dict(zip(due["id"].to_pylist(), attempts, strict=True))


def _generation(part: Part) -> int:
    """How often a part has been finished, by the names of its files."""
    middle = part.file(LEDGER_SUFFIX).name.removeprefix(part.name).removesuffix(LEDGER_SUFFIX)
    return int(middle.removeprefix(".") or 1)
