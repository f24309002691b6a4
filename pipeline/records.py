"""The tables that pass from stage to stage, as Arrow schemas, and why a record is rejected."""

from enum import StrEnum
from typing import NamedTuple

import pyarrow as pa

TIME = pa.timestamp("ms", tz="UTC")  # Parquet knows no seconds

SUBMISSION = pa.struct(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("score", pa.int32(), nullable=False),
        pa.field("subreddit", pa.string(), nullable=False),
        pa.field("created", TIME),  # null where a list of URLs does not tell
    ]
)

SUBMISSIONS = pa.schema(
    [
        pa.field("key", pa.binary(16), nullable=False),  # hash of the canonical URL
        pa.field("domain_hash", pa.uint64(), nullable=False),  # of the registrable domain
        pa.field("url", pa.string(), nullable=False),  # as submitted, out of its wrapping
        *SUBMISSION.fields,
        pa.field("retrieved", TIME),  # when its score was read; null where the source does not tell
    ]
)

LINKS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # the key in hex
        pa.field("url", pa.string(), nullable=False),  # as submitted with the highest karma
        pa.field("canonical", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),  # registrable
        pa.field("karma", pa.int64(), nullable=False),  # by the setting: karma_max or karma_sum
        pa.field("karma_max", pa.int64(), nullable=False),
        pa.field("karma_sum", pa.int64(), nullable=False),
        pa.field("created", TIME),  # first seen; null where no submission tells
        pa.field("submissions", pa.list_(SUBMISSION), nullable=False),  # oldest first
    ]
)

LEDGER = pa.schema(  # a row a try; the last try of a link (the greatest attempt) is what became of it
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("attempt", pa.int32(), nullable=False),  # 1 is the first
        pa.field("outcome", pa.string(), nullable=False),  # "fetched", or a Reason
        pa.field("detail", pa.string(), nullable=False),  # what the reason leaves open; may be empty
        pa.field("source", pa.string(), nullable=False),  # "web", "warc", "wayback" or "commoncrawl"
        pa.field("status", pa.int32()),  # HTTP, of the last response
        pa.field("final_url", pa.string()),  # the last that was asked for; null where nothing was
        pa.field("redirects", pa.int32(), nullable=False),  # that were followed
        pa.field("content_type", pa.string()),
        pa.field("robots", pa.string()),  # "allowed", "disallowed", "none" or "unreachable"; null: not asked
        pa.field("address", pa.string()),  # of the server that answered last
        pa.field("fetched", TIME),  # when the last request was made; an archive's capture: when it was made
        pa.field("dns_s", pa.float32()),  # of the last request, as are the two below; null: none
        pa.field("connect_s", pa.float32()),
        pa.field("first_byte_s", pa.float32()),  # from the request's start to the response's header
        pa.field("seconds", pa.float32()),  # of all requests of the try together
        pa.field("bytes", pa.int64()),  # of the body as kept
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("revisit", pa.bool_(), nullable=False),  # the record is another URL's, its body the same
        pa.field("warc", pa.string()),  # file in pages/
        pa.field("offset", pa.int64()),  # of the response record with the body in it, in bytes
        pa.field("length", pa.int64()),  # of that record, compressed
    ]
)

DOCUMENTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # its link's
        pa.field("url", pa.string(), nullable=False),  # as linked
        pa.field("final_url", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("title", pa.string()),  # what the page says of itself, as the six that follow
        pa.field("published", pa.date32()),
        pa.field("site_name", pa.string()),
        pa.field("description", pa.string()),
        pa.field("license", pa.string()),  # address
        pa.field("page_language", pa.string()),  # as <html lang> has it
        pa.field("canonical_url", pa.string()),  # that it declares to be its right address
        pa.field("karma", pa.int64(), nullable=False),
        pa.field("submissions", pa.list_(pa.string()), nullable=False),  # ids
        pa.field("subreddits", pa.list_(pa.string()), nullable=False),  # distinct, sorted
        pa.field("created", TIME),  # the first submission; null where none tells
        pa.field("source", pa.string(), nullable=False),  # as in the ledger: the web, or an archive
        pa.field("fetched", TIME, nullable=False),
        pa.field("warc", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("extractor", pa.string(), nullable=False),  # name and version
    ]
)


