"""The settings of the tokenizer's training."""

from pydantic import BaseModel, ConfigDict, Field


class TokenizerSettings(BaseModel):
    """What to train: how many ids, on how much text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    vocab_size: int = Field(default=50257, ge=257)
    """Number of ids: 256 bytes, the merges and <|endoftext|>; at least 257.
    ALBERT's five special tokens come behind these and are not counted. Default 50257, GPT-2's."""

    sample_bytes: int = Field(default=1_000_000_000, gt=0)
    """About how many bytes of UTF-8 text to train on; documents are chosen by a hash of their id.
    A corpus smaller than this is used whole. Default 1,000,000,000 (1 GB)."""
