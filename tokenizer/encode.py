"""Text to ids and back, by tiktoken built from this project's own merges."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import tiktoken

from tokenizer.errors import TokenizerError
from tokenizer.files import TOKENIZER_JSON, parse_tokenizer_json
from tokenizer.text import WORDS, cut_space_runs, well_formed
from tokenizer.vocabulary import END_OF_TEXT, Vocabulary


class Tokenizer:
    """Encodes and decodes with one vocabulary. Made by `load` or `from_bytes`.

    Attributes:
        vocab_size: number of ids, all special tokens included.
        eot_id: id of `<|endoftext|>`.
        specials: ids of `<|endoftext|>`, `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]`.
        token_lengths: int32 [vocab_size], bytes that each id decodes to. Read-only.
        digest: SHA-256 of the tokenizer.json file's bytes, in hexadecimal.
    """

    def __init__(self, vocabulary: Vocabulary, digest: str) -> None:
        tokens = vocabulary.tokens
        self.specials: Mapping[str, int] = MappingProxyType(vocabulary.specials)
        self.eot_id = self.specials[END_OF_TEXT]
        self.digest = digest
        self._tokens = [*tokens, *(name.encode() for name in self.specials)]
        self.vocab_size = len(self._tokens)
        self.token_lengths: npt.NDArray[np.int32] = np.array(
            [len(token) for token in self._tokens], dtype=np.int32
        )
        self.token_lengths.flags.writeable = False
        self._encoding = tiktoken.Encoding(
            "webtext",
            pat_str=WORDS,
            mergeable_ranks={token: rank for rank, token in enumerate(tokens)},
            # Texts are looked through for these, in vain: the fewer, the faster.
            special_tokens={END_OF_TEXT: self.eot_id},
        )

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Load a tokenizer.json, or the one in a folder.

        Raises:
            TokenizerError: The file is missing or is not one that `files` writes.
        """
        file = path / TOKENIZER_JSON if path.is_dir() else path
        try:
            data = file.read_bytes()
        except OSError as error:
            raise TokenizerError(
                f"{file}: cannot be read: {error.strerror}; train or import a tokenizer first "
                "(webtext tokenizer --help)"
            ) from error
        return cls.from_bytes(data, str(file))

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> "Tokenizer":
        """Load the bytes of a tokenizer.json, wherever it lies; `name` stands for it in messages.

        Raises:
            TokenizerError: It is not one that `files` writes.
        """
        return cls(parse_tokenizer_json(data, name), hashlib.sha256(data).hexdigest())

    def encode(self, text: str) -> list[int]:
        """The ids of a text. Names of special tokens in it are ordinary text.

        Surrogates are replaced as `text.well_formed` says, all else decodes to what it was. The cost
        is that of n log n for n bytes at most, which a text of one word takes; no word is cut.
        """
        ids: list[int] = self.encode_array(text).tolist()
        return ids

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """As `encode`, without making a Python integer of each id: uint32 [tokens], not to be written to."""
        pieces = [
            self._encoding.encode_to_numpy(piece, disallowed_special=())
            for piece in cut_space_runs(well_formed(text))
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """The text of some ids; bytes that are no UTF-8 become U+FFFD.

        Raises:
            TokenizerError: An id is not in the vocabulary.
        """
        return self.decode_bytes(ids).decode(errors="replace")

    def decode_bytes(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> bytes:
        """The bytes of some ids; special tokens decode to their names.

        Raises:
            TokenizerError: An id is not in the vocabulary.
        """
        return b"".join([self.token_bytes(i) for i in np.asarray(ids, dtype=np.int64).tolist()])

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one id.

        Raises:
            TokenizerError: The id is not in the vocabulary.
        """
        if not 0 <= token_id < self.vocab_size:
            raise TokenizerError(
                f"id {token_id} is not in the vocabulary (0 to {self.vocab_size - 1}); "
                "decode with the tokenizer that encoded it"
            )
        return self._tokens[token_id]
