"""A document's whole story: who linked it, how it was fetched, and what became of it, stage by stage."""

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from pipeline.errors import InputError
from pipeline.filter.settings import FilterSettings
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.document.clusters import Member, cluster_of, read_members
from pipeline.inspector.document.measures import Measures, judge
from pipeline.inspector.document.stored import last_page, part_of, read_document, read_measures
from pipeline.inspector.judging.reasons import limit, meaning, split_other
from pipeline.runs import Manifest

Row = Mapping[str, Any]

_WITH_TEXTS = ("extract", "filter", "dedupe")


@dataclass(frozen=True, slots=True)
class Step:
    """What a stage did with a document.

    Attributes:
        stage: Its name.
        outcome: "kept", "rejected", or "unfinished" where the stage is.
        reason: Why it was rejected.
        meaning: The reason in words.
        said: What else there is to say: what was measured, where it went.
        asked: The limit that was in force.
        other: The id of the document that was kept in its place, if one was.
    """

    stage: str
    outcome: str
    reason: str = ""
    meaning: str = ""
    said: str = ""
    asked: str = ""
    other: str | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """All that a run knows of a link or document.

    Attributes:
        id: Its id.
        link: Its row of links.
        tries: Its rows of the ledger, the first try first.
        steps: What became of it, up to the stage that rejected it or to where the run has come.
        page: The one of them that brought its page, if one did.
        texts: The document as extract left it and, where its text was changed later, as the last stage did
            that kept it, each by its stage.
        measures: What filter measured.
        cluster: The name of the cluster that it shares with others.
        members: Of that cluster.
        place: Its row of the shards' documents.
        problems: What could not be read, in words.
    """

    id: str
    link: Row | None
    tries: Sequence[Row]
    steps: Sequence[Step]
    page: Row | None
    texts: dict[str, Row]
    measures: Measures | None
    cluster: str | None
    members: Sequence[Member]
    place: Row | None
    problems: Sequence[str]

    @property
    def document(self) -> Row | None:
        """As the last stage that kept it left it; None where it never became one."""
        return next(reversed(self.texts.values()), None)

    @property
    def url(self) -> str:
        """As it was linked."""
        rows = (self.document, self.link, *self.tries)
        return next((str(row["url"]) for row in rows if row is not None), "")

    @property
    def fate(self) -> Step | None:
        """The last step."""
        return self.steps[-1] if self.steps else None


def tell(catalogue: Catalogue, document_id: str) -> Story | None:
    """The story of a link or document; None where the run knows none of this id.

    What cannot be read is left out, and told among the problems.
    """
    return _Teller(catalogue, document_id).tell()


@dataclass(slots=True)
class _Teller:
    """Gathers a story."""

    catalogue: Catalogue
    id: str
    problems: list[str] = field(default_factory=list)

    def tell(self) -> Story | None:
        manifests = self.catalogue.contents.manifests
        link = next(iter(self._rows("links")), None)
        tries = sorted(self._rows("ledger"), key=lambda row: row["attempt"])
        rejected = {row["stage"]: row for row in self._rows("rejected")}
        page = last_page(tries)
        part = None if page is None else part_of(page)
        texts = self._texts(part, manifests.keys(), rejected.keys())
        if link is None or not tries:  # it may be in what is damaged
            self.problems += self.catalogue.damage()
        if link is None and not tries and not rejected and not texts:
            return None
        members: Sequence[Member] = ()
        cluster: str | None = None
        with self._noting():
            cluster = cluster_of(self.catalogue, self.id)
            members = read_members(self.catalogue, cluster) if cluster else ()
        place = next(iter(self._rows("shard_documents")), None)
        told = _Told(manifests, link, tries, rejected, texts, members, place)
        return Story(
            id=self.id,
            link=link,
            tries=tries,
            steps=list(told.steps()),
            page=page,
            texts=_that_differ(texts),
            measures=self._measures(part, manifests.get("filter")),
            cluster=cluster,
            members=members,
            place=place,
            problems=list(dict.fromkeys(self.problems)),
        )

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """What cannot be read in the block is a problem, and no end of the story."""
        try:
            yield
        except InputError as error:
            self.problems.append(str(error))

    def _rows(self, table: str) -> list[dict[str, Any]]:
        if table in self.catalogue.contents.tables:
            with self._noting():
                return self.catalogue.rows(f"SELECT * FROM {table} WHERE id = ?", [self.id])  # noqa: S608 - ours
        return []

    def _texts(self, part: str | None, finished: Set[str], rejected: Set[str]) -> dict[str, Row]:
        """The document as extract left it, and as the last stage did that kept it."""
        kept = list(takewhile(lambda stage: stage in finished - rejected, _WITH_TEXTS))
        texts: dict[str, Row] = {}
        for stage in dict.fromkeys((*kept[:1], *kept[-1:])):
            with self._noting():
                document = part and read_document(self.catalogue, stage, part, self.id)
                if document:
                    texts[stage] = document
        return texts

    def _measures(self, part: str | None, manifest: Manifest | None) -> Measures | None:
        if part is not None and manifest is not None:
            with self._noting():
                measured = read_measures(self.catalogue, part, self.id)
                if measured is not None:
                    return judge(measured, FilterSettings.model_validate(manifest.settings))
        return None


