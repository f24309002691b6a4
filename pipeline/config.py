"""The settings of every stage: one frozen section each, in the order of the stages.

A stage receives its own section only. A field marked :data:`Manner` says how the work is done and not
what comes out (a delay, a contact, a path to a file whose content is what counts): changing it does not
make finished parts stale.
"""

import hashlib
import ipaddress
import json
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator


class _MannerMark:
    """Marks a field whose value leaves a stage's output as it is."""


Manner = _MannerMark()


def _without_user(url: str) -> str:
    if "@" in url:
        raise ValueError("a user or a password in a URL would be written to the run; leave it out")
    return url


ServerUrl = Annotated[str, AfterValidator(_without_user)]


class Section(BaseModel):
    """A frozen section of the settings file, or of another section; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def deciding(section: BaseModel) -> dict[str, Any]:
    """The values that decide a stage's output, as JSON has them: fields marked Manner left out."""
    return section.model_dump(mode="json", exclude=_manners(type(section)))


def _manners(section: type[BaseModel]) -> dict[str, Any]:
    """The fields marked Manner, as pydantic wants them excluded: those of sections inside, by section."""
    found: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        if any(mark is Manner for mark in field.metadata):
            found[name] = True
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found[name] = _manners(field.annotation)
    return found


def settings_digest(section: BaseModel) -> str:
    """The SHA-256, in hex, of the values that decide the output."""
    return hashlib.sha256(json.dumps(deciding(section), sort_keys=True).encode()).hexdigest()


class RunSettings(Section):
    """Where the run is kept."""

    dir: str = "runs/webtext"
    """The run directory: a local path, or a URI that pyarrow.fs opens (s3://, gs://, hdfs://)."""


class UrlSettings(Section):
    """How submitted URLs are read, and which spellings of one are the same link."""

    unwrap: bool = True
    """Replace Reddit's out-links, search engines' redirects and AMP caches by the page that they name."""

    drop_trackers: bool = True
    """Parameters that say where a reader came from (utm_source, fbclid, …) make no other link."""

    drop_session_ids: bool = True
    """Session ids (PHPSESSID, ;jsessionid=…) make no other link."""

    drop_amp: bool = True
    """A page's AMP variant (amp.example.com, /amp/, ?amp=1) is the same link."""

    drop_mobile: bool = True
    """A page on a mobile host (m.example.com, en.m.wikipedia.org) is the same link."""

    drop_trailing_slash: bool = True
    """/page/ and /page are the same link."""

    keep_shorteners: bool = True
    """Keep links through shorteners (bit.ly, …): fetch finds out where they lead."""


class RedditSettings(Section):
    """Submissions from Reddit's public API, which closes in March 2027: dumps are the main road."""

    subreddits: tuple[str, ...] = ()
    """Subreddits to ask for ("all" is one); none named: the API is not asked."""

    listings: tuple[Literal["new", "top", "hot", "rising"], ...] = ("top", "new")
    """Which listings of each; one gives about 1,000 submissions at the most."""

    time_filters: tuple[Literal["hour", "day", "week", "month", "year", "all"], ...] = ("all",)
    """Over which times "top" is asked."""

    dump: Annotated[str, Manner] = "reddit.zst"
    """The file, relative to this one, that keeps the answers; while it is there the API is not asked."""

    contact: Annotated[str, Manner] = ""
    """Your Reddit account's name, sent in the user agent as Reddit's rules ask."""

    url: Annotated[ServerUrl, Manner] = "https://www.reddit.com"
    """Where tokens are asked for."""

    oauth_url: Annotated[ServerUrl, Manner] = "https://oauth.reddit.com"
    """Where listings are asked for."""


