"""Sentences cut into the tokens of the Penn Treebank (CBT's by Stanford CoreNLP, SST-2's), made plain again.

GPT-2 was asked about plain text only: its paper (section 3.1) takes such artefacts out by de-tokenizers, and
publishes none for these data sets.
"""

import re
from collections.abc import Sequence

_WRITTEN = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
_QUOTES = {"``": '"', "''": '"', "`": "'"}
_BEFORE_THE_NEXT = re.compile(r"``|`|[(\[{$£]|'t", re.I)
_BEHIND_THE_LAST = re.compile(r"''|[,;:!?%)\]}]|\.+|n't|'(?:s|m|d|re|ve|ll)", re.I)


def detokenize(sentences: Sequence[str]) -> list[list[str]]:
    """Plain text for each token of the sentences, with the space that stands before it, if one does.

    All strings of all sentences, joined, are the plain text. A lone `'` closes what a lone opening quote
    began, follows a word (the dogs'), or ends a sentence; else it opens: CoreNLP has mistaken many of them.

    >>> detokenize(["`` I ca n't , '' he said .", "Oh -LRB- dear -RRB- !"])[0]
    ['"', 'I', ' ca', "n't", ',', '"', ' he', ' said', '.']
    >>> "".join(detokenize(["the dogs ' tails", "` Go ! '"])[1])
    " 'Go!'"
    """
    texts: list[list[str]] = []
    is_quoting = False  # since a lone opening quote
    is_glued = True
    for sentence in sentences:
        words = sentence.split()
        texts.append([])
        for place, word in enumerate(words):
            if word == "'":
                last = words[place - 1] if place else ""
                is_behind = is_quoting or place == len(words) - 1 or last[-1:].isalnum()
                is_before = not is_behind
                if not last.endswith("s"):  # else it may be a possessive
                    is_quoting = is_before
            else:
                is_quoting = is_quoting or word == "`"
                text = _WRITTEN.get(word.upper(), word)
                is_behind = _BEHIND_THE_LAST.fullmatch(text) is not None
                is_before = _BEFORE_THE_NEXT.fullmatch(text) is not None
            texts[-1].append(("" if is_glued or is_behind else " ") + _written(word))
            is_glued = is_before
    return texts


def _written(word: str) -> str:
    if word in _QUOTES:
        return _QUOTES[word]
    return _WRITTEN.get(word.upper(), word).replace("\\/", "/").replace("\\*", "*")
