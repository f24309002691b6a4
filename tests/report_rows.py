"""Rows of every statistic that has a chart, as a large run would give them."""

from collections.abc import Mapping
from typing import Any

Rows = list[dict[str, Any]]

LONG_LINE = "Sign up for our newsletter, and never miss a thing that any of our many friends have to say"
HEBREW = "הירשמו לניוזלטר שלנו (חינם)!"
SCRIPT = '<script>alert("1")</script> & currentColor'


def _doubling(name: str, value: str, num: int, first: int = 1) -> Rows:
    peak = num // 2
    return [{name: first << n, value: 1 + 90_000 // (1 + (n - peak) ** 4)} for n in range(num)]


def _named(name: str, names: list[str], **others: int) -> Rows:
    return [{name: one, "documents": 40_000 // (n + 1), **others} for n, one in enumerate(names)]


def _shapes() -> Rows:
    widths = {
        "language_score": 0.05,
        "gopher_word_length": 0.5,
        "gopher_alphabetic_words": 0.05,
        "gopher_duplicate_line_characters": 0.05,
        "gopher_duplicate_5_grams": 0.05,
        "fineweb_punctuated_lines": 0.05,
        "fineweb_short_lines": 0.05,
        "fineweb_lines_a_word": 0.01,
    }
    return [
        {
            "measure": measure,
            "value_from": round(n * width, 2),
            "documents": 1_000_000 // (1 + (n - 3 * place) ** 2),
        }
        for place, (measure, width) in enumerate(widths.items())
        for n in range(20)
    ]


def _rot() -> Rows:
    failures = (
        "http 4xx",
        "dns",
        "timeout",
        "tls",
        "robots",
        "connection",
        "redirects",
        "content",
        "protocol",
    )
    rows = []
    for age in (0, 1, 2, 3, 5, 8, 13):
        links = {"fetched": 1000 - 60 * age} | {one: 5 + age * (9 - n) for n, one in enumerate(failures)}
        total = sum(links.values())
        rows += [
            {"age_years": age, "outcome": one, "links": num, "share": round(num / total, 4)}
            for one, num in links.items()
        ]
    return rows


def _token_frequencies() -> Rows:
    ranks = sorted({round(10 ** (n / 40)) for n in range(189)})
    return [
        {
            "rank": rank,
            "times": int(40_000_000 / (rank + 2.7)),
            "token": f"␣token{rank}",
            "zipf": 40_000_000 / rank,
        }
        for rank in ranks
    ]


def _months(first: int, last: int) -> list[str]:
    return [f"{year}-{month:02d}" for year in range(first, last) for month in range(1, 13)]


_STEPS = (("look_up", 3.2), ("connection", 13.1), ("first_byte", 103.0), ("whole", 130.0))
_CLUSTERS = {"2": 20_000, "3": 6_000, "4": 2_000, "5-9": 900, "10-99": 300, "100-999": 20, "1000+": 1}
_OUTCOMES = ("fetched", "http_4xx", "dns", "timeout", "robots", "wrong_type", "dead_host", "redirect_loop")
_SETS = (("lambada", 0.001), ("squad", 0.01), ("a-set-whose-name-is-longer-than-there-is-room", 0.0))

ROWS: Mapping[str, Rows] = {
    "document_lengths": _doubling("words_from", "documents", 13, 16),
    "languages": _named(
        "language", ["en", "de", "fr", "es", "pt", "it", "nl", "ru", "ja", "zh", "ar", "he", "no"], words=9
    ),
    "quality_shapes": _shapes(),
    "frequent_lines": [
        {"line": line, "documents": 9_000 - n, "times": 9_001}
        for n, line in enumerate([LONG_LINE, HEBREW, SCRIPT, *(f"{LONG_LINE} {n}" for n in range(27))])
    ],
    "frequent_ngrams": [
        {"words": f"one of the most {n}", "documents": 9_000 - n, "times": 9_001} for n in range(30)
    ],
    "years": [{"year": year, "documents": 9 * (year - 2000), "words": 9} for year in range(2006, 2020)],
    "months": [{"month": one, "documents": 1000 + n} for n, one in enumerate(_months(2008, 2020))],
    "domains": _named(
        "domain", ["a-domain-that-has-a-long-name.example", *(f"site{n}.example" for n in range(49))]
    ),
    "domain_concentration": [
        {"domains": num, "share": min(1.0, 0.05 + n / 12)}
        for n, num in enumerate((1, 2, 5, 10, 32, 100, 316, 1_000, 10_000, 31_623, 123_456))
    ],
    "top_level_domains": _named("tld", ["com", "org", "net", "uk", "edu", "IP address"]),
    "subreddits": _named("subreddit", [f"subreddit{n}" for n in range(50)]),
    "month_shares": [
        {"month": one, "posts": 9_000, "posts_3": 3_000, "share_3": 0.3333, "out_of_line": one == "2019-05"}
        for one in _months(2019, 2020)
    ],
    "karma_threshold": [
        {"least_karma": least, "links_by_max": 3_000_000 // least, "links_by_sum": 3_100_000 // least}
        for least in (1, 2, 3, 5, 10, 20, 50, 100)
    ],
    "karma": _doubling("karma_from", "documents", 16),
    "fetch_outcomes": [{"outcome": one, "links": 900_000 // (n + 1) ** 3} for n, one in enumerate(_OUTCOMES)],
    "fetch_failures": [
        {"failure": one, "links": 90_000 // (n + 1)} for n, one in enumerate(("dns", "http 4xx"))
    ],
    "fetch_seconds": [
        {"step": step, "tries": 900, "half": ms, "90 %": 7 * ms, "99 %": 50 * ms, "longest": 90 * ms}
        for step, ms in _STEPS
    ],
    "latencies": _doubling("first_byte_ms_from", "tries", 14),
    "host_latency": [
        {"domain": f"site{n}.example", "tries": 900 - n, "half_ms": 30.5 + n, "p90_ms": 200.0 + 40 * n * n}
        for n in range(20)
    ],
    "link_rot": _rot(),
    "cluster_sizes": [{"documents": size, "clusters": num} for size, num in _CLUSTERS.items()],
    "similarities": [{"similarity_from": n / 20, "documents": 100 * n} for n in (14, 15, 16, 18, 19, 20)],
    "bytes_a_token": [
        {"bytes_a_token_from": n / 4, "documents": 90_000 // (1 + (n - 17) ** 2)} for n in range(8, 28)
    ],
    "document_tokens": _doubling("tokens_from", "documents", 14, 16),
    "token_frequencies": _token_frequencies(),
    "contamination": [
        {
            "evaluation_set": name,
            "n": n,
            "grams": 100_000,
            "found": round(100_000 * share * (21 - n)),
            "share": share * (21 - n),
            "examples": 5_000,
            "examples_hit": 30,
            "example_share": 0.006,
        }
        for name, share in _SETS
        for n in (8, 13)
    ],
}