class CollectSettings(Section):
    """Dumps, the live API and lists of URLs to submissions that point outward."""

    dumps: Annotated[tuple[str, ...], Manner] = ()
    """Submission dumps (RS_*; NDJSON, .csv or .parquet; packed as .zst, .xz, .bz2, .gz or not): files or
    globs, relative to this file."""

    lists: Annotated[tuple[str, ...], Manner] = ()
    """Lists of URLs (plain text, a URL a line, or OpenWebText2's .jsonl; packed or not): files or globs,
    relative to this file."""

    list_karma: int = 3
    """The karma that a URL counts with because it stands in a list; OpenWebText's were chosen by 3."""

    on_damage: Annotated[Literal["fail", "keep"], Manner] = "fail"
    """What to do where an archive is cut off or corrupt: fail, or keep what lies before the damage."""

    over_18: bool = False
    """Whether submissions marked over 18 are kept."""

    subreddits: tuple[str, ...] = ()
    """Only submissions to these subreddits, in whatever case, are kept; none named: all."""

    not_subreddits: tuple[str, ...] = ()
    """Submissions to these subreddits, in whatever case, are left out."""

    since: date | None = None
    """The first day (UTC) of submissions that are kept, such as 2019-06-01."""

    before: date | None = None
    """The day (UTC) from which on submissions are left out, such as 2020-01-01."""

    media_domains: tuple[str, ...] = ()
    """Domains (their subdomains with them) to leave out besides the shipped list of media hosts."""

    media_extensions: tuple[str, ...] = ()
    """File extensions (without the dot) to leave out besides the shipped list."""

    urls: UrlSettings = UrlSettings()

    reddit: Annotated[RedditSettings, Manner] = RedditSettings()

    @model_validator(mode="after")
    def _dates_in_order(self) -> "CollectSettings":
        if self.since and self.before and self.since >= self.before:
            raise ValueError(f"since = {self.since} is not before before = {self.before}")
        return self


class LinkSettings(Section):
    """Submissions to one link a canonical URL."""

    min_karma: int = 3
    """The least karma (Reddit's score) of a link that is kept."""

    karma: Literal["max", "sum"] = "max"
    """Which karma counts: the best submission's (WebText) or that of all together (OpenWebText2)."""

    opt_out: tuple[str, ...] = ()
    """What owners asked to leave out: domains (with their subdomains), URLs, submissions (t3_abc123)."""

    opt_out_lists: Annotated[tuple[str, ...], Manner] = ()
    """Files of such entries, one a line: files or globs, relative to this file."""

    submissions_per_part: Annotated[int, Field(ge=1)] = 10_000
    """About how many submissions make one part; a domain is never divided between parts."""


class WaybackSettings(Section):
    """The Internet Archive's Wayback Machine, where dead links may still be found."""

    url: Annotated[ServerUrl, Manner] = "https://web.archive.org"
    """Where its index (/cdx/search/cdx) and its captures (/web/) are."""

    delay_s: Annotated[float, Field(ge=0), Manner] = 2.5
    """Seconds between the end of a request to it and the next: it answers about 24 a minute."""


class CommonCrawlSettings(Section):
    """Common Crawl's archives, where dead links may still be found."""

    index_url: Annotated[ServerUrl, Manner] = "https://index.commoncrawl.org"
    """Where its list of crawls (/collinfo.json) is, and their indexes."""

    data_url: Annotated[ServerUrl, Manner] = "https://data.commoncrawl.org"
    """Where the WARC files are that the indexes name."""

    delay_s: Annotated[float, Field(ge=0), Manner] = 1.5
    """Seconds between the end of a request to either and the next to the same."""