def _that_differ(texts: dict[str, Row]) -> dict[str, Row]:
    """One document under extract's name where its text is as it was extracted, else both."""
    first, last = next(iter(texts.values()), None), next(reversed(texts.values()), None)
    same = first is not None and last is not None and first["text"] == last["text"]
    return {next(iter(texts)): last} if same and last is not None else texts


@dataclass(frozen=True, slots=True)
class _Told:
    """What is known of a document, made into steps."""

    manifests: Mapping[str, Manifest]
    link: Row | None
    tries: Sequence[Row]
    rejected: Mapping[str, Row]
    texts: dict[str, Row]
    members: Sequence[Member]
    place: Row | None

    def steps(self) -> Iterator[Step]:
        """Up to the one that rejected it, or that is not finished."""
        for stage, kept in (
            ("collect", self._collected),
            ("link", self._linked),
            ("fetch", self._fetched),
            ("extract", self._extracted),
            ("filter", self._filtered),
            ("dedupe", self._deduplicated),
            ("shard", self._sharded),
        ):
            if stage not in self.manifests:
                yield Step(stage, "unfinished", said="not finished: webtext build goes on with it")
                return
            row = self._rejection(stage)
            if row is not None:
                yield self._rejected(stage, str(row["reason"]), str(row["value"]))
                return
            said = kept()
            if said is not None:
                yield Step(stage, "kept", said=said)

    def _rejection(self, stage: str) -> Row | None:
        if stage == "fetch" and self.tries and self.tries[-1]["outcome"] != "fetched":
            return {"reason": self.tries[-1]["outcome"], "value": self.tries[-1]["detail"]}
        return self.rejected.get(stage)

    def _rejected(self, stage: str, reason: str, value: str) -> Step:
        other, said = split_other(value)
        asked = limit(stage, reason, self.manifests[stage].settings)
        return Step(
            stage,
            "rejected",
            reason=reason,
            meaning=meaning(reason),
            said=said,
            asked="" if asked is None else asked.text,
            other=other,
        )

    def _collected(self) -> str | None:
        return None if self.link is None else _counted(len(self.link["submissions"]), "submission")

    def _linked(self) -> str | None:
        if self.link is None:
            return None
        return f"karma {self.link['karma']:,}; asked for: {self.manifests['link'].settings['min_karma']:,}"

    def _fetched(self) -> str | None:
        if not self.tries:
            return None
        size = self.tries[-1]["bytes"]
        said = "at the first try" if len(self.tries) == 1 else f"after {len(self.tries):,} tries"
        return said if size is None else f"{said}: {_counted(size, 'byte')}"

    def _extracted(self) -> str | None:
        document = self.texts.get("extract")
        if document is None:
            return None
        return f"{_counted(len(document['text']), 'character')} by {document['extractor']}"

    def _filtered(self) -> str | None:
        document = self.texts.get("dedupe", self.texts.get("filter"))
        if document is None:
            return None
        said = f"{_counted(document['num_words'], 'word')} of {document['language']}"
        num = document["contaminated_grams"]
        shared = f"; {_counted(num, 'run')} of words that evaluation sets have too" if num else ""
        return said + shared

    def _deduplicated(self) -> str | None:
        if "dedupe" not in self.texts:
            return None
        if not self.members:
            return "nothing like it"
        return f"in a cluster of {_counted(len(self.members), 'document')}"

    def _sharded(self) -> str | None:
        place = self.place
        if place is None:
            return None
        tokens = _counted(place["num_tokens"], "token")
        return f"{place['split']}-{place['shard']:05d}, sequence {place['sequence']:,}: {tokens}"


def _counted(num: int, unit: str) -> str:
    return f"{num:,} {unit}{'' if num == 1 else 's'}"
