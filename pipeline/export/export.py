"""An export from its beginning to its manifest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.errors import InputError
from pipeline.export.documents import write_jsonl, write_parquet
from pipeline.export.source import Source, open_source
from pipeline.export.target import Export, begin, commit
from pipeline.export.tokens import nanogpt_meta, require_uint16, write_llmc, write_nanogpt
from pipeline.runs import File, Folder
from pipeline.shard.split import SPLITS
from tokenizer.vocabulary import END_OF_TEXT


@dataclass(frozen=True, slots=True)
class Form:
    """A form to export in: how a split is written, and whether it is made of two-byte tokens."""

    write: Callable[[Source, Folder, str], list[File]]
    uint16: bool = False


FORMS: Mapping[str, Form] = {
    "nanogpt": Form(write_nanogpt, uint16=True),
    "llmc": Form(write_llmc, uint16=True),
    "jsonl": Form(write_jsonl),
    "parquet": Form(write_parquet),
}


def export(run: Folder, form: str, out: Folder, splits: Sequence[str] = ()) -> tuple[Export, bool]:
    """Writes a run's shards or documents in another form, with the tokenizer's files beside them.

    Every file appears whole, and ``manifest.json`` last. What a kill has left is done again.

    Args:
        run: A run whose shards are finished.
        form: One of FORMS.
        out: The folder to fill: new, empty, or with an unfinished export.
        splits: Those to export; none means all that hold tokens.

    Returns:
        The export, and whether it was written now: False where it was there already.

    Raises:
        InputError: See ``open_source`` and ``begin``; a split is unknown or empty; the tokens are too wide
            for the form.
        RunError: A file of the run is damaged.
    """
    source = open_source(run)
    if FORMS[form].uint16:
        require_uint16(source, form)
    chosen = _chosen(source, splits)
    planned = Export(
        form=form,
        run=source.run.name,
        shards=source.shards.digest(),
        tokenizer=source.shards.facts["tokenizer"],
        vocab_size=source.vocab_size,
        end_of_text=source.vocabulary.specials[END_OF_TEXT],
        tokens={split: source.num_tokens(split) for split in chosen},
        documents={split: source.num_documents(split) for split in chosen},
        files=(),
    )
    present = begin(out, planned)
    if present is not None:
        return present, False
    files = [file for split in chosen for file in FORMS[form].write(source, out, split)]
    beside = {**source.tokenizer_files, **(nanogpt_meta(source) if form == "nanogpt" else {})}
    files += [out.write(name, data) for name, data in beside.items()]
    finished = replace(planned, files=tuple(files))
    commit(out, finished)
    return finished, True


def _chosen(source: Source, splits: Sequence[str]) -> tuple[str, ...]:
    """The splits to export, in their order."""
    if not source.splits:
        raise InputError(f"{source.run.uri}: its shards hold no token, so there is nothing to export.")
    for split in splits:
        if split not in source.splits:
            raise InputError(
                f"{source.run.uri} has no {split} split, only {', '.join(source.splits)}: [shard] in the "
                "run's settings says what is held out."
            )
    return tuple(split for split in SPLITS if split in (splits or source.splits))
