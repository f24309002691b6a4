"""What dedupe must agree with, by the plainest of means."""

import random

import numpy as np

from pipeline.config import DedupeSettings
from pipeline.dedupe.shingles import Shingler
from pipeline.dedupe.signatures import Signature, Signer

DEFAULTS = DedupeSettings()


THRESHOLD = DEFAULTS.threshold


MULTIPLIER = 0x9E3779B97F4A7C15


def shingles(text: str, settings: DedupeSettings = DEFAULTS) -> set[tuple[str, ...]]:
    """The oracle's shingles, by the plainest of means."""
    words = text.casefold().split()
    units = words if settings.shingles == "words" else list(" ".join(words))
    length = min(settings.ngram, len(units))
    return {tuple(units[i : i + length]) for i in range(len(units) - length + 1)} if units else set()


def true_jaccard(one: str, other: str, settings: DedupeSettings = DEFAULTS) -> float:
    a, b = shingles(one, settings), shingles(other, settings)
    return len(a & b) / len(a | b) if a | b else 1.0


def plain_hash(shingle: tuple[str, ...]) -> int:
    """A shingle of words, hashed in Python's own integers, as datasketch takes it: its upper 32 bits."""
    spelled = [word.encode("utf-8", "surrogatepass") for word in shingle]
    return combined(
        [mixed(sum((byte + 1) * pow(MULTIPLIER, i, 2**64) for i, byte in enumerate(own))) for own in spelled]
    )


def plain_character_hash(shingle: tuple[str, ...]) -> int:
    return combined([mixed(ord(character) + 1) for character in shingle])


def mixed(value: int) -> int:
    """MurmurHash3's 64-bit finaliser."""
    value %= 2**64
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value = (value ^ value >> 33) * factor % 2**64
    return value ^ value >> 33


def combined(hashes: list[int]) -> int:
    total: int = sum(one * pow(MULTIPLIER, i + 1) for i, one in enumerate(hashes))
    return total % 2**64 >> 32


def sign(texts: list[str], settings: DedupeSettings = DEFAULTS) -> Signature:
    shingler, signer = Shingler(settings.shingles, settings.ngram), Signer(settings.num_perm)
    signatures = [signer.sign(shingler.shingle(text).shingles) for text in texts]
    return np.array(signatures, dtype=np.uint32).reshape(-1, settings.num_perm)


def prose(generator: random.Random, num_words: int) -> list[str]:
    return [f"w{generator.randrange(3000)}" for _ in range(num_words)]


def edited(words: list[str], generator: random.Random, num_changes: int) -> list[str]:
    """The words with some of them changed, apart from one another."""
    changed = list(words)
    for i in generator.sample(range(len(words)), num_changes):
        changed[i] = f"x{generator.randrange(3000)}"
    return changed


# A greeting each: scripts with and without spaces, from both sides, with marks that combine.
SCRIPTS = (
    "Latin text",
    "Ελληνικά γράμματα",
    "Кириллица здесь",
    "Հայերեն այբուբեն",
    "עברית מימין",
    "العربية من اليمين",
    "فارسی هم",
    "ܣܘܪܝܝܐ ܠܫܢܐ",
    "ދިވެހި ތާނަ",
    "हिन्दी देवनागरी",
    "বাংলা লিপি",
    "ਗੁਰਮੁਖੀ ਲਿਪੀ",
    "ગુજરાતી લિપિ",
    "ଓଡ଼ିଆ ଲିପି",
    "தமிழ் எழுத்து",
    "తెలుగు లిపి",
    "ಕನ್ನಡ ಲಿಪಿ",
    "മലയാളം ലിപി",
    "සිංහල අකුරු",
    "ภาษาไทยไม่มีช่องว่าง",
    "ພາສາລາວ",
    "མཿ་བོད་ཡིག",
    "မြန်မာဘာသာ",
    "ქართული ანბანი",
    "한국어 문장",
    "አማርኛ ፊደል",
    "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ",
    "ᐃᓄᒃᑎᑐᑦ ᖃᓂᐅᔮᖅ",
    "ភាសាខ្មែរ",
    "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ",
    "日本語の文章です",
    "汉字没有空格",
    "ꆈꌠꁱꂷ",
    "𐤀𐤁𐤂 𐤃𐤄",
    "ⲙⲛⲧⲣⲙⲛⲕⲏⲙⲉ",
)


ODD_TEXTS = [
    "",
    " \n\t ",
    "one",
    "One",
    "one two three",
    "again " * 5000,
    "x" * 100_000,
    "nul \0 and \u2028 and \ufeff and 😀 " * 7,
    "ß SS ſ İ i\u0307",
    "a lone \ud800 surrogate, \udfff another, and more of them \ud800\ud800",
    *SCRIPTS,
    " ".join(SCRIPTS * 20),
]
