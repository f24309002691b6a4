"""What a file of tokens holds, in words."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.plain_table import plain_table, visible
from pipeline.shard.documents import Document, Token
from pipeline.shard.inspection import Inspection
from pipeline.shard.token_forms import Form

if TYPE_CHECKING:
    from rich.console import RenderableType

_FORMS = {
    Form.MEGATRON: "Megatron's form: headerless tokens, and an index",
    Form.LLM_C: "llm.c's form: a header of 256 int32, and tokens",
    Form.HEADERLESS: "headerless tokens",
}


def render(found: Inspection) -> "Iterator[RenderableType]":
    """What ``webtext inspect-shard`` prints: the files, the figures, and the documents, one after another."""
    from rich.text import Text

    owner = "" if found.run is None else f", a shard of {found.run}"
    yield Text(visible(f"{found.path}: {_FORMS[found.form]}{owner}") + "\n")
    files = plain_table("file", "bytes", "sequences", "checksum")
    for file in found.files:
        sequences = "" if file.sequences is None else f"{file.sequences:,}"
        files.add_row(Text(visible(file.name)), f"{file.bytes:,}", sequences, file.checksum or "no manifest")
    yield files
    yield Text("\n" + "\n".join(_figures(found)))
    for problem in found.problems:
        yield Text.assemble(("✗ ", "red"), visible(problem))
    for remark in found.remarks:
        yield Text(visible(f"· {remark}"))
    if found.token is not None:
        yield Text("\n" + "\n".join(_token(found.token)))
    for document in found.documents:
        yield Text("\n" + "\n".join(_document(document, found.origins.get(document.number))))
    if found.num_documents is None and found.token is None:
        goes_on = found.num_tokens > len(found.first_tokens)
        yield Text("\n" + _row("first tokens", _numbers(found.first_tokens, goes_on=goes_on)))


def _row(name: str, value: str) -> str:
    return f"{name:<14}{value}"


def _figures(found: Inspection) -> Iterator[str]:
    highest = "" if found.highest_id is None else f"; highest id {found.highest_id:,}"
    of = "" if found.vocab_size is None else f" of a vocabulary of {found.vocab_size:,}"
    yield _row("tokens", f"{found.num_tokens:,} {found.dtype}{highest}{of if highest else ''}")
    if found.num_documents is not None:
        yield _row("documents", f"{found.num_documents:,}")
    if found.lengths is not None:
        yield _row(
            "",
            f"tokens a document: mean {found.lengths.mean:,.1f}, median {found.lengths.median:,.1f}, "
            f"min {found.lengths.min:,}, max {found.lengths.max:,}",
        )
    if found.num_sentences is not None:
        yield _row("sentences", f"{found.num_sentences:,}")
    if found.num_end_of_text is not None:
        share = f" ({found.num_end_of_text / found.num_tokens:.2%} of tokens)" if found.num_tokens else ""
        yield _row("end-of-text", f"{found.num_end_of_text:,}{share}")


def _token(token: Token) -> Iterator[str]:
    yield f"token {token.number:,} has id {token.id:,}"
    if token.document is None:
        yield _row("", "in no document that is known")
    else:
        sentence = "" if token.sentence is None else f", in sentence {token.sentence + 1:,} of it"
        yield _row("", f"document {token.document:,}, its token {token.place:,} from 0{sentence}")
    yield _row("ids", " ".join((*map(str, token.before), f"[{token.id}]", *map(str, token.after))))
    if token.text is not None:
        before, own, after = map(visible, token.text)
        yield _row("text", f"{before}[{own}]{after}")


def _document(document: Document, origin: Mapping[str, Any] | None) -> Iterator[str]:
    sentences = "" if document.num_sentences is None else f", {_number(document.num_sentences, 'sentence')}"
    tokens = _number(document.num_tokens, "token")
    yield f"document {document.number:,}: {tokens} from token {document.first_token:,}{sentences}"
    if origin is not None:
        yield from _origin(origin)
    yield _row("tokens", _numbers(document.tokens, goes_on=document.num_tokens > len(document.tokens)))
    if document.text is not None:
        yield from _text(document)


def _number(num: int, what: str) -> str:
    return f"{num:,} {what}{'' if num == 1 else 's'}"


def _numbers(ids: tuple[int, ...], *, goes_on: bool) -> str:
    return " ".join(map(str, ids)) + (" …" if goes_on else "")


def _origin(origin: Mapping[str, Any]) -> Iterator[str]:
    yield _row("id", visible(origin["id"]))
    if len(origin) == 1:  # the corpus does not have it
        return
    yield _row("URL", visible(origin["url"]))
    if origin["final_url"] != origin["url"]:
        yield _row("final URL", visible(origin["final_url"]))
    if origin["title"]:
        yield _row("title", visible(origin["title"]))
    created = "at a time not told" if origin["created"] is None else f"first {_time(origin['created'])}"
    yield _row("submissions", visible(f"{', '.join(origin['submissions'])}: {created}"))
    yield _row("subreddits", visible(f"{', '.join(origin['subreddits'])}: karma {origin['karma']:,}"))
    yield _row(
        "page",
        visible(
            f"pages/{origin['warc']}, offset {origin['offset']:,}, {origin['length']:,} bytes; "
            f"from {origin['source']}, {_time(origin['fetched'])}"
        ),
    )


def _time(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _text(document: Document) -> Iterator[str]:
    """A line a sentence; the last one shows whether the document goes on."""
    pieces = document.text or ("(empty)",)
    for number, piece in enumerate(pieces, start=1):
        more = " …" if document.goes_on and number == len(pieces) else ""
        place = f"{number:>2}  " if document.num_sentences else ""
        yield _row("text" if number == 1 else "", f"{place}{visible(piece)}{more}")
