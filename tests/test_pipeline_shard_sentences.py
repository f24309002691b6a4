"""Sentences: their offsets cover any text, and they end where readers of it say."""

import re

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.shard.sentences import sentence_ends

# Signs that mean something to a splitter, more often than chance would bring them together.
SIGNS = st.sampled_from(
    [
        *("Mr.", "J.", "a", "B", "word", "1.", "3.5", "é", "𝄞", "[1]", "-", "--", "\0"),
        *(".", "!", "?", "…", "...", "。", "．", "।", "؟", ";"),
        *('"', "“", "”", "’", "«", "»", "」", ")"),
        *(" ", "\u00a0", "\u2003", "\u3000", "\x1c", "\t", "\n", "\r\n", "\u2028"),
    ]
)


def cut(text: str, language: str = "en") -> list[str]:
    """The text's sentences by their byte offsets."""
    ends = sentence_ends(text, language).tolist()
    return [text.encode()[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]


@given(
    st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.lists(SIGNS).map("".join)),
    st.sampled_from(["en", "el", "ja", "xx", ""]),
)
@example("a\u00a0B.", "en")
@example('D\u2028."Hi."\r\n', "en")
@example("。\x1f", "en")
@example("?!" * 400 + " Yes. No.", "en")
def test_sentences_cover_any_text(text: str, language: str) -> None:
    sentences = cut(text, language)
    assert "".join(sentences) == text
    assert all(sentence.strip() for sentence in sentences) or len(sentences) == 1
    assert all(not sentence[0].isspace() for sentence in sentences[1:])


@given(st.lists(SIGNS).map("".join), st.sampled_from(["en", "el"]))
def test_a_sentence_holds_no_line_end(text: str, language: str) -> None:
    for sentence in cut(text.strip(), language):
        assert len(sentence.strip().splitlines()) == 1 or re.search("[\x1c-\x1e]", sentence)


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", ["\n Hi there. ", "“Is it – so?”  ", "I\u00a0see.\n\n", "New one "]),
        ("en", ["Mr. Garrett then swung it at Dr. J. K. Smith of the U.S. Army. ", "He missed."]),
        ("en", ["“Is it?” she asked. ", '"We run. ', 'We hide," he said. ', "It’s $3.50, i.e. less."]),
        ("en", ["I went home. ", "Then it rained!! ", "Why?"]),
        ("en", ["A heading\n", "See www.example.com/a.html?b=c now.\n\n", "- an item\r\n", "- another"]),
        ("de", ["Das kostet z. B. 3,5 Euro. ", "„Ist es so?“ ", "Ja.\n", "„Nun.“"]),
        ("de", ["Er sagte. ", "»Ja.« ", "Ich ging."]),
        ("sv", ["Han sa. ", "”Ja.” ", "Jag gick."]),
        ("fr", ["« C’est lui ! » ", "Dupont l’a dit. ", "Voilà…"]),
        ("ru", ["Он пришёл. ", "Где он? ", "Тут!"]),
        ("el", ["Πού είναι; ", "Εδώ είναι. ", "Ναι; ", "Όχι."]),
        ("ar", ["أين هو؟ ", "هنا."]),
        ("hi", ["यह एक है। ", "वह दो है।"]),
        ("ja", ["一つ。", "「二つ。」", "本当？！", "３．５です．", "終わり"]),
        ("zh", ["他来了。", "“走吧！”", "2019年。"]),
        ("xx", ["一つ。", "Two; three."]),
    ],
)
def test_sentences_of_a_text(language: str, sentences: list[str]) -> None:
    assert cut("".join(sentences), language) == sentences


def test_no_full_stop_is_overlooked() -> None:
    signs = regex.findall(r"(?V1)[\p{Sentence_Terminal}--[!?.]]", "".join(map(chr, range(0xD800))))
    assert len(signs) >= 80
    for sign in signs:
        assert cut(f"a{sign} b") == [f"a{sign} ", "b"], hex(ord(sign))


@pytest.mark.parametrize(
    "sign", [".", "?!", "“Say it. ", "(Go. ", "J. ", "1. item\n", "これは文です。", "a", "a.", "\n", " "]
)
def test_long_texts_without_mercy(sign: str) -> None:
    # On such texts splitters take time in the square of the length: minutes, here.
    text = (sign * 200_000)[:200_000]
    assert sentence_ends(text, "en")[-1] == len(text.encode())


def test_the_end_of_a_long_text_is_cut_as_its_beginning() -> None:
    paragraph = "Some words stand hére. Others too.\n\n"
    assert cut(paragraph * 2_000) == ["Some words stand hére. ", "Others too.\n\n"] * 2_000