def _column(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


_GOPHER_SHARES = (
    "gopher_word_length",  # characters, the mean
    "gopher_hashes",  # a word, as are the ellipses
    "gopher_ellipses",
    "gopher_bullet_lines",
    "gopher_ellipsis_lines",
    "gopher_alphabetic_words",
    "gopher_duplicate_lines",
    "gopher_duplicate_line_characters",
    "gopher_duplicate_paragraphs",
    "gopher_duplicate_paragraph_characters",
    *(f"gopher_top_{n}_grams" for n in (2, 3, 4)),
    *(f"gopher_duplicate_{n}_grams" for n in (5, 6, 7, 8, 9, 10)),
)

# What is measured of every document, those that are rejected with them (filter/measure.py).
MEASURES = pa.schema(
    [
        pa.field("wikipedia", pa.string()),  # the host, where it is Wikipedia's; else null
        _column("language", pa.string()),  # ISO 639, by the detector
        _column("language_score", pa.float32()),
        _column("num_words", pa.int32()),  # runs of characters that are no space
        _column("gopher_words", pa.int32()),
        _column("gopher_stop_words", pa.int32()),
        *(_column(name, pa.float64()) for name in _GOPHER_SHARES),
        _column("c4_sentences", pa.int32()),
        _column("c4_lorem_ipsum", pa.int32()),
        _column("c4_curly_brackets", pa.int32()),
        _column("c4_bad_words", pa.int32()),
        _column("c4_lines_long_word", pa.int32()),  # lines removed, or that would be, by each rule
        _column("c4_lines_open_end", pa.int32()),
        _column("c4_lines_few_words", pa.int32()),
        _column("c4_lines_javascript", pa.int32()),
        _column("c4_lines_policy", pa.int32()),
        _column("fineweb_punctuated_lines", pa.float64()),
        _column("fineweb_short_lines", pa.float64()),
        _column("fineweb_duplicate_characters", pa.float64()),
        _column("fineweb_lines_a_word", pa.float64()),
        _column("pii_emails", pa.int32()),
        _column("pii_phones", pa.int32()),
        _column("pii_ips", pa.int32()),
        _column("pii_cards", pa.int32()),
    ]
)

# Every document that filter took in, whatever became of it.
MEASURED = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        *MEASURES,
    ]
)

FILTERED = pa.schema(
    [
        *DOCUMENTS,
        *(field for field in MEASURES if field.name != "wikipedia"),
        _column("contaminated_grams", pa.int32()),  # runs of words that evaluation sets have too
    ]
)

CORPUS = pa.schema(
    [
        *FILTERED,
        pa.field("cluster", pa.string(), nullable=False),  # the smallest id among its near-duplicates
        pa.field("cluster_domain", pa.string(), nullable=False),  # registrable, of its best document
        pa.field("cluster_created", TIME),  # the first submission of any of them; null where none tells
    ]
)

REJECTED = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),  # what was measured, as text
    ]
)

CLUSTERS = pa.schema(
    [
        pa.field("cluster", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("survivor", pa.string(), nullable=False),  # itself where it was kept
        pa.field("run", pa.string()),  # the name of the run that has the survivor; null: this one
        pa.field("similarity", pa.float32(), nullable=False),  # to the survivor, as decided; 1 where equal
        pa.field("estimate", pa.float32(), nullable=False),  # of that, by the signatures
        pa.field("kept", pa.bool_(), nullable=False),
    ]
)

SHARD_DOCUMENTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # "train", "val" or "test"
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("sequence", pa.int32(), nullable=False),  # in the shard's .idx
        pa.field("first_token", pa.int64(), nullable=False),  # in the shard's .bin
        pa.field("num_tokens", pa.int32(), nullable=False),  # with end-of-text
        pa.field("num_sentences", pa.int32(), nullable=False),
    ]
)


