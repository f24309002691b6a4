"""The settings of every stage: one frozen section each, in the order of the stages.

A stage receives its own section only. A field marked :data:`Manner` says how the work is done and not
what comes out (a delay, a contact, a path to a file whose content is what counts): changing it does not
make finished parts stale.
"""

import hashlib
import ipaddress
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class _MannerMark:
    """Marks a field whose value leaves a stage's output as it is."""


Manner = _MannerMark()


class Section(BaseModel):
    """A frozen section of the settings file; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def deciding(section: BaseModel) -> dict[str, Any]:
    """The values that decide a stage's output, as JSON has them: fields marked Manner left out."""
    manners = {
        name
        for name, field in type(section).model_fields.items()
        if any(mark is Manner for mark in field.metadata)
    }
    return section.model_dump(mode="json", exclude=manners)


def settings_digest(section: BaseModel) -> str:
    """The SHA-256, in hex, of the values that decide the output."""
    return hashlib.sha256(json.dumps(deciding(section), sort_keys=True).encode()).hexdigest()


class RunSettings(Section):
    """Where the run is kept."""

    dir: str = "runs/webtext"
    """The run directory: a local path, or a URI that pyarrow.fs opens (s3://, gs://, hdfs://)."""


class CollectSettings(Section):
    """Dump files to submissions that point outward."""

    dumps: Annotated[tuple[str, ...], Manner] = ()
    """Submission dumps (RS_*.zst, .xz, .bz2, .gz or plain NDJSON): files or globs, relative to this file."""

    over_18: bool = False
    """Whether submissions marked over 18 are kept."""


class LinkSettings(Section):
    """Submissions to one link a canonical URL."""

    min_karma: int = 3
    """The least karma (Reddit's score) of a link that is kept."""

    karma: Literal["max", "sum"] = "max"
    """Which karma counts: the best submission's (WebText) or that of all together (OpenWebText2)."""

    opt_out: tuple[str, ...] = ()
    """Domains (their subdomains with them) whose owners asked to be left out."""

    submissions_per_part: Annotated[int, Field(ge=1)] = 10_000
    """About how many submissions make one part; a domain is never divided between parts."""


class FetchSettings(Section):
    """Links to pages in WARC files."""

    source: Literal["web", "warc"] = "web"
    """Where pages come from: the web, or WARC files that are at hand (no network then)."""

    warcs: Annotated[tuple[str, ...], Manner] = ()
    """With source = "warc": the WARC files (or globs) to take pages from, relative to this file."""

    contact: Annotated[str, Manner] = ""
    """A mail address or page for site owners, sent in the user agent; the public web needs one."""

    delay_s: Annotated[float, Field(ge=0), Manner] = 1.0
    """Seconds between the end of a request to a domain and the next to the same domain."""

    timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds for a whole request, from the look-up of the name to the last byte."""

    max_bytes: Annotated[int, Field(ge=1)] = 5_000_000
    """The most bytes of a body that are kept; what is longer is cut and marked as truncated."""

    max_redirects: Annotated[int, Field(ge=0)] = 5
    """How many redirects are followed."""

    max_crawl_delay_s: Annotated[float, Field(ge=0)] = 30.0
    """A host that asks for a longer crawl-delay (seconds) in its robots.txt is left out."""

    resolve: Annotated[dict[str, str], Manner] = {}
    """Host to "address:port", as curl's --resolve; a host named here may be at a private address."""

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

    deadline_s: Annotated[float, Field(gt=0)] = 20.0
    """CPU seconds that one page's extraction may take; its process is then ended and the page rejected."""

    max_elements: Annotated[int, Field(ge=1)] = 50_000
    """The most HTML tags of a page that is tried; a page with more is rejected as too large."""

    max_memory_mb: Annotated[int, Field(ge=256), Manner] = 2048
    """Megabytes of address space that the extracting process may take beyond what it starts with."""


class FilterSettings(Section):
    """Documents that are worth keeping."""

    languages: tuple[str, ...] = ()
    """Languages kept, as ISO 639 codes (["en"] for English); none named: every language."""

    min_language_score: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How sure of a named language the detector must be, from 0 to 1."""

    min_words: Annotated[int, Field(ge=0)] = 50
    """The fewest words (runs of non-space characters) of a document that is kept."""

    wikipedia: bool = False
    """Whether Wikipedia's pages are kept; WebText left them out, as evaluation sets draw on them."""


class DedupeSettings(Section):
    """Documents, each said once."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """The Jaccard similarity of word n-grams, from 0 to 1, from which two documents are near-duplicates."""

    num_perm: Annotated[int, Field(ge=16, le=1024)] = 128
    """MinHash permutations: more are slower and estimate the similarity better."""

    ngram: Annotated[int, Field(ge=1)] = 5
    """Words in a shingle."""


class ShardSettings(Section):
    """Documents to token shards."""

    val_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """The share of clusters of documents, from 0 to 1, whose documents go to the validation split."""

    tokens_per_shard: Annotated[int, Field(ge=1)] = 100_000_000
    """About how many tokens one shard holds."""
