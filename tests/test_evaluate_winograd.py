"""The Winograd Schema Challenge: both scorings, and XML from elsewhere."""

from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest

from model.evaluate.requests import Likelihood, Likely
from model.evaluate.task import EvaluationFileError, Item
from model.evaluate.tasks import winograd
from model.evaluate.tasks.winograd import Schema
from tests.byte_bigrams import answer, log_probability

HEAD = (
    '<?xml version="1.0" encoding="ISO-8859-1"?>\n<?xml-stylesheet type="text/xsl" href="WSExample.xsl"?>\n'
)


def schema(start: str, pronoun: str, rest: str, answers: tuple[str, ...], correct: str = "A.") -> str:
    """A schema in the official form, with its loose spaces and lines."""
    listed = "\n".join(f"<answer> {escape(one)} </answer>" for one in answers)
    return (
        f"<schema>\n<text>\n<txt1>\n{escape(start)}</txt1>\n<pron> {pronoun} </pron>\n"
        f"<txt2> {escape(rest)} \n</txt2>\n</text>\n"
        f"<quote>\n<quote1></quote1>\n<pron>{pronoun} </pron>\n<quote2>x</quote2>\n</quote>\n"
        f"<answers>\n{listed}\n</answers>\n<correctAnswer> {correct}  </correctAnswer>\n"
        "<source> made </source>\n</schema>\n"
    )


CROW = schema("The crow left the cat\nbehind because ", "it", "flew away.", ("The crow", "The cat"))
CAT = schema("The crow left the cat behind because", "it", "slept.", ("The crow", "The cat"), "B")


def write(folder: Path, *schemas: str) -> Path:
    path = folder / "WSCollection.xml"
    path.write_text(f"{HEAD}<collection>\n\n{''.join(schemas)}</collection>\n", encoding="latin-1")
    return path


def fails(path: Path, *says: str) -> str:
    with pytest.raises(EvaluationFileError) as error:
        winograd.read(path)
    for part in (str(path), *says):
        assert part in str(error.value)
    return str(error.value)


def test_a_sentence_and_what_follows_are_asked_for_with_each_candidate(tmp_path: Path) -> None:
    first, second = winograd.read(write(tmp_path, CROW, CAT))
    starts = tuple(f"The crow left the cat behind because the {one}" for one in ("crow", "cat"))
    assert first.fields == Schema(
        "The crow left the cat behind because it flew away.", starts, " flew away.", 0
    )
    assert second.fields.right == 1
    assert winograd.ask(first, "") == [
        Likelihood("", starts[0] + " flew away."),
        Likelihood(starts[0], " flew away."),
        Likelihood("", starts[1] + " flew away."),
        Likelihood(starts[1], " flew away."),
    ]
    assert first.solved == starts[0] + " flew away."
    assert list(winograd.TASKS[0].texts(first)) == ["The crow left the cat behind because it flew away."]


def test_examples_stand_before_both(tmp_path: Path) -> None:
    first, second = winograd.read(write(tmp_path, CROW, CAT))
    examples = first.solved + winograd.TASKS[0].separator
    for request in winograd.ask(second, examples):
        assert (request.context + request.continuation).startswith(examples + "The crow left")


@pytest.mark.parametrize(
    ("start", "pronoun", "rest", "answers", "sentences"),
    [
        (
            "He rakes.",
            "They",
            "fall.",
            ("the leaves", "Men"),
            ("He rakes. The leaves fall.", "He rakes. Men fall."),
        ),
        ("", "His", "hat fell.", ("the man", "Al"), ("The man's hat fell.", "Al's hat fell.")),
        ("We saw", "them", ".", ("The cats", "Ann and Al"), ("We saw the cats.", "We saw Ann and Al.")),
        ("Ann hid", "her", "hat.", ("Ann", "The girl"), ("Ann hid Ann's hat.", "Ann hid the girl's hat.")),
        ("Ann saw", "her", ".", ("Ann", "The girl"), ("Ann saw Ann.", "Ann saw the girl.")),
        (
            "Men took",
            "their",
            "hats.",
            ("The boys", "Men"),
            ("Men took the boys' hats.", "Men took Men's hats."),
        ),
        (
            "Al lost as",
            "his",
            '"Go!" was late.',
            ("Al", "Bo"),
            ('Al lost as Al\'s "Go!" was late.', 'Al lost as Bo\'s "Go!" was late.'),
        ),
        (
            "Zoë met Al;",
            "she",
            "sang.",
            ("Zoë", "My aunt"),
            ("Zoë met Al; Zoë sang.", "Zoë met Al; my aunt sang."),
        ),
    ],
)
def test_candidates_are_written_as_the_pronoun_was(
    start: str, pronoun: str, rest: str, answers: tuple[str, ...], sentences: tuple[str, ...], tmp_path: Path
) -> None:
    (item,) = winograd.read(write(tmp_path, schema(start, pronoun, rest, answers)))
    assert tuple(one + item.fields.rest for one in item.fields.starts) == sentences


