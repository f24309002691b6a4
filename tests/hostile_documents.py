"""A small run built from pages that mean harm, and from some that do not: for tests of the inspector."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.fetch.exchange import Headers, Response
from pipeline.fetch.warc import WarcSink, stored_headers
from pipeline.runs import Folder
from tests.removal_run import DATE, build_in, html_of, submission, text_of

SETTINGS = """
[run]
dir = "run"
[collect]
dumps = ["RS_2019-06.ndjson"]
[link]
submissions_per_part = 8
[fetch]
source = "warc"
warcs = ["pages.warc.gz"]
[filter]
languages = []
min_words = 30
[dedupe]
max_removed = 1.0
[tokenizer]
vocab_size = 400
"""

HOSTILE = "https://hostile.example/page"
RIGHT_TO_LEFT = "https://arabic.example/page"
NEAR = "https://near.example/best"
COPIES = tuple(f"https://near-{n}.example/copy" for n in range(3))
SHORT = "https://short.example/page"
MISSING = "https://missing.example/page"
ODD = "https://odd.example/page"

RUNS = "document.title='ran';top.name='ran';localStorage.ran=1"
"""What the hostile page's scripts do: all of it can be seen from outside."""


def hostile_page(trap: str) -> str:
    """A page that tries everything; whatever it gets out of its frame comes to the address of the trap."""
    inner = f"<script>{RUNS};fetch('{trap}/inner')</script><img src={trap}/inner.png>"
    escaped = inner.replace('"', "&quot;").replace("<", "&lt;")
    return f"""<!doctype html><html onclick="{RUNS}"><head>
<title>&lt;/title&gt;&lt;script&gt;{RUNS}&lt;/script&gt; A page \u202ethat means\u202c harm</title>
<base href="{trap}/base/" target="_top">
<meta http-equiv="refresh" content="0;url={trap}/refresh">
<meta http-equiv="Content-Security-Policy" content="default-src *; script-src * 'unsafe-inline'">
<meta name="referrer" content="unsafe-url">
<link rel="preconnect" href="{trap}"><link rel="dns-prefetch" href="{trap}">
<link rel="stylesheet" href="{trap}/a.css"><link rel="prefetch" href="{trap}/prefetch">
<link rel="preload" as="image" href="{trap}/preload.png"><link rel="icon" href="{trap}/icon.png">
<link rel="modulepreload" href="{trap}/module.js"><link rel="manifest" href="{trap}/manifest">
<script src="{trap}/script.js"></script><script>{RUNS};fetch("{trap}/fetch")</script>
<script>top.location = "{trap}/top"</script><script>alert(1); open("{trap}/open")</script>
<script type="module">import "{trap}/imported.js"</script>
<script type="speculationrules">{{"prefetch": [{{"urls": ["{trap}/speculation"]}}]}}</script>
<style>@import "{trap}/import.css"; @import url({trap}/import2.css);
@font-face {{ font-family: f; src: url({trap}/font.woff) }}
body {{ font-family: f; background: url({trap}/bg.png) }} p {{ background: u\\72l({trap}/escaped.png) }}
h1::before {{ content: url({trap}/content.svg) }}
li {{ background: \\000075R\\6C({trap}/escaped2.png); list-style: -webkit-image-set(url({trap}/set.png) 1x) }}
</style><style></sty\0le><img src=x onerror="{RUNS}"></style>
</head><body onload="{RUNS}" background="{trap}/body.png">
<article><h1>A page that means harm</h1><p>{text_of("hostile")}</p>
<p>It says &lt;script&gt;{RUNS}&lt;/script&gt; and &lt;img src=x onerror="{RUNS}"&gt; in its text, and
\u202eturns around\u202c what it says. {text_of("hostile too")}</p></article>
<img src="{trap}/img.png" srcset="{trap}/set.png 2x" onerror="{RUNS}"><img src=x:x onerror="{RUNS}">
<svg onload="{RUNS}"><script>{RUNS}</script><image href="{trap}/svg.png" /><use href="{trap}/use.svg#a" />
<style><img src=x onerror="{RUNS}"></style><a href="javascript:{RUNS}"><text y="20">svg</text></a></svg>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=x onerror={RUNS}&gt;"></table>
</math><iframe src="{trap}/frame"></iframe><iframe srcdoc="{escaped}"></iframe>
<iframe src="javascript:{RUNS}"></iframe>
<object data="{trap}/object"></object><embed src="{trap}/embed">
<video src="{trap}/video" poster="{trap}/poster.png" autoplay><track src="{trap}/track" default></video>
<audio src="{trap}/audio" autoplay></audio>
<input type="image" src="{trap}/input.png" autofocus onfocus="{RUNS}">
<form action="{trap}/form" target="_top"><button id="send" formaction="{trap}/formaction">send</button></form>
<details open ontoggle="{RUNS}"><summary>more</summary>less</details><marquee onstart="{RUNS}">run</marquee>
<a class="away" href="{trap}/link">a link</a> <a class="away" target="_top" href="{trap}/top">another</a>
<a class="away" href="javascript:{RUNS}">a third</a>
<a class="away" href="/labels" ping="{trap}/ping">home</a>
<a class="away" href="data:text/html,{escaped}">data</a>
<div style="background:url({trap}/style.png); position:fixed; inset:0; z-index:9">over all</div>
</p></div></td></table></textarea></title></noscript></iframe><script>{RUNS}</script>
<noscript><img src="{trap}/noscript.png"></noscript><template><script>{RUNS}</script></template>
{"<div>" * 3000}deep{"</div>" * 3000}
<plaintext></plaintext><script>{RUNS}</script>"""


