"""Which links a removal takes: those asked for, and those that hold the same."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import urls
from pipeline.canonical import canonical, key_of
from pipeline.config import UrlSettings
from pipeline.dedupe.signatures import SIGNATURES
from pipeline.fetch.ledger import FETCHED, LEDGER_SUFFIX
from pipeline.hosts import parents
from pipeline.records import Reason
from pipeline.remove.request import Request
from pipeline.remove.tombstones import RemovedDomain, read_removed, url_hash
from pipeline.runs import Folder, Manifest
from pipeline.stages import BY_NAME

ASKED, NEAR_DUPLICATE, SAME_TEXT, SAME_PAGE = "asked", "near_duplicate", "same_text", "same_page"

# A bond is a group of links of which none goes without the others.
_BOND = pa.schema([pa.field("id", pa.string()), pa.field("group", pa.string())])


@dataclass(frozen=True, slots=True)
class Why:
    """Why a link goes: asked for, or with which other."""

    reason: str
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """What a removal takes.

    Attributes:
        links: By id, why; all of them are in the run.
        url_hashes: Of each link's addresses: as they were submitted, and where its redirects have led.
        keys: Of addresses, linked or not, that lead to what is removed.
        unmatched: Where the entries stand that nothing in the run matches.
    """

    links: Mapping[str, Why]
    url_hashes: Mapping[str, list[bytes]]
    keys: frozenset[bytes]
    unmatched: tuple[str, ...]


def find_targets(
    run: Folder,
    manifests: Mapping[str, Manifest],
    request: Request,
    rules: UrlSettings,
    *,
    near_duplicates: bool,
) -> Targets:
    """What a removal takes from a run.

    Args:
        run: The run.
        manifests: Of its finished stages; collect is one.
        request: What was asked for.
        rules: By which links have their keys.
        near_duplicates: Whether all of a document's cluster goes with it; else those of the same text alone.
    """
    seen: set[str] = set()
    gone = {name: Why(ASKED) for name in _matching(run, manifests, request, seen)}
    gone |= {name: Why(ASKED) for name in _leading_to(run, manifests, request.domains, seen)}
    gone |= {key.hex(): Why(ASKED) for key in request.keys if key.hex() not in gone}
    _close(gone, list(_bonds(run, manifests, rules, near_duplicates)))
    addresses = _addresses(run, manifests, gone)
    led_to = {why.of for why in gone.values()}
    seen |= {where for key, where in request.keys.items() if key.hex() in led_to}
    seen |= _removed_before(run, request)
    return Targets(
        links={name: why for name, why in sorted(gone.items()) if name in addresses},
        url_hashes=addresses,
        keys=frozenset(bytes.fromhex(name) for name in gone),
        unmatched=tuple(where for where in request.places if where not in seen),
    )


def _removed_before(run: Folder, request: Request) -> set[str]:
    """Where entries stand that an earlier removal has met."""
    removed = read_removed(run)
    return {
        *(where for key, where in request.keys.items() if key in removed.keys),
        *(where for host, where in request.domains.items() if RemovedDomain.of(host) in removed.domains),
        *(where for name, where in request.submissions.items() if name in removed.submissions),
    }


def _matching(
    run: Folder, manifests: Mapping[str, Manifest], request: Request, seen: set[str]
) -> Iterator[str]:
    """The ids of the links that an entry names; where entries stand that do is added to ``seen``."""
    opt_outs = request.opt_outs()
    folder = run / BY_NAME["collect"].folder
    for part in manifests["collect"].counted():
        table = folder.read_table(f"{part.name}.parquet", ["key", "domain_hash", "url", "id"])
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        asked = np.zeros(table.num_rows, np.bool_)
        if request.keys:
            asked |= opt_outs.among_keys(columns["key"])
        if request.submissions:
            asked |= opt_outs.among_ids(columns["id"])
        if request.domains:
            asked |= opt_outs.on_host(columns["domain_hash"].to_numpy(), columns["url"])
        for row in table.filter(pa.array(asked)).to_pylist():
            seen |= {request.keys.get(row["key"], ""), request.submissions.get(row["id"], "")}
            seen |= set(_domains_of(row["url"], request.domains).values())
            yield row["key"].hex()


def _domains_of(url: str | None, domains: Mapping[str, str]) -> dict[str, str]:
    parsed = urls.parse(url) if domains and url else None
    return {name: domains[name] for name in parents(parsed.host) if name in domains} if parsed else {}


def _leading_to(
    run: Folder, manifests: Mapping[str, Manifest], domains: Mapping[str, str], seen: set[str]
) -> Iterator[str]:
    """The ids of the links whose redirects end on one of the domains."""
    for row in _redirected(run, manifests) if domains else ():
        if found := _domains_of(row["final_url"], domains):
            seen |= set(found.values())
            yield row["id"]


def _redirected(run: Folder, manifests: Mapping[str, Manifest]) -> Iterator[Mapping[str, str]]:
    for table in _ledgers(run, manifests, ["id", "outcome", "redirects", "final_url"]):
        yield from table.filter(pc.greater(table["redirects"], 0)).to_pylist()


def _ledgers(run: Folder, manifests: Mapping[str, Manifest], columns: list[str]) -> Iterator[pa.Table]:
    """The rows of pages, a table a part."""
    folder = run / BY_NAME["fetch"].folder
    for part in manifests["fetch"].counted() if "fetch" in manifests else ():
        table = folder.read_table(part.file(LEDGER_SUFFIX).name, columns)
        yield table.filter(pc.equal(table["outcome"], FETCHED))


def _bonds(
    run: Folder, manifests: Mapping[str, Manifest], rules: UrlSettings, near_duplicates: bool
) -> Iterator[tuple[str, pa.Table]]:
    """What holds links together, and what to call it."""
    if "dedupe" in manifests:
        corpus = run / BY_NAME["dedupe"].folder
        if near_duplicates:
            clusters = corpus.read_table("clusters.parquet", ["id", "cluster"])
            yield NEAR_DUPLICATE, clusters.rename_columns(_BOND.names).cast(_BOND)
        else:
            yield SAME_TEXT, _same_texts(corpus, manifests["dedupe"])
    yield SAME_PAGE, _same_records(run, manifests)
    yield SAME_PAGE, _pairs(_joined(run, manifests))
    final = ((row["id"], _key(row["final_url"], rules)) for row in _redirected(run, manifests))
    yield SAME_PAGE, _pairs((name, key) for name, key in final if key is not None and key != name)


def _same_texts(corpus: Folder, manifest: Manifest) -> pa.Table:
    names = [part.files[0].name for part in manifest.parts if part.name.startswith(SIGNATURES)]
    tables = [corpus.read_table(name, ["id", "text_hash"]) for name in names]
    if not tables:
        return _BOND.empty_table()
    table = pa.concat_tables(tables)
    return _several(table["id"], _hex(table["text_hash"]))


def _hex(hashes: pa.ChunkedArray) -> pa.Array:
    return pa.array([one.hex() for one in hashes.to_pylist()], pa.string())


def _same_records(run: Folder, manifests: Mapping[str, Manifest]) -> pa.Table:
    """Links whose page is the same WARC record."""
    tables = [_BOND.empty_table()]
    for ledger in _ledgers(run, manifests, ["id", "outcome", "warc", "offset"]):
        offsets = pc.cast(ledger["offset"], pa.string())
        tables.append(_several(ledger["id"], pc.binary_join_element_wise(ledger["warc"], offsets, " ")))
    return pa.concat_tables(tables)


def _several(ids: pa.ChunkedArray, groups: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The groups of more than one."""
    counted = pc.value_counts(pc.drop_null(groups))
    several = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    table = pa.table({"id": ids, "group": groups})
    return table.filter(pc.is_in(table["group"], value_set=several)).cast(_BOND)