def test_the_two_scorings_may_differ() -> None:
    item = Item("1", "", Schema("", ("a", "b"), " c", 0))
    # The second candidate is so much likelier in itself that its sentence is likelier as a whole.
    full, partial = (-20.0, -15.0), (-3.0, -4.0)
    replies = [Likely(one, 1, False) for pair in zip(full, partial, strict=True) for one in pair]
    assert winograd.judge(item, replies) == {"accuracy_partial": 1.0, "accuracy_full": 0.0}


def test_scorings_are_those_of_brute_force(tmp_path: Path) -> None:
    sizes = [
        schema("A crow saw a cat and", "it", f"ran {way}.", ("The crow", "The cat")) for way in "abcdefgh"
    ]
    for item in winograd.read(write(tmp_path, *sizes)):
        wholes = [log_probability(start + item.fields.rest) for start in item.fields.starts]
        rests = [
            whole - log_probability(start) for whole, start in zip(wholes, item.fields.starts, strict=True)
        ]
        assert winograd.judge(item, answer(winograd.ask(item, ""))) == {
            "accuracy_partial": float(np.argmax(rests) == 0),
            "accuracy_full": float(np.argmax(wholes) == 0),
        }


def test_of_the_collection_the_first_273_are_read(tmp_path: Path) -> None:
    items = winograd.read(write(tmp_path, *[CROW] * 285))
    assert len(items) == 273
    assert len({item.id for item in items}) == 273


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("<correctAnswer> A.  ", "<correctAnswer> C ", "correctAnswer"),
        ("<correctAnswer> A.  ", "<correctAnswer> ", "correctAnswer"),
        ("<pron> it </pron>\n<txt2>", "<txt2>", "<pron>"),
        ("<txt2> flew away. \n</txt2>", "<txt2/>", "<txt2>"),
        ("<answer> The cat </answer>", "", "<answer>"),
        ("<answer> The cat </answer>", "<answer/>", "<answer>"),
        ("<txt2> flew", "<txt2> &amp;&#x41; flew", None),
    ],
)
def test_a_wrong_schema_is_named(old: str, new: str, says: str | None, tmp_path: Path) -> None:
    assert old in CROW
    path = write(tmp_path, CROW, CROW.replace(old, new, 1))
    if says is None:
        assert winograd.read(path)[1].fields.rest == " &A flew away."
    else:
        fails(path, "schema 2", "line ", says)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, CROW)
    data = path.read_bytes()
    for cut in sorted({*range(1, len(data) - 1, 13), len(data) - 2}):
        path.write_bytes(data[:cut])
        fails(path)


def test_other_xml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.xml"
    path.write_text("<html><p>no</p></html>")
    fails(path, "no <schema>")


def test_entities_neither_expand_nor_fetch(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame")
    bomb = "".join(
        f'<!ENTITY e{number} "{"".join(f"&e{number - 1};" for _ in range(10))}">' for number in range(1, 30)
    )
    declared = {
        "bomb": f'<!DOCTYPE collection [<!ENTITY e0 "boo">{bomb}]>',
        "file": f'<!DOCTYPE collection [<!ENTITY e29 SYSTEM "file://{tmp_path}/secret">]>',
        "elsewhere": '<!DOCTYPE collection SYSTEM "http://127.0.0.1:9/collection.dtd">',
    }
    for name, doctype in declared.items():
        body = CROW if name == "elsewhere" else CROW.replace("flew", "&e29;")
        path = tmp_path / f"{name}.xml"
        path.write_text(f"{HEAD}{doctype}\n<collection>{body}</collection>")
        assert "sesame" not in fails(path)