@dataclass(frozen=True, slots=True)
class Given:
    """A page as a server gives it."""

    url: str
    body: bytes
    content_type: str = "text/html; charset=utf-8"
    score: int = 10


_ARABIC = "هذا نص طويل من اليمين إلى اليسار يتحدث عن المدينة القديمة وأسواقها وناسها وبيوتها وحدائقها "


def _pages(trap: str) -> list[Given]:
    near = text_of("near", num_words=300)
    arabic = f"<html lang=ar dir=rtl><title>نص عربي</title><article><h1>نص عربي</h1><p>{_ARABIC * 4}</p>"
    odd = (
        f"<html><title>Odd</title><article><p>naïve – café “{text_of('odd')}” \U0001f600 \u200b</p></article>"
    )
    return [
        Given(HOSTILE, hostile_page(trap).encode(), "text/html; charset=utf-7"),
        Given(RIGHT_TO_LEFT, arabic.encode("utf-8")),
        Given(ODD, odd.encode("utf-16"), "text/html; charset=iso-8859-1"),
        Given(NEAR, html_of(near), score=99),
        *(Given(url, html_of(text_of("near", changed=4 * n, num_words=300))) for n, url in enumerate(COPIES)),
        Given(SHORT, html_of("Short. " + "and so on. " * 2)),
        *(Given(f"https://site{n}.example/page", html_of(text_of(f"{n}"))) for n in range(4)),
    ]


class _Stream(io.BytesIO):
    @property
    def num_bytes(self) -> int:
        return self.tell()


def build_hostile(folder: Path, trap: str) -> Folder:
    """Builds the run, every stage of it; its pages lead to the address of a trap."""
    stream = _Stream()
    sink = WarcSink(stream, "pages.warc.gz", date=DATE, info={})
    lines = []
    for number, page in enumerate([*_pages(trap), Given(MISSING, b"")]):
        lines.append(json.dumps(submission(page.url, page.score, f"p{number}", number)))
        if page.body:
            headers = stored_headers(Headers((("Content-Type", page.content_type),)), len(page.body))
            sink.response(
                page.url, DATE, Response("HTTP/1.1 200 OK", 200, headers, page.body, truncated=False)
            )
    (folder / "RS_2019-06.ndjson").write_text("\n".join(lines))
    (folder / "pages.warc.gz").write_bytes(stream.getvalue())
    (folder / "webtext.toml").write_text(SETTINGS)
    return build_in(folder)
