"""Byte-level BPE: trained here, written in GPT-2's forms, encoded by tiktoken; and token files.

`train` learns a `Vocabulary` from texts, `files` writes and reads it, `encode.Tokenizer` turns
text into ids and back, `sentences` maps sentence offsets to token offsets, and `tokenfile` holds
the layout of token shards that the shard writer and the model's reader share.
"""
