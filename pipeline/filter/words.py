"""A text's words and sentences, near enough to those of spaCy's tokeniser that quality rules decide alike.

Text is cut at white space. From both ends of a piece come off, one at a time, punctuation, quotes, symbols,
currency signs, ``'s`` and a full stop that ends a sentence; what is left is a word, or is cut at hyphens,
slashes, commas and the like between letters. Web addresses, abbreviations and emoticons stay whole, and
contractions are parted: ``split_words("I don't, see U.S. law.")`` gives I, do, n't, ``,``, see, U.S., law,
and ``.``. Contractions and abbreviations are English; all else holds for any script. Scripts that put no
spaces between words come as the runs that they are written in.

Source: the rules as https://spacy.io/usage/linguistic-features#tokenization describes them.
"""

from functools import lru_cache
from itertools import chain, product

import regex

_REMEMBERED = 65_536  # pieces of text, most of them words, whose parts are known already
_LONG = 64  # characters of a piece that are not worth remembering
_LONGEST_URL = 2_000
_LONGEST_SUFFIX = 16  # characters

# --- signs, as classes of a regular expression ------------------------------------------------------------

_QUOTES = r"'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_PUNCTUATION = r"…,:;!?¿؟¡()\[\]{}<>_#*&。？！，、；：～·।،۔؛٪"
_SINGLE = rf"[{_PUNCTUATION}{_QUOTES}\p{{So}}—–]"  # what comes off at either end
_LOWER = r"\p{Ll}\p{Lo}\p{Lm}"
_UPPER = r"\p{Lu}\p{Lt}\p{Lo}"
_UNIT = (
    r"%|[kcdmµn]?m|[kcdm]?m[²³]|ha|yd|in|ft|[kmµ]?g|t|lb|oz|m/s|km/h|kmh|mph|h?Pa|mbar|[mM][bB]|[kKgGtT][bB]|"
    r"[TGMK]|км|[дсмн]?м|[кдсм]?м[²³]|[км]?г|м/с|км/ч|к?Па|[кКмМгГтТ][бБ]"
)
_PREFIX = regex.compile(rf"…+|\.\.+|{_SINGLE}|[§%=\p{{Sc}}]|\+(?!\d)|(?:US|C|A)\$")
_SUFFIX = regex.compile(
    rf"(?:…+|\.\.+|['’][sS]|{_SINGLE}|(?<=\d)(?:\+|\p{{Sc}}|{_UNIT})"
    rf"|(?<=[\d{_LOWER}%²\-+|{_PUNCTUATION}{_QUOTES}])\.|(?<=[{_UPPER}]{{2}})\.)$"
)
_INFIX = regex.compile(
    rf"\.\.+|…|\p{{So}}|(?<=\d)[+\-*^](?=[\d-])|(?<=[{_LOWER}{_QUOTES}])\.(?=[{_UPPER}{_QUOTES}])"
    r"|(?<=\p{L}),(?=\p{L})|(?<=[\p{L}\d])(?:-{1,3}|–|——?|~|[:<>=/])(?=\p{L})"
)
_URL = regex.compile(
    r"(?:[\w+.-]{2,}://)?(?:\S+@)?"
    r"(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[^\W_](?:[\w-]{0,62}[^\W_])?\.)+[\p{Ll}\p{Lo}]{2,63})"
    r"(?::\d{2,5})?(?:[/?#]\S*)?"
)
# Those of _SINGLE that begin nothing longer and end nothing longer: they need no expression.
_SIGNS = frozenset(',:;!?()[]{}<>_#*&"”“‘„«»。、，；：！？「」（）—–')
_ALL_PUNCTUATION = regex.compile(r"\p{P}+")

# --- English ----------------------------------------------------------------------------------------------

