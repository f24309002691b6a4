"""WMT14: plain and SGML pairs, both ways and both phrasings, BLEU of the whole."""

from pathlib import Path

import pytest
import sacrebleu

from model.evaluate.requests import Generation, Written
from model.evaluate.task import EvaluationFileError, Task
from model.evaluate.tasks.translation import TASKS

BY_NAME = {task.name: task for task in TASKS}
ENGLISH = ["The cat sat on the mat.", 'He said "no" & left.', "Mr. Hu came. It rained."]
FRENCH = [
    "Le chat était assis sur le tapis.",
    "Il a dit « non » & est parti.",
    "M. Hu est venu. Il pleuvait.",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "newstest2014.en").write_text("\n".join(ENGLISH) + "\n")
    (tmp_path / "newstest2014.fr").write_text("\n".join(FRENCH) + "\n")
    for role, language, sentences in (("src", "en", ENGLISH), ("ref", "fr", FRENCH)):
        segments = "".join(
            f'<seg id="{number}">{sentence.replace("&", "&amp;").replace(chr(34), "&quot;")}</seg>\n'
            for number, sentence in enumerate(sentences, 1)
        )
        (tmp_path / f"newstest2014-fren-{role}.{language}.sgm").write_text(
            f'<srcset setid="newstest2014" srclang="any">\n<doc docid="1">\n<p>\n{segments}</p>\n</doc>\n'
        )
    return tmp_path


def _prompt(task: Task, path: Path, examples: str = "") -> str:
    (request,) = task.ask(task.read(path)[0], examples)
    assert isinstance(request, Generation)
    assert (request.top_k, request.beams, request.stop) == (1, 1, ("\n",))
    return request.prompt


def test_the_prompt_is_gpt_2s_or_in_words(folder: Path) -> None:
    path = folder / "newstest2014.en"
    task = BY_NAME["wmt14-en-fr"]
    assert task.read(path)[1].solved == f"{ENGLISH[1]} = {FRENCH[1]}"
    assert _prompt(task, path, "one = un\n") == f"one = un\n{ENGLISH[0]} ="
    assert _prompt(BY_NAME["wmt14-fr-en"], path) == f"{FRENCH[0]} ="
    task = BY_NAME["wmt14-en-fr-they-say"]
    asked = f"They say in English: {ENGLISH[0]}\nThey say in French:"
    assert _prompt(task, path) == asked
    assert task.read(path)[0].solved == f"{asked} {FRENCH[0]}"
    assert _prompt(BY_NAME["wmt14-fr-en-they-say"], path) == (
        f"They say in French: {FRENCH[0]}\nThey say in English:"
    )


@pytest.mark.parametrize(
    "name",
    ["newstest2014.en", "newstest2014.fr", "newstest2014-fren-src.en.sgm", "newstest2014-fren-ref.fr.sgm"],
)
def test_either_file_of_a_pair_finds_the_other(folder: Path, name: str) -> None:
    items = BY_NAME["wmt14-en-fr"].read(folder / name)
    assert [item.fields.source for item in items] == ENGLISH
    assert [item.fields.target for item in items] == FRENCH
    items = BY_NAME["wmt14-fr-en"].read(folder / name)
    assert [item.fields.source for item in items] == FRENCH


def test_bleu_is_sacrebleus_of_the_whole_set(folder: Path) -> None:
    task = BY_NAME["wmt14-en-fr"]
    items = task.read(folder / "newstest2014.en")
    answers = [" Le chat assis sur le tapis. Et puis rien.", "", " M. Hu est venu hier."]
    found = [task.judge(item, [Written(answer)]) for item, answer in zip(items, answers, strict=True)]
    assert task.summarize is not None
    assert task.summarize(found) == {
        "bleu": sacrebleu.corpus_bleu(
            ["Le chat assis sur le tapis.", "", "M. Hu est venu hier."], [FRENCH]
        ).score
    }
    assert task.summarize([]) == {}
    nothing = [task.judge(item, [Written("")]) for item in items]
    assert task.summarize(nothing) == {"bleu": 0}


def test_the_references_themselves_reach_100(folder: Path) -> None:
    task = BY_NAME["wmt14-fr-en"]
    items = task.read(folder / "newstest2014.fr")[:2]  # the third has two sentences, of which one is read
    found = [task.judge(item, [Written(item.fields.target)]) for item in items]
    assert task.summarize is not None
    assert task.summarize(found)["bleu"] == pytest.approx(100)


def test_files_that_are_wrong_are_refused(folder: Path) -> None:
    read = BY_NAME["wmt14-en-fr"].read
    english, french = folder / "newstest2014.en", folder / "newstest2014.fr"
    french.write_text("\n".join(FRENCH[:2]))
    with pytest.raises(EvaluationFileError, match=r"newstest2014\.en has 3 sentences, .*\.fr has 2"):
        read(english)
    french.write_text(f"{FRENCH[0]}\n\n{FRENCH[2]}\n")
    with pytest.raises(EvaluationFileError, match=r"newstest2014\.fr, line 2: blank"):
        read(english)
    french.write_text("")
    with pytest.raises(EvaluationFileError, match=r"newstest2014\.fr: empty"):
        read(english)
    french.unlink()
    with pytest.raises(EvaluationFileError, match=r"newstest2014\.fr: cannot be read"):
        read(english)
    with pytest.raises(EvaluationFileError, match="does not say its language"):
        read(folder / "newstest2014.txt")


def test_cut_sgml_is_refused(folder: Path) -> None:
    read = BY_NAME["wmt14-en-fr"].read
    path = folder / "newstest2014-fren-src.en.sgm"
    text = path.read_text()
    path.write_text(text[: text.index("left")])
    with pytest.raises(EvaluationFileError, match=r"src\.en\.sgm, line 5: a segment"):
        read(path)
    path.write_text(text[: text.index("<seg")])
    with pytest.raises(EvaluationFileError, match=r"src\.en\.sgm: no <seg>"):
        read(path)
    path.write_text(text[: text.index('<seg id="3"')])
    with pytest.raises(EvaluationFileError, match="has 2 sentences"):
        read(path)