class FetchSettings(Section):
    """Links to pages in WARC files."""

    source: Literal["web", "warc"] = "web"
    """Where pages come from: the web, or WARC files that are at hand (no network then)."""

    warcs: Annotated[tuple[str, ...], Manner] = ()
    """With source = "warc": the WARC files, or CDXJ indexes of such (.cdxj), to take pages from: files or
    globs, relative to this file."""

    contact: Annotated[str, Manner] = ""
    """A mail address or page for site owners, sent in the user agent; the public web needs one."""

    delay_s: Annotated[float, Field(ge=0), Manner] = 1.0
    """Seconds between the end of a request to a registrable domain and the next to the same domain."""

    domain_delays_s: Annotated[dict[str, Annotated[float, Field(ge=0)]], Manner] = {}
    """Other delays for single registrable domains, such as {"example.org" = 5.0}."""

    connections: Annotated[int, Field(ge=1, le=10_000), Manner] = 256
    """The most requests that a process makes at once."""

    processes: Annotated[int, Field(ge=1), Manner] = 1
    """Processes that crawl side by side, each with domains of its own: one fetches about 1,000 pages/s."""

    timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds for a whole request, from the look-up of the name to the last byte."""

    tries: Annotated[int, Field(ge=1, le=10), Manner] = 2
    """How often a link is tried whose failure may pass (no answer, HTTP 5xx)."""

    retry_wait_s: Annotated[float, Field(ge=0), Manner] = 60.0
    """Seconds at least until such a link is tried again."""

    dead_after: Annotated[int, Field(ge=1), Manner] = 3
    """Requests in a row without an answer after which a host is given up."""

    max_bytes: Annotated[int, Field(ge=1)] = 5_000_000
    """The most bytes of a body that are kept; what is longer is cut and marked as truncated."""

    max_redirects: Annotated[int, Field(ge=0)] = 5
    """How many redirects are followed."""

    max_crawl_delay_s: Annotated[float, Field(ge=0)] = 30.0
    """A host that asks for a longer crawl-delay (seconds) in its robots.txt is left out."""

    max_pause_s: Annotated[float, Field(ge=0), Manner] = 300.0
    """A host that asks for a longer pause (Retry-After, with HTTP 429 or 503) is given up."""

    robots_tags: tuple[Literal["noindex", "none", "noai"], ...] = ("noindex", "none", "noai")
    """Which words of X-Robots-Tag and <meta name="robots"> keep a page out; none named: they are ignored."""

    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = (80, 443)
    """The ports that are asked on the public web."""

    nameservers: Annotated[tuple[str, ...], Manner] = ()
    """Name servers as "address" or "address:port"; none named: the system's. Large crawls want their own."""

    resolve: Annotated[dict[str, str], Manner] = {}
    """Host to "address:port", as curl's --resolve; a host named here may be at a private address."""

    rescue: Annotated[tuple[Literal["wayback", "commoncrawl"], ...], Manner] = ()
    """Archives that are asked, in this order, for links that are dead: the capture nearest to the first
    submission. They answer slowly: a thousand links take the Wayback Machine an hour and a half."""

    wayback: WaybackSettings = WaybackSettings()

    commoncrawl: CommonCrawlSettings = CommonCrawlSettings()

    @field_validator("resolve")
    @classmethod
    def _addresses(cls, table: dict[str, str]) -> dict[str, str]:
        for host, target in table.items():
            address, _, port = target.rpartition(":")
            try:
                ipaddress.ip_address(address.strip("[]"))
                valid = 0 < int(port) < 65536
            except ValueError:
                valid = False
            if not valid:
                raise ValueError(f'{host} = "{target}" is not of the form "address:port"')
        return table

    @model_validator(mode="after")
    def _source_has_files(self) -> "FetchSettings":
        if self.source == "warc" and not self.warcs:
            raise ValueError('source = "warc" needs the files: set warcs = ["pages/*.warc.gz"]')
        return self


class ExtractSettings(Section):
    """Pages to documents."""

    extractor: Literal["trafilatura", "trafilatura-fast", "resiliparse"] = "trafilatura"
    """What finds the main text: trafilatura is the most exact; its fast mode leaves out the second opinions
    that it asks for; resiliparse is less exact, and makes the stage four times as fast."""

    reject_early: bool = True
    """Whether pages that the filter would reject whatever their text (empty shells, error pages, other
    languages by a quick look) are rejected before the extractor is asked."""

    deadline_s: Annotated[float, Field(gt=0)] = 20.0
    """CPU seconds that one page's extraction may take; its process is then ended and the page rejected."""

    max_elements: Annotated[int, Field(ge=1)] = 50_000
    """The most HTML tags of a page that is tried; a page with more is rejected as too large."""

    max_memory_mb: Annotated[int, Field(ge=16), Manner] = 2048
    """Megabytes of address space that the extracting process may take beyond what it starts with."""


class Hopeless(Section):
    """Which pages need no extraction, by what the filter keeps; nothing of it stands in a settings file.

    ``min_words`` does not rise with the filter's beyond where extract first looked: a stricter filter needs
    no other texts.
    """

    languages: tuple[str, ...] = ()
    min_words: int = 0


class Extraction(ExtractSettings):
    """What extract is given: its own section, and which pages the filter leaves no hope."""

    hopeless: Hopeless = Hopeless()


