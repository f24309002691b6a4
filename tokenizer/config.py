"""The settings of the tokenizer's training."""

from pydantic import BaseModel, ConfigDict, Field

from tokenizer.vocabulary import MAX_VOCAB_SIZE, MIN_VOCAB_SIZE


class TokenizerSettings(BaseModel):
    """What to train: how many ids, on how much text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    vocab_size: int = Field(default=50257, ge=MIN_VOCAB_SIZE, le=MAX_VOCAB_SIZE)
    """Number of ids: 256 bytes, the merges and <|endoftext|>; 257 to 1,000,000.
    ALBERT's five special tokens come behind these and are not counted. Where all are 65,500 or more,
    shards hold int32 and not uint16. GPT-2 has 50,257."""

    sample_bytes: int = Field(default=1_000_000_000, gt=0, le=2_000_000_000)
    """About how many bytes of UTF-8 text to train on; documents are chosen by a hash of their id.
    A corpus smaller than this is used whole. At most 2,000,000,000, since the trainer counts in 32 bits."""
