"""CNN/DailyMail: stories, the hint, the first three sentences, ROUGE."""

import os
from pathlib import Path

import pytest

from model.evaluate.requests import Generation, Written
from model.evaluate.task import EvaluationFileError, mean_measures
from model.evaluate.tasks.answers import first_sentences
from model.evaluate.tasks.summarization import MAX_WORDS, TASKS

HINT, NO_HINT = TASKS

STORY = """(CNN) -- The cat sat on the mat.

It slept.

@highlight

Cat was on the mat

@highlight

It slept
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0a.story").write_text(STORY)
    (tmp_path / "0b.story").write_text("word " * 2000 + "\n\n@highlight\n\nMany words")
    (tmp_path / "all_test.txt").write_text("no story")
    return tmp_path


def test_the_prompt_is_the_article_with_the_hint_or_without(folder: Path) -> None:
    article = "(CNN) -- The cat sat on the mat.\nIt slept."
    item, _ = HINT.read(folder)
    (request,) = HINT.ask(item, "Example\n\n")
    assert isinstance(request, Generation)
    assert request.prompt == f"Example\n\n{article}\nTL;DR:"
    assert (request.max_tokens, request.top_k, request.stop) == (100, 2, ())
    assert item.solved == f"{article}\nTL;DR: Cat was on the mat\nIt slept"
    item, _ = NO_HINT.read(folder)
    (request,) = NO_HINT.ask(item, "")
    assert isinstance(request, Generation)
    assert request.prompt == article
    assert item.solved == f"{article}\nCat was on the mat\nIt slept"


def test_draws_follow_from_the_storys_name(folder: Path) -> None:
    seeds = {
        request.seed
        for item in HINT.read(folder)
        for task in TASKS
        for request in task.ask(item, "")
        if isinstance(request, Generation)
    }
    assert len(seeds) == 2


def test_a_storys_name_may_be_any_bytes(folder: Path) -> None:
    (folder / "0a.story").rename(folder / os.fsdecode(b"\xff.story"))
    seeds = {request.seed for item in HINT.read(folder) for request in HINT.ask(item, "")}  # type: ignore[union-attr]
    assert len(seeds) == 2


def test_of_a_long_article_the_beginning_is_read(folder: Path) -> None:
    _, item = HINT.read(folder)
    assert item.fields.article == " ".join(["word"] * MAX_WORDS)


def test_rouge_of_the_first_three_sentences(folder: Path) -> None:
    item, _ = HINT.read(folder)
    # Words of the highlights, stemmed: cat wa on the mat | it slept. Of the answer, without its fourth
    # sentence: the cat sat on the mat | it slept | sleep: 6 of 7 are found among 9.
    scores = HINT.judge(
        item, [Written(" The cat sat on the mat. It slept. Sleeping!\nThe fourth was on it.")]
    )
    assert scores["rouge1"] == pytest.approx(2 * 6 / (7 + 9))
    # Pairs: on the, the mat, mat it (across the line), it slept: 4 of 6 among 8.
    assert scores["rouge2"] == pytest.approx(2 * 4 / (6 + 8))
    # Sentence by sentence: cat on the mat, it slept.
    assert scores["rougeLsum"] == pytest.approx(2 * 6 / (7 + 9))
    assert HINT.judge(item, [Written(" ")]) == dict.fromkeys(HINT.measures, 0)


def test_rouge_l_goes_by_sentences_not_by_the_whole(folder: Path) -> None:
    """Sentences in another order are as good, as in ROUGE-1.5.5; rouge-score's rougeL has 5 of 7 words."""
    item, _ = HINT.read(folder)
    scores = HINT.judge(item, [Written("It slept. Cat was on the mat.")])
    assert scores["rougeLsum"] == 1
    assert scores["rouge2"] < 1


def test_the_first_three_sentences_of_real_stories_are_fair_summaries(realdata: Path) -> None:
    items = HINT.read(realdata / "eval" / "cnn_stories")
    assert len(items) == 20
    assert all(item.fields.article and item.fields.summary for item in items)
    assert not any("@highlight" in item.solved for item in items)
    assert max(len(item.fields.article.split()) for item in items) == MAX_WORDS
    lead = mean_measures(
        [
            HINT.judge(item, [Written("\n".join(first_sentences(item.fields.article, 3)))])
            for item in items[:8]
        ]
    )
    assert lead["rouge1"] > lead["rougeLsum"] > lead["rouge2"] > 0.05
    same = HINT.judge(items[0], [Written(items[0].fields.summary)])
    assert same == {"rouge1": 1, "rouge2": 1, "rougeLsum": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (STORY.split("@", 1)[0].encode(), "0a.story: nothing behind @highlight"),
        (STORY.split("Cat", 1)[0].encode(), "0a.story: nothing behind @highlight"),
        (b"@highlight\n\nCat\n", "0a.story: nothing before the first highlight"),
        (b"The caf\xe9\n", "0a.story, line 1: not UTF-8"),
        (b"\x00\x01", "0a.story, line 1: not text"),
    ],
)
def test_a_wrong_story_is_refused_by_name(folder: Path, content: bytes, message: str) -> None:
    (folder / "0a.story").write_bytes(content)
    with pytest.raises(EvaluationFileError, match=message):
        HINT.read(folder)


def test_a_folder_without_stories_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationFileError, match=r"no \.story files"):
        HINT.read(tmp_path)
    with pytest.raises(EvaluationFileError, match="no folder"):
        HINT.read(tmp_path / "absent")
