"""What was measured of a run's vocabulary as people read it: rows of texts, and tables for a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.plain_table import byte_size, percentage, plain_table
from pipeline.report.vocabulary import TIMES, Amount, Fit, Use, readable, together

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

NUM_LANGUAGES = 10
MOST_CHARACTERS = 60  # of a token that are shown

_NUM_LONGEST = 10
_NUM_EXAMPLES = 20
_COVERING = (10, 100, 1_000, 10_000)  # ids


def tables(fit: Fit) -> "list[RenderableType]":
    """The measures for a terminal: the figures, by language, the longest tokens and the never-used ones."""
    own = fit.uses[0]
    return [_figures(fit), _languages(fit), _longest(own), _never_used(own)]


def _figures(fit: Fit) -> "Table":
    names = _heads(fit)
    table = _narrow(plain_table("", *names, title=f"\n{sample_size(fit)};\n{trained_on(fit)}"), len(names))
    for what, values in figure_rows(fit):
        table.add_row(what, *values)
    return table


def _heads(fit: Fit) -> list[str]:
    """The vocabularies' names, which are people's paths, as they are."""
    from rich.markup import escape

    return [escape(use.name) for use in fit.uses]


def _narrow(table: "Table", num: int) -> "Table":
    """Lets the heads of the last columns break, where they are long, rather than hide numbers."""
    for column in table.columns[-num:]:
        column.no_wrap = False
        column.overflow = "fold"
    return table


def sample_size(fit: Fit) -> str:
    """``1,000 of 1,234 documents, chosen by a hash of their ids: 4.5 MB, 700,000 words``."""
    total = fit.total
    is_whole = total.num_documents == fit.num_documents
    documents = "all" if is_whole else f"{total.num_documents:,} of"
    how = "" if is_whole else ", chosen by a hash of their ids"
    amount = f"{byte_size(total.num_bytes)}, {total.num_words:,} words"
    return f"{documents} {fit.num_documents:,} documents{how}: {amount}"


def trained_on(fit: Fit) -> str:
    """On how many documents the run's tokenizer was trained: what it was made from it fits best."""
    return f"this run's tokenizer was trained on {fit.num_trained:,} of the {fit.num_documents:,}"


def figure_rows(fit: Fit) -> list[tuple[str, list[str]]]:
    """What it is, and a value for each vocabulary; all ids but those of the special tokens."""
    places = range(len(fit.uses))
    rows = [
        ("ids", [f"{len(use.tokens):,}" for use in fit.uses]),
        ("tokens", [f"{num:,}" for num in fit.total.num_tokens]),
        ("bytes a token", [ratio(fit.total.bytes_a_token(place)) for place in places]),
        ("tokens a word", [ratio(fit.total.tokens_a_word(place)) for place in places]),
    ]
    for name, between in TIMES.items():
        rows.append((f"ids {name}", [_of_ids(use.num_ids(*between), use) for use in fit.uses]))
    rows.append(("single bytes never used", [f"{use.num_never_bytes():,}" for use in fit.uses]))
    curves = [use.coverage() for use in fit.uses]
    for num in _COVERING:
        if num < max(map(len, curves)):
            shares = [f"{100 * curve[min(num, len(curve)) - 1]:.1f} %" for curve in curves]
            rows.append((f"covered by the top {num:,} ids", shares))
    return rows


def _of_ids(num: int, use: Use) -> str:
    return f"{num:,} ({percentage(num, len(use.tokens))})"


def ratio(value: float | None) -> str:
    """``4.27``; a dash where there is nothing to divide."""
    return "–" if value is None else f"{value:,.2f}"


def folded(languages: Sequence[Amount]) -> list[Amount]:
    """The first NUM_LANGUAGES, and the others as one where that saves lines."""
    if len(languages) <= NUM_LANGUAGES + 1:
        return list(languages)
    others = languages[NUM_LANGUAGES:]
    return [*languages[:NUM_LANGUAGES], together(f"{len(others)} others", others)]


def _languages(fit: Fit) -> "Table":
    names = _heads(fit)
    heads = [f"{what}\n{name}" for what in ("bytes\na token", "tokens\na word") for name in names]
    table = plain_table("language", "documents", "bytes", "words", *heads, title="\nby language")
    _narrow(table, len(heads))
    for one in folded(fit.languages):
        table.add_row(*language_row(one))
    return table


def language_row(amount: Amount) -> list[str]:
    """The language, how much of it there is, the bytes a token of each vocabulary, its tokens a word."""
    places = range(len(amount.num_tokens))
    return [
        amount.language,
        f"{amount.num_documents:,}",
        byte_size(amount.num_bytes),
        f"{amount.num_words:,}",
        *(ratio(amount.bytes_a_token(place)) for place in places),
        *(ratio(amount.tokens_a_word(place)) for place in places),
    ]


def _longest(use: Use) -> "Text":
    """A line a token, however long."""
    from rich.text import Text

    lines = Text(f"\nthe longest tokens of {use.name}\n", "italic")
    lines.append(f"bytes     times      id  token\n{'─' * 31}", "not italic bold")
    for one in use.longest()[:_NUM_LONGEST]:
        token = use.tokens[one]
        lines.append(f"\n{len(token):>5,}  {use.counts[one]:>8,}  {one:>6}  {shown(token)}", "not italic")
    return lines


def _never_used(use: Use) -> "Text":
    from rich.text import Text

    examples = use.examples()[:_NUM_EXAMPLES]
    num = len(use.never()) - use.num_never_bytes()
    title = f"\nmerged tokens of {use.name} that are never used: {num:,}, the first learnt of them\n"
    tokens = "  ".join(shown(use.tokens[one]) for one in examples) or "none"
    return Text.assemble((title, "italic"), tokens)


def shown(token: bytes) -> str:
    """A token as people can read it, cut where it is very long."""
    text = readable(token)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