Survivor = Literal["karma", "longest", "earliest", "id"]

SIGNED_BY = ("shingles", "ngram", "num_perm")  # the settings of dedupe on which a signature depends


class DedupeSettings(Section):
    """Documents, each said once."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """The Jaccard similarity of shingles, from 0 to 1, from which two documents are near-duplicates."""

    verify: Literal["estimate", "exact"] = "estimate"
    """What decides: the similarity that signatures estimate, or the true one (candidates are read again)."""

    shingles: Literal["words", "characters"] = "words"
    """What shingles are made of; characters serve languages that are written without spaces."""

    ngram: Annotated[int, Field(ge=1)] = 5
    """Words, or characters, in a shingle."""

    num_perm: Annotated[int, Field(ge=16, le=1024)] = 128
    """MinHash permutations: more are slower and estimate the similarity better."""

    bands: Annotated[int, Field(ge=2)] | None = None
    """Bands into which a signature is divided; documents that agree in a whole band are compared. Left out,
    with rows: the division that datasketch finds best for the threshold."""

    rows: Annotated[int, Field(ge=1)] | None = None
    """Permutations in a band."""

    survivor: tuple[Survivor, ...] = ("karma", "longest", "earliest", "id")
    """Which of several near-duplicates stays: by the first of these that tells two apart; at last by id."""

    against: Annotated[tuple[str, ...], Manner] = ()
    """Run directories, relative to this file, whose finished corpora are not to be said again."""

    max_removed: Annotated[float, Field(ge=0, le=1), Manner] = 0.8
    """The run stops where more than this share of the documents would be removed."""

    max_cluster: Annotated[int, Field(ge=2), Manner] = 10_000
    """The run stops where one cluster has more documents than this that are not the same text."""

    @model_validator(mode="after")
    def _bands_fit(self) -> "DedupeSettings":
        if (self.bands is None) != (self.rows is None):
            raise ValueError("bands and rows go together: set both or neither")
        if self.bands and self.rows and self.bands * self.rows > self.num_perm:
            raise ValueError(
                f"bands = {self.bands} of rows = {self.rows} need num_perm = {self.bands * self.rows} or more"
            )
        if not self.survivor or len(set(self.survivor)) < len(self.survivor):
            raise ValueError("survivor names each of karma, longest, earliest, id at the most once, and one")
        return self


class ShardSettings(Section):
    """Documents to token shards."""

    split_by: Literal["cluster", "domain", "date"] = "cluster"
    """What holds documents out for validation and test, always whole clusters of near-duplicates: a hash of
    the cluster, a hash of its best document's domain, or the day of its first submission."""

    val_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """The share of clusters, or of domains, from 0 to 1, whose documents go to the validation split."""

    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share whose documents go to the test split; raising it takes from the training split only."""

    val_from: date | None = None
    """With split_by = "date": the day (UTC) from which on first submissions go to the validation split."""

    test_from: date | None = None
    """With split_by = "date": the day (UTC) from which on first submissions go to the test split."""

    tokens_per_shard: Annotated[int, Field(ge=1)] = 100_000_000
    """About how many tokens one shard holds."""

    @model_validator(mode="after")
    def _splits_fit(self) -> "ShardSettings":
        if self.split_by == "date":
            self._require_days()
        elif self.val_from or self.test_from:
            name = "val_from" if self.val_from else "test_from"
            raise ValueError(f'{name} is for split_by = "date"; with "{self.split_by}" set fractions')
        elif self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction = {self.val_fraction} and test_fraction = {self.test_fraction} leave nothing "
                "to train on: together they must be under 1"
            )
        return self

    def _require_days(self) -> None:
        if not (self.val_from or self.test_from):
            raise ValueError('split_by = "date" needs a day: set val_from, test_from, or both')
        if self.val_from and self.test_from and self.val_from >= self.test_from:
            raise ValueError(f"val_from = {self.val_from} is not before test_from = {self.test_from}")
        unused = type(self).model_fields["val_fraction"].default
        if self.test_fraction or self.val_fraction not in (0, unused):
            name = "test_fraction" if self.test_fraction else "val_fraction"
            raise ValueError(f'{name} is not used with split_by = "date": days decide; take it out')
