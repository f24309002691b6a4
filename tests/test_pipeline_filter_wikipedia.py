"""filter: Wikipedia by its hosts, mirrors, and copies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.filter.wikipedia import wikipedia_host
from pipeline.hosts import registrable_domain
from pipeline.url_lists import read_list, read_words
from pipeline.urls import parse

EN = "en.wikipedia.org"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://en.wikipedia.org/wiki/Reddit", EN),
        ("http://wikipedia.org/", "wikipedia.org"),
        ("https://www.wikipedia.org/", "www.wikipedia.org"),
        ("https://de.m.wikipedia.org/wiki/Reddit", "de.m.wikipedia.org"),
        ("https://en.zero.wikipedia.org/wiki/Reddit", "en.zero.wikipedia.org"),
        ("https://zh-classical.wikipedia.org/", "zh-classical.wikipedia.org"),
        ("https://EN.Wikipedia.ORG:443/wiki/X", EN),
        ("https://en.wikipedia.org:8080/wiki/X", EN),
        ("https://en.wikipedia.org./wiki/X", EN),
        ("https://user:word@en.wikipedia.org/", EN),
        ("http://www.wikipedia.de/", "www.wikipedia.de"),
        ("https://en.wikipedia.com/wiki/X", "en.wikipedia.com"),
        ("https://secure.wikimedia.org/wikipedia/en/wiki/X", "secure.wikimedia.org"),
    ],
)
def test_its_own_hosts(url: str, host: str) -> None:
    assert wikipedia_host(url) == host


@pytest.mark.parametrize(
    "url",
    [
        "https://en.wikinews.org/wiki/X",
        "https://en.wiktionary.org/wiki/X",
        "https://commons.wikimedia.org/wiki/X",
        "https://secure.wikimedia.org/wikinews/en/wiki/X",
        "https://secure.wikimedia.org/wikibooks/wikipedia/",
        "https://wikipedia.example.org/",
        "https://wikipedia.github.io/",
        "https://notwikipedia.org/",
        "https://wikipedia.org.example.com/",
        "https://example.org/?u=en.wikipedia.org",
        "https://example.org/?u=https://en.wikipedia.org/wiki/X",
        "https://example.org/https://en.wikipedia.org/wiki/X",
        "https://www.google.com/search?q=https://en.wikipedia.org/wiki/X",
        "https://www.google.com/search?q=cache",
        "https://translate.google.com/about?u=https://en.wikipedia.org/",
        "https://translate.google.com/translate?u=",
        "https://web.archive.org/web/2010/http://example.org/wiki/en.wikipedia.org",
        "https://web.archive.org/web/2010/http://example.org/?q=http://en.wikipedia.org/",
        "https://web.archive.org/",
        "https://archive.org/details/en.wikipedia.org",
        "https://archive.ph/aBc12",
        "https://example-org.translate.goog/wikipedia",
        "https://ipfs.io/ipfs/QmXoypizjW3WknFiJnKLwHCnL72vedxjQkDDP1mXWo6uco/wiki/",
        "https://library.kiwix.org/content/wiktionary_en_all/A/X",
        "https://www.thefreedictionary.com/wikipedia",
        "not a URL",
        "",
    ],
)
def test_what_is_none_of_it(url: str) -> None:
    assert wikipedia_host(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://web.archive.org/web/20100102030405/http://en.wikipedia.org/wiki/X",
        "https://web.archive.org/web/20100102030405id_/http://en.wikipedia.org/wiki/X",
        "https://web.archive.org/web/2010*/http://en.wikipedia.org/wiki/X",
        "https://web.archive.org/web/2010/en.wikipedia.org/wiki/X",
        "https://web.archive.org/web/http://en.wikipedia.org/wiki/X",
        "http://web.archive.org/web/2010/http:/en.wikipedia.org/wiki/X",
        "https://web.archive.org/web/2010/http%3A//en.wikipedia.org/wiki/X",
        "https://web.archive.org/web/2010/http://en.wikipedia.org:80/wiki/X",
        "https://web.archive.org/web/2012/https://web.archive.org/web/2010/http://en.wikipedia.org/wiki/X",
        "http://wayback.archive.org/web/2010/http://en.wikipedia.org/",
        "https://archive.today/2013.01.02-030405/http://en.wikipedia.org/wiki/X",
        "https://archive.ph/newest/https://en.wikipedia.org/wiki/X",
        "https://archive.is/o/aBc12/https://en.wikipedia.org/wiki/X",
        "https://archive.is/20130102/http://en.wikipedia.org/wiki/X",
        "https://arquivo.pt/wayback/20100102030405/http://en.wikipedia.org/wiki/X",
        "https://www.webcitation.org/query?url=http%3A%2F%2Fen.wikipedia.org%2Fwiki%2FX&date=2010-01-02",
        "https://en-wikipedia-org.translate.goog/wiki/X?_x_tr_sl=en&_x_tr_tl=de",
        "https://translate.google.com/translate?hl=de&sl=en&u=https://en.wikipedia.org/wiki/X",
        "https://translate.google.co.uk/translate?u=http%3A%2F%2Fen.wikipedia.org%2Fwiki%2FX&sl=en",
        "https://translate.google.de/translate?u=en.wikipedia.org/wiki/X",
        "https://translate.googleusercontent.com/translate_c?depth=1&u=https://en.wikipedia.org/wiki/X",
        "https://webcache.googleusercontent.com/search?q=cache:en.wikipedia.org/wiki/X",
        "http://webcache.googleusercontent.com/search?q=cache:aBcDeF-12_34:https://en.wikipedia.org/wiki/X+a&hl=en",
        "http://webcache.googleusercontent.com/search?q=cache%3Ahttps%3A%2F%2Fen.wikipedia.org%2Fwiki%2FX",
        "https://www.google.com/search?q=cache:http://en.wikipedia.org/wiki/X",
        "http://www.microsofttranslator.com/bv.aspx?from=&to=de&a=http%3A%2F%2Fen.wikipedia.org%2Fwiki%2FX",
        "https://www.translatetheweb.com/?from=en&to=de&a=https://en.wikipedia.org/wiki/X",
        "https://translate.yandex.ru/translate?url=https://en.wikipedia.org/wiki/X&lang=en-ru",
        "https://www.google.com/url?q=https://en.wikipedia.org/wiki/X",
        "https://translate.google.com/translate?u=https://web.archive.org/web/2010/http://en.wikipedia.org/",
    ],
)
def test_copies_translations_and_redirects(url: str) -> None:
    assert wikipedia_host(url) == EN


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.wikiwand.com/en/Reddit", "www.wikiwand.com"),
        ("https://wiki2.org/en/Reddit", "wiki2.org"),
        ("https://en.wikipedia-on-ipfs.org/wiki/X", "en.wikipedia-on-ipfs.org"),
        ("https://ipfs.io/ipns/en.wikipedia-on-ipfs.org/wiki/X", "en.wikipedia-on-ipfs.org"),
        ("https://en-wikipedia--on--ipfs-org.ipns.dweb.link/wiki/X", "en.wikipedia-on-ipfs.org"),
        ("https://library.kiwix.org/content/wikipedia_en_all/A/X", "library.kiwix.org"),
        ("https://browse.library.kiwix.org/viewer#wikipedia_en_all/A/X", "browse.library.kiwix.org"),
        ("https://web.archive.org/web/2015/https://www.wikiwand.com/en/X", "www.wikiwand.com"),
        ("https://encyclopedia.thefreedictionary.com/X", "encyclopedia.thefreedictionary.com"),
        ("https://de-m-wikipedia-org.translate.goog/wiki/X", "de.m.wikipedia.org"),
        ("https://zh--yue-wikipedia-org.translate.goog/wiki/X", "zh-yue.wikipedia.org"),
    ],
)
def test_mirrors(url: str, host: str) -> None:
    assert wikipedia_host(url) == host


def test_the_first_of_several_is_named() -> None:
    assert wikipedia_host() is None
    assert wikipedia_host(None, "https://example.org/", None) is None
    assert (
        wikipedia_host("https://t.example/x", None, "nonsense", f"https://{EN}/", "https://wiki2.org/") == EN
    )


def test_an_endless_nesting_ends() -> None:
    assert wikipedia_host("https://web.archive.org/web/2010/" * 300 + f"https://{EN}/") is None


def test_the_list_names_hosts_as_urls_have_them() -> None:
    entries = [word for words in read_list("wikipedia_mirrors.txt") for word in words]
    assert len(entries) == len(set(entries)) == len(read_words("wikipedia_mirrors.txt"))
    for entry in entries:
        url = parse(f"http://{entry}/")
        assert url is not None
        assert url.host == entry
        assert "." in registrable_domain(entry)
        assert not entry.startswith("www.")
        assert wikipedia_host(f"https://en.{entry}/wiki/X") == f"en.{entry}"


@given(st.text(max_size=80))
def test_any_text_has_an_answer(text: str) -> None:
    for url in (text, f"https://web.archive.org/web/{text}", f"https://{text}.translate.goog/{text}"):
        host = wikipedia_host(url)
        assert host is None or "wiki" in host or host in read_words("wikipedia_mirrors.txt")


@given(st.from_regex(r"[a-z]{2,3}(-[a-z]{2,8})?", fullmatch=True), st.sampled_from(["", "m.", "zero."]))
def test_every_language(code: str, variant: str) -> None:
    host = f"{code}.{variant}wikipedia.org"
    assert wikipedia_host(f"https://{host}/wiki/X") == host
    label = host.replace("-", "--").replace(".", "-")
    assert wikipedia_host(f"https://{label}.translate.goog/wiki/X") == host