_NEGATED = (
    "ai are ca could dare did does do had has have is may might must need ought sha should was were wo would"
)
_SUBJECTS = "i you he she it we they that there these those this who what when where why how"
# Without its apostrophe each of these is another word.
_OTHER_WORDS = {"he ll", "she ll", "we ll", "i ll", "she d", "it s", "let s", "we re", "who re"}
_ENDINGS = {
    "ll": _SUBJECTS,
    "d": _SUBJECTS,
    "s": "he she it that there this what when where who why how let",
    "re": "you we they there these those who what when where why how",
    "ve": "i you we they there these those who what when where why how could might must not should would",
    "m": "i",
}
_PARTED = "can|not gon|na got|ta y'|all c'm|on"
_WHOLE = """
    Adm. Ak. Ala. Apr. Ariz. Ark. Aug. Bros. Calif. Co. Colo. Conn. Corp. D.C. Dec. Del. Dr. E.G. E.g. Feb.
    Fla. Ga. Gen. Gov. I.E. I.e. Ia. Id. Ill. Inc. Ind. Jan. Jr. Jul. Jun. Kan. Kans. Ky. La. Ltd. Mar.
    Mass. Md. Messrs. Mich. Minn. Miss. Mo. Mont. Mr. Mrs. Ms. Mt. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr.
    Nev. Nov. Oct. Okla. Ore. Pa. Ph.D. Prof. Rep. Rev. S.C. Sen. Sep. Sept. St. Tenn. Va. Wash. Wis. a.m.
    co. e.g. i.e. p.m. v.s. vs. and/or w/o C++ o'clock O'clock ma'am Ma'am 'bout 'cause 'Cause 'cos 'cuz 'em
    'll 'nuff 're 's 'S 'd ' '' doin' goin' havin' lovin' nothin' nuthin' ol' somethin' Doin' Goin' Nothin'
    Ol' Somethin' a. b. c. d. e. f. g. h. i. j. k. l. m. n. o. p. q. r. s. t. u. v. w. x. y. z. ä. ö. ü. :)
    :-) :)) :( :-( :(( ;) ;-) (: (; ): =) =( 8) 8-) :D :-D ;D :P :-P :p :-p :/ :-/ :| :-| :o :O :* :3 :0 :1
    :X :x :] :} <3 </3 >.< -_- ._. ^_^ :'( :'-( :') 0.0 o.O O.o
"""


def _exceptions() -> dict[str, tuple[str, ...]]:
    """What is not split by rule: the whole, with either apostrophe, and its parts."""
    parts: list[tuple[str, ...]] = [(word,) for word in _WHOLE.split()]
    parts += product(map(str, range(1, 13)), ("am", "pm", "a.m.", "p.m."))
    cases: list[tuple[str, ...]] = [tuple(part.split("|")) for part in _PARTED.split()]
    for verb, more in product(_NEGATED.split(), ((), ("'ve",))):
        cases.append((verb, "n't", *more))
    for ending, words in _ENDINGS.items():
        cases += [(word, f"'{ending}") for word in words.split()]
        if ending in ("ll", "d"):
            cases += [(word, f"'{ending}", "'ve") for word in words.split()]
    for case in cases:
        bare = tuple(part.replace("'", "") for part in case)
        for word, *endings in {case} if " ".join(bare) in _OTHER_WORDS else {case, bare}:
            parts += [(first + word[1:], *endings) for first in (word[0], word[0].upper())]
    curly = [tuple(part.replace("'", "’") for part in one) for one in parts]
    return {"".join(one): one for one in parts + curly}


_EXCEPTIONS = _exceptions()
_LONGEST_EXCEPTION = max(map(len, _EXCEPTIONS))

# --- words ------------------------------------------------------------------------------------------------


def split_words(text: str) -> list[str]:
    """The text's words and signs, in order, without white space. Takes time in proportion to the text."""
    pieces = text.split()
    split = _split_remembered if max(map(len, pieces), default=0) <= _LONG else _split_any
    return list(chain.from_iterable(map(split, pieces)))


def _split_any(piece: str) -> tuple[str, ...]:
    return _split_remembered(piece) if len(piece) <= _LONG else _split(piece)


def _split(piece: str) -> tuple[str, ...]:
    """The words of a piece without white space."""
    known = _EXCEPTIONS.get(piece)
    if known or piece.isalpha():
        return known or (piece,)
    word, sign = piece[:-1], piece[-1]
    if word.isalpha() and (sign in ",;:?!" or (sign == "." and word[-1].islower())):  # most of the rest
        return (*_EXCEPTIONS.get(word, (word,)), sign)
    return tuple(_join_exceptions(_split_by_rule(piece)))


