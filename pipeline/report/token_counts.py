"""How often the shards have each of the tokenizer's ids, counted in their files wherever these are."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.report.vocabulary_tables import shown
from pipeline.runs import File, Folder, Manifest
from pipeline.stages import BY_NAME
from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.files import TOKENIZER_JSON
from tokenizer.tokenfile import token_dtype

TOKEN_COUNTS = pa.schema({"id": pa.int64(), "token": pa.string(), "special": pa.bool_(), "times": pa.int64()})

_BYTES_AT_ONCE = 1 << 21


def token_counts(run: Folder, manifest: Manifest) -> pa.Table:
    """Every id with its token as people can read it, whether that is special, and its times in all shards.

    Raises:
        InputError: A shard, or the tokenizer, does not hold what it should.
        OSError: One of them is missing.
    """
    folder = run / BY_NAME["shard"].folder
    tokenizer = _tokenizer(run / BY_NAME["tokenizer"].folder)
    times = np.zeros(tokenizer.vocab_size, np.int64)
    for part in manifest.counted():
        for file in part.files:
            if file.name.endswith(".bin"):
                times += _count(folder, file, tokenizer.vocab_size)
    ids = range(tokenizer.vocab_size)
    tokens = [shown(tokenizer.token_bytes(one)) for one in ids]
    specials = [one >= tokenizer.eot_id for one in ids]
    return pa.Table.from_arrays(
        [pa.array(one) for one in (ids, tokens, specials, times)], schema=TOKEN_COUNTS
    )


def _tokenizer(folder: Folder) -> Tokenizer:
    try:
        return Tokenizer.from_bytes(folder.read(TOKENIZER_JSON), f"{folder.uri}/{TOKENIZER_JSON}")
    except TokenizerError as error:
        raise InputError(f"{error}: `webtext verify` tells what to do.") from error


def _count(folder: Folder, file: File, num_ids: int) -> npt.NDArray[np.int64]:
    """How often a file of tokens has each id."""
    dtype = token_dtype(num_ids)
    unsigned = np.dtype(f"<u{dtype.itemsize}")  # a negative id is too great, then
    times = np.zeros(num_ids, np.int64)
    num_tokens = 0
    with folder.open(file.name) as stream:
        while data := stream.read(_BYTES_AT_ONCE):
            tokens = np.frombuffer(data, unsigned, len(data) // dtype.itemsize)
            if int(tokens.max(initial=0)) >= num_ids:
                raise InputError(_damage(folder, file, f"an id of it is none of the tokenizer's {num_ids:,}"))
            times += np.bincount(tokens, minlength=num_ids)
            num_tokens += len(tokens)
    if num_tokens != file.rows:
        raise InputError(_damage(folder, file, f"it has {num_tokens:,} tokens, and not {file.rows:,}"))
    return times


def _damage(folder: Folder, file: File, what: str) -> str:
    return f"{folder.uri}/{file.name} is damaged ({what}): `webtext verify` tells what to do."
