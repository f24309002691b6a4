"""What shard says of its files, told again from them and from the corpus: for verify."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import ShardSettings
from pipeline.runs import Folder
from pipeline.shard.split import splits_of


def recount_shard(
    folder: Folder, name: str, rows: pa.Table, vocab_size: int, end: int
) -> Iterator[tuple[str, str]]:
    """What is wrong with one shard: a file's name, and what is wrong with it in words.

    Its tokens, its two indexes and its rows of the document table are held against each other.

    Args:
        folder: The stage's.
        name: The shard's, such as ``train-00000``.
        rows: Its SHARD_DOCUMENTS, by sequence.
        vocab_size: How many ids the tokenizer has.
        end: The id of end-of-text.
    """
    from tokenizer.tokenfile import parse_index, sentence_index

    index = parse_index(folder.read(f"{name}.idx"), f"{name}.idx")
    sentences = parse_index(folder.read(f"{name}.sentences.idx"), f"{name}.sentences.idx")
    data = folder.read(f"{name}.bin")
    if len(data) != index.end:
        yield f"{name}.bin", f"has {len(data):,} bytes, but {name}.idx says {index.end:,}"
        return
    tokens = np.frombuffer(data, index.dtype)
    starts = index.pointers // index.dtype.itemsize
    ends = starts + index.lengths
    expected: dict[str, npt.NDArray[Any]] = {
        "sequence": np.arange(len(starts)),
        "first_token": starts,
        "num_tokens": index.lengths,
        "num_sentences": np.diff(sentences.documents),
    }
    for column, values in expected.items():
        if not np.array_equal(rows[column].to_numpy(), values):
            yield f"{name}.idx", f"does not agree with the document table's {column}"
    if len(tokens) and int(tokens.max()) >= vocab_size:
        yield f"{name}.bin", f"holds token {tokens.max():,}, and the tokenizer has {vocab_size:,}"
    if (index.lengths == 0).any() or (tokens[ends - 1] != end).any():
        yield f"{name}.bin", "not every document ends with end-of-text"
    num_sentences = np.diff(sentences.documents)
    placed = sentence_index(index.dtype, sentences.lengths, num_sentences)
    totals = np.append(0, np.cumsum(sentences.lengths, dtype=np.int64))[sentences.documents]
    if len(num_sentences) != len(starts) or not np.array_equal(np.diff(totals), index.lengths - 1):
        yield f"{name}.sentences.idx", f"its sentences are not all of the documents of {name}.idx"
    elif sentences.dtype != index.dtype or not np.array_equal(sentences.pointers, placed.pointers):
        yield f"{name}.sentences.idx", f"its sentences do not lie where the documents of {name}.idx do"


def recount_splits(
    documents: pa.Table, corpus: Iterable[pa.Table], settings: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong with the splits of a run's documents, in words.

    Args:
        documents: SHARD_DOCUMENTS of all shards.
        corpus: Its parts, with the column id and SPLIT_COLUMNS.
        settings: What decided the stage's output, as its manifest has it.
    """
    chosen = ShardSettings.model_validate(settings)
    ids, splits = [pa.array([], pa.string())], [pa.array([], pa.string())]
    for table in corpus:
        ids += table["id"].chunks
        splits.append(pa.array(splits_of(table, chosen), pa.string()))
    places = pc.index_in(documents["id"], value_set=pa.concat_arrays(ids))
    wrong = documents.filter(pc.not_equal(pa.concat_arrays(splits).take(places), documents["split"]))
    if wrong.num_rows:
        first = wrong.slice(0, 1).to_pylist()[0]
        yield (
            f"{wrong.num_rows:,} documents are not in the split of their cluster by the settings, "
            f"as {first['id']} in {first['split']}"
        )
