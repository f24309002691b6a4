"""JSON documents whose objects hold lists of objects, as SQuAD's and CoQA's do."""

from typing import Any

from model.evaluate.task import EvaluationFileError


def objects_of(record: Any, name: str, where: str) -> list[dict[str, Any]]:
    """The objects that a record has under a name.

    Args:
        record: An object out of JSON.
        name: The list's name.
        where: What an error says before all else: the file and the record.

    Raises:
        EvaluationFileError: Where the record is none, or has no list of objects there.
    """
    found = record.get(name) if isinstance(record, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise EvaluationFileError(
            f'{where}: no list of objects under "{name}": it is of another format, or damaged: '
            "give the official file"
        )
    return found