class Reason(StrEnum):
    """Why a record was rejected; the values are what people see in the waterfall."""

    # collect
    BLANK_LINE = "blank_line"
    LINE_TOO_LONG = "line_too_long"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_A_ROW = "not_a_row"  # JSON, but no object; a CSV row with too few or too many fields
    BAD_FIELD = "bad_field"  # of a wrong type, where it matters
    NO_ID = "no_id"
    NO_TIME = "no_time"
    NO_URL = "no_url"
    NO_SCORE = "no_score"
    SELF_POST = "self_post"
    CROSSPOST_OF_SELF = "crosspost_of_self"
    AD = "ad"
    REMOVED = "removed"
    OVER_18 = "over_18"
    SUBREDDIT = "subreddit"  # not among those asked for
    DATE = "date"  # outside the range asked for
    REDDIT_MEDIA = "reddit_media"  # a picture or a video that Reddit hosts
    REDDIT_INTERNAL = "reddit_internal"
    BAD_URL = "bad_url"
    PRIVATE_HOST = "private_host"
    MEDIA_DOMAIN = "media_domain"
    MEDIA_EXTENSION = "media_extension"
    SHORTENER = "shortener"
    # link
    SAME_SUBMISSION = "same_submission"  # the same id again, in another dump
    SAME_LINK = "same_link"  # counted to a link that is kept
    LOW_KARMA = "low_karma"
    OPT_OUT = "opt_out"
    # fetch
    ROBOTS = "robots"
    ROBOTS_UNREACHABLE = "robots_unreachable"  # a host whose robots.txt fails may not be asked
    CRAWL_DELAY = "crawl_delay"
    NOT_ALLOWED_ADDRESS = "private_address"
    BAD_PORT = "bad_port"
    DNS = "dns"
    CONNECT = "connect"
    CERTIFICATE = "certificate"
    TLS = "tls"
    TIMEOUT = "timeout"
    DEAD_HOST = "dead_host"  # given up after others of its links
    RATE_LIMITED = "rate_limited"  # HTTP 429, or 503 with Retry-After
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    HTTP_OTHER = "http_other"
    HTTP_09 = "http_09"  # an answer without a header, or that goes on after its end
    PROTOCOL = "protocol"
    HEADER_TOO_LARGE = "header_too_large"
    CUT_SHORT = "cut_short"  # the body ends before its Content-Length or last chunk
    BAD_ENCODING = "bad_encoding"  # the body is not coded as the header says, or twice
    REDIRECT_LOOP = "redirect_loop"
    BAD_REDIRECT = "bad_redirect"
    NOT_IN_WARC = "not_in_warc"
    NO_INDEX = "noindex"
    WRONG_TYPE = "wrong_type"
    # extract
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    BAD_RECORD = "bad_record"
    NO_TEXT = "no_text"
    ERROR_PAGE = "error_page"  # that came with HTTP 200
    SAME_PAGE = "same_page"  # another link ended at the same URL, or declares it
    # filter
    LANGUAGE = "language"
    TOO_SHORT = "too_short"
    WIKIPEDIA = "wikipedia"
    GOPHER_DUPLICATE_PARAGRAPHS = "gopher_duplicate_paragraphs"  # the rules of filter/rules.py, to FINEWEB
    GOPHER_DUPLICATE_PARAGRAPH_CHARACTERS = "gopher_duplicate_paragraph_characters"
    GOPHER_DUPLICATE_LINES = "gopher_duplicate_lines"
    GOPHER_DUPLICATE_LINE_CHARACTERS = "gopher_duplicate_line_characters"
    GOPHER_TOP_2_GRAMS = "gopher_top_2_grams"
    GOPHER_TOP_3_GRAMS = "gopher_top_3_grams"
    GOPHER_TOP_4_GRAMS = "gopher_top_4_grams"
    GOPHER_DUPLICATE_5_GRAMS = "gopher_duplicate_5_grams"
    GOPHER_DUPLICATE_6_GRAMS = "gopher_duplicate_6_grams"
    GOPHER_DUPLICATE_7_GRAMS = "gopher_duplicate_7_grams"
    GOPHER_DUPLICATE_8_GRAMS = "gopher_duplicate_8_grams"
    GOPHER_DUPLICATE_9_GRAMS = "gopher_duplicate_9_grams"
    GOPHER_DUPLICATE_10_GRAMS = "gopher_duplicate_10_grams"
    GOPHER_FEW_WORDS = "gopher_few_words"
    GOPHER_MANY_WORDS = "gopher_many_words"
    GOPHER_SHORT_WORDS = "gopher_short_words"
    GOPHER_LONG_WORDS = "gopher_long_words"
    GOPHER_HASHES = "gopher_hashes"
    GOPHER_ELLIPSES = "gopher_ellipses"
    GOPHER_BULLET_LINES = "gopher_bullet_lines"
    GOPHER_ELLIPSIS_LINES = "gopher_ellipsis_lines"
    GOPHER_ALPHABETIC_WORDS = "gopher_alphabetic_words"
    GOPHER_STOP_WORDS = "gopher_stop_words"
    C4_LOREM_IPSUM = "c4_lorem_ipsum"
    C4_CURLY_BRACKETS = "c4_curly_brackets"
    C4_SENTENCES = "c4_sentences"
    C4_BAD_WORDS = "c4_bad_words"
    FINEWEB_PUNCTUATED_LINES = "fineweb_punctuated_lines"
    FINEWEB_SHORT_LINES = "fineweb_short_lines"
    FINEWEB_DUPLICATE_CHARACTERS = "fineweb_duplicate_characters"
    FINEWEB_LINE_BREAKS = "fineweb_line_breaks"
    CONTAMINATED = "contaminated"  # too much of it is in the evaluation sets
    # dedupe
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    # tokenizer
    NOT_SAMPLED = "not_sampled"  # the vocabulary is learnt from others


class Rejection(NamedTuple):
    """Why a record is not kept, and what was measured, as text (empty where nothing was)."""

    reason: Reason
    value: str = ""
