"""The side of benchmarks/filters.py that needs datatrove: its four filters in FineWeb's order.

    python filters_datatrove.py DOCUMENTS DECISIONS [--words NUMBER ...]

DOCUMENTS has a JSON object a line, with "text". DECISIONS gets one for each: the rule that rejected the
document or null, and the text that is left. With numbers of documents, it gets for each of them what the
filters make of it instead: words, and the words and sentences of the text that C4's rules leave.
Prints seconds, without start and loading, as JSON.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datatrove.data import Document  # type: ignore[import-not-found]
from datatrove.pipeline.filters import (  # type: ignore[import-not-found]
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.text import (  # type: ignore[import-not-found]
    split_into_sentences,
    split_into_words,
)

_WARM_UP = "The tokeniser is loaded by its first text. It is not counted."


def main() -> None:
    """Decides, or tells what the filters saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path)
    parser.add_argument("decisions", type=Path)
    parser.add_argument("--words", type=int, nargs="+")
    arguments = parser.parse_args()
    texts = [json.loads(line)["text"] for line in arguments.documents.open(encoding="utf-8")]
    split_into_words(_WARM_UP)
    started = time.perf_counter()
    numbers: list[int] | None = arguments.words
    results = _decide(texts) if numbers is None else [_seen(texts[number]) for number in numbers]
    seconds = time.perf_counter() - started
    with arguments.decisions.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in results)
    print(json.dumps({"seconds": seconds, "version": version("datatrove"), "spacy": version("spacy")}))


def _decide(texts: list[str]) -> list[dict[str, Any]]:
    filters = [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]
    results = []
    for text in texts:
        document = Document(text=text, id="")
        rule = None
        for one in filters:
            answer = one.filter(document)
            if answer is not True:
                rule = answer[1]
                break
        results.append({"rule": rule, "text": document.text})
    return results


def _seen(text: str) -> dict[str, Any]:
    cleaned = Document(text=text, id="")
    C4QualityFilter(
        filter_no_terminal_punct=False,
        min_num_sentences=-1,
        filter_lorem_ipsum=False,
        filter_curly_bracket=False,
    ).filter(cleaned)
    lines = cleaned.text.split("\n")
    return {
        "words": split_into_words(text),
        "cleaned_words": split_into_words(cleaned.text),
        "sentences": sum(len(split_into_sentences(line)) for line in lines if line),
    }


if __name__ == "__main__":
    main()