def _split_by_rule(piece: str) -> list[str]:
    before: list[str] = []
    after: list[str] = []
    start, end = 0, len(piece)
    while start < end:
        if end - start <= _LONGEST_EXCEPTION and (known := _EXCEPTIONS.get(piece[start:end])):
            return [*before, *known, *reversed(after)]
        prefix = _prefix(piece, start, end)
        if prefix:
            before.append(prefix)
            start += len(prefix)
            if end - start <= _LONGEST_EXCEPTION and piece[start:end] in _EXCEPTIONS:
                continue
        suffix = _suffix(piece, start, end)
        if suffix:
            after.append(suffix)
            end -= len(suffix)
        if not prefix and not suffix:
            break
    return [*before, *_split_inside(piece[start:end]), *reversed(after)]


def _prefix(piece: str, start: int, end: int) -> str:
    """What comes off at the beginning, or nothing."""
    if piece[start] in _SIGNS:
        return piece[start]
    found = _PREFIX.match(piece, start, end)
    return found[0] if found else ""


def _suffix(piece: str, start: int, end: int) -> str:
    """What comes off at the end, or nothing."""
    if start == end:
        return ""
    if piece[end - 1] in _SIGNS:
        return piece[end - 1]
    found = _SUFFIX.search(piece, max(start, end - _LONGEST_SUFFIX), end)
    return found[0] if found else ""


def _split_inside(core: str) -> list[str]:
    """A piece that has lost its signs at both ends, cut between letters and digits."""
    words: list[str] = []
    start = 0
    for infix in _INFIX.finditer(core):
        if infix.start() == 0:
            continue
        if start == 0 and "." in core and len(core) <= _LONGEST_URL and _URL.fullmatch(core):
            return [core]
        words += [core[start : infix.start()], infix[0]]
        start = infix.end()
    words.append(core[start:])
    return [word for word in words if word]


def _join_exceptions(words: list[str]) -> list[str]:
    """Makes whole what was cut though it is an exception: Minn. in "D-Minn.", after the hyphen is cut."""
    joined: list[str] = []
    for word in words:
        if joined and len(_EXCEPTIONS.get(joined[-1] + word, ())) == 1:
            joined[-1] += word
        else:
            joined.append(word)
    return joined


_split_remembered = lru_cache(_REMEMBERED)(_split)

# --- sentences --------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def sentence_terminals() -> frozenset[str]:
    """The signs that end a sentence in any script: Unicode's property Sentence_Terminal (UAX #44)."""
    assigned = map(chr, range(0x20000))  # the planes above hold ideographs and tags, and no signs
    return frozenset(regex.findall(r"\p{Sentence_Terminal}", "".join(assigned)))


def count_sentences(line: str) -> int:
    """Sentences of a line, at least one: the next begins with the first word after a sign that ends one.

    Quotes and brackets after the sign still belong to the sentence. An abbreviation's full stop is no sign
    of its own, nor is an ellipsis.
    """
    pieces = line.split()
    steps = _steps_remembered if max(map(len, pieces), default=0) <= _LONG else _steps
    num_sentences, is_over = 1, False
    for step in map(steps, pieces):
        num_begun, is_over = step[is_over]
        num_sentences += num_begun
    return num_sentences


_Step = tuple[int, bool]  # sentences that begin in a piece, and whether the last one is over at its end


def _steps(piece: str) -> tuple[_Step, _Step]:
    """What a piece of a line does where the sentence before it goes on, and where that is over."""
    words = _split_any(piece)
    return _step(words, is_over=False), _step(words, is_over=True)


_steps_remembered = lru_cache(_REMEMBERED)(_steps)


def _step(words: tuple[str, ...], *, is_over: bool) -> _Step:
    terminals = sentence_terminals()
    num_begun = 0
    for word in words:
        if word in terminals:
            is_over = True
        elif is_over and not _ALL_PUNCTUATION.fullmatch(word):
            num_begun += 1
            is_over = False
    return num_begun, is_over
