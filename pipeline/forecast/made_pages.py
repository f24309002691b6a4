"""Pages and texts that are made, the same ones every time: to see how fast this machine is before it has any.

A page is what news sites serve: half of its bytes are scripts and styles, most of its links lead elsewhere,
and the article is in the middle.
"""

import random
from functools import lru_cache

_SPELLED = """the of and to in a is that for it was on are as with his they at be this from have or by one had
not but what all were when we there can an your which their said if do will each about how up out them then
she many some so these would other into has more her two like him see time could no make than first been its
who now people my made over did down only way find use may water long little very after words called just
where most know get through back much before go good new write our used me man too any day same right look
think also around another came come work three word must because does part even place well such here take
why things help put years different away again off went old number great tell men say small every found
still between name should home big give air line set own under read last never us left end along while
might next sound below saw something thought both few those always looked show large often together asked
house don world going want school important until form food keep children feet land side without boy once
animals life enough took sometimes four head above kind began almost live page got earth need far hand high
year mother light parts country father let night following picture being study second eyes soon times story
boys since white days ever paper hard near sentence better best across during today others however sure
means knew try told young miles sun ways thing whole hear example heard several change answer room sea
against top turned learn point city play toward five using himself usually money seen car morning"""
_WORDS = _SPELLED.split()

_TEXT_BYTES = 4_700
_NAVIGATION = 240
_TEASERS = 60
_COMMENTS = 36
_SCRIPT = "window.dataLayer=window.dataLayer||[];function track(e,t){{dataLayer.push([e,t,{number}])}};" * 120


@lru_cache(maxsize=64)
def made_text(number: int) -> str:
    """An article of about 4.7 kB, as long as WebText's are on average."""
    draw = random.Random(number)  # noqa: S311 (no secret)
    paragraphs, size = [], 0
    while size < _TEXT_BYTES:
        paragraph = " ".join(_sentence(draw) for _ in range(draw.randint(3, 6)))
        paragraphs.append(paragraph)
        size += len(paragraph) + 1
    return "\n".join(paragraphs)


def made_page(number: int) -> bytes:
    """A page of about 100 kB around such an article; to extract it takes as long as real news pages do."""
    draw = random.Random(-number)  # noqa: S311 (no secret)
    title = _sentence(draw)
    navigation = "".join(_item(draw, n) for n in range(_NAVIGATION))
    teasers = "".join(
        f'<div class="teaser"><h4><a href="/t{n}">{_sentence(draw)}</a></h4><p>{_sentence(draw)}</p></div>'
        for n in range(_TEASERS)
    )
    article = "".join(f"<p>{one}</p>\n" for one in made_text(number).split("\n"))
    comments = "".join(f'<li class="comment"><p>{_sentence(draw)}</p></li>' for _ in range(_COMMENTS))
    scripts = "".join(f"<script>{_SCRIPT.format(number=n)}</script>" for n in range(5))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="description" content="{_sentence(draw)}">{scripts}</head><body>'
        f'<nav><ul>{navigation}</ul></nav><div id="main"><article><h1>{title}</h1>'
        f'<p class="by">2019-06-01</p>{article}</article><aside>{teasers}</aside>'
        f'<section class="comments"><ul>{comments}</ul></section></div>'
        f"<footer><ul>{navigation}</ul></footer></body></html>"
    ).encode()


def _item(draw: random.Random, number: int) -> str:
    return f'<li><a href="/section/{number}">{draw.choice(_WORDS)} {draw.choice(_WORDS)}</a></li>'


def _sentence(draw: random.Random) -> str:
    words = draw.choices(_WORDS, k=draw.randint(8, 24))
    return f"{' '.join(words).capitalize()}."