def _joined(run: Folder, manifests: Mapping[str, Manifest]) -> Iterator[tuple[str, str]]:
    """Links that extract found to be another's page, and that other."""
    folder = run / BY_NAME["extract"].folder
    for part in manifests["extract"].counted() if "extract" in manifests else ():
        table = folder.read_table(f"{part.name}.rejected.parquet", ["id", "reason", "value"])
        same = table.filter(pc.equal(table["reason"], str(Reason.SAME_PAGE)))
        yield from zip(same["id"].to_pylist(), same["value"].to_pylist(), strict=True)


def _pairs(pairs: Iterable[tuple[str, str]]) -> pa.Table:
    rows = [(name, other) for one, other in pairs for name in (one, other)]
    return pa.table([pa.array([row[i] for row in rows], pa.string()) for i in range(2)], schema=_BOND)


@lru_cache(maxsize=1 << 16)
def _key(url: str | None, rules: UrlSettings) -> str | None:
    parsed = urls.parse(url) if url else None
    return key_of(canonical(parsed, rules)).hex() if parsed else None


def _close(gone: dict[str, Why], bonds: Iterable[tuple[str, pa.Table]]) -> None:
    """Adds all that goes with what goes, until there is no more."""
    frontier = list(gone)
    while frontier:
        found: dict[str, Why] = {}
        for reason, bond in bonds:
            touched = bond.filter(pc.is_in(bond["id"], value_set=pa.array(frontier, pa.string())))
            of = dict(zip(touched["group"].to_pylist(), touched["id"].to_pylist(), strict=True))
            members = bond.filter(pc.is_in(bond["group"], value_set=pa.array(of, pa.string())))
            for name, group in zip(members["id"].to_pylist(), members["group"].to_pylist(), strict=True):
                if name not in gone:
                    found.setdefault(name, Why(reason, of[group]))
        gone |= found
        frontier = list(found)


def _addresses(run: Folder, manifests: Mapping[str, Manifest], gone: Iterable[str]) -> dict[str, list[bytes]]:
    """Of the links that are in the run the hashes of their addresses."""
    keys = pa.array([bytes.fromhex(name) for name in gone], pa.binary(16))
    hashes: defaultdict[str, set[bytes]] = defaultdict(set)
    folder = run / BY_NAME["collect"].folder
    for part in manifests["collect"].counted():
        table = folder.read_table(f"{part.name}.parquet", ["key", "url"])
        table = table.filter(pc.is_in(table["key"], value_set=keys))
        for key, url in zip(table["key"].to_pylist(), table["url"].to_pylist(), strict=True):
            hashes[key.hex()].add(url_hash(url))
    for row in _redirected(run, manifests):
        if row["id"] in hashes:
            hashes[row["id"]].add(url_hash(row["final_url"]))
    return {name: sorted(of) for name, of in hashes.items()}
