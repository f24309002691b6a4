"""The commands of ours that the documents print, in blocks of code and between backticks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SHELL = ("", "sh", "bash", "console")
"""What a block of commands says behind its three backticks; the others are in other languages."""

_BLOCK = re.compile(r"(?ms)^( *)```(\w*)\n(.*?)^ *```")
_INLINE = re.compile(r"`([^`\n]+)`")
_PYTHONS = re.compile(r"python3?")


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it is printed: its words are those that a shell would hand over."""

    document: str
    line: int
    words: tuple[str, ...]
    is_inline: bool
    """Whether it stands in a sentence, where it may be no more than a name with its options."""

    @property
    def place(self) -> str:
        """Where it is printed."""
        return f"{self.document}:{self.line}"

    @property
    def text(self) -> str:
        """The command on one line, quoted the same way wherever and however it is printed."""
        return shlex.join(self.words)


def documents() -> list[Path]:
    """The papers that people read."""
    own = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")]
    return [*own, *sorted((ROOT / "docs").rglob("*.md"))]


def printed(document: Path) -> list[Command]:
    """Every command of ours that a document prints, in its order."""
    text, name = document.read_text("utf-8"), str(document.relative_to(ROOT))
    found = []
    for block in _BLOCK.finditer(text):
        if block[2] in SHELL:
            line = text.count("\n", 0, block.start(3)) + 1
            found += [Command(name, line + at, words, is_inline=False) for at, words in commands_in(block[3])]
    prose = _BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
    for code in _INLINE.finditer(prose):
        line = prose.count("\n", 0, code.start()) + 1
        found += [Command(name, line, words, is_inline=True) for _, words in commands_in(code[1])]
    return sorted(found, key=lambda one: one.line)


def commands_in(script: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    r"""Finds the commands of ours in lines of a shell, each with the number of its line, from 0.

    >>> list(commands_in("cd /srv && webtext build a.toml \\\n  --until link  # the links\nls"))
    [(0, ('webtext', 'build', 'a.toml', '--until', 'link'))]
    """
    lines = script.split("\n")
    at = 0
    while at < len(lines):
        first, line = at, lines[at]
        while line.endswith("\\") and at + 1 < len(lines):
            at += 1
            line = line[:-1] + lines[at]
        at += 1
        for words in _split(line.strip().removeprefix("$ ")):
            if own := _as_ours(words):
                yield first, own


def _split(line: str) -> Iterator[list[str]]:
    """The simple commands of a line; none where it is no shell's, as prose between backticks is not."""
    reader = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    reader.whitespace_split = True
    words: list[str] = []
    try:
        for word in reader:
            if set(word) <= set("();<>|&"):
                yield words
                words = []
            else:
                words.append(word)
    except ValueError:
        return
    yield words


def _as_ours(words: list[str]) -> tuple[str, ...] | None:
    """The command without what stands for its place; None where it is none of ours, or a bare name."""
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    if len(words) < 2:
        return None
    program, *rest = words
    program = program.removeprefix(".venv/bin/")
    if program in {"webtext", "make", "torchrun"} or program.startswith("deploy/"):
        return program, *rest
    if not _PYTHONS.fullmatch(program) or rest[0] != "-m":
        return None
    if rest[1] == "webtext":
        return "webtext", *rest[2:]
    return ("python", *rest) if (ROOT / rest[1].split(".")[0]).is_dir() else None
