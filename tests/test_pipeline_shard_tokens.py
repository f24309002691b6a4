"""Blocks of documents as tokens: against each document by itself; and indexes over their sentences."""

from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.shard.sentences import sentence_ends
from pipeline.shard.tokens import tokenize
from tokenizer.encode import Tokenizer
from tokenizer.files import TOKENIZER_JSON, file_contents
from tokenizer.sentences import token_spans
from tokenizer.tokenfile import sentence_index
from tokenizer.train import train

SENTENCES = ["One. ", "Two is é! ", "Is it?\n", "漢字。", " \n", "", "Mr. A went. So he did.", "3.5 \x00"]


@cache
def tokenizer() -> Tokenizer:
    data = file_contents(train(SENTENCES, 275))[TOKENIZER_JSON]
    return Tokenizer.from_bytes(data, "made")


@given(st.lists(st.lists(st.sampled_from(SENTENCES), max_size=5).map("".join), max_size=6))
def test_a_block_is_its_documents_one_by_one(texts: list[str]) -> None:
    block = tokenize(texts, ["en"] * len(texts), tokenizer())
    tokens: list[int] = []
    lengths: list[int] = []
    num_sentences: list[int] = []
    sentence_lengths: list[int] = []
    for text in texts:
        ids = tokenizer().encode(text)
        spans = token_spans(tokenizer().token_lengths[ids], sentence_ends(text, "en"))
        tokens += [*ids, tokenizer().eot_id]
        lengths.append(len(ids) + 1)
        num_sentences.append(len(spans) - 1)
        sentence_lengths += np.diff(spans).tolist()
    assert block.tokens.tolist() == tokens
    assert block.lengths.tolist() == lengths
    assert block.num_sentences.tolist() == num_sentences
    assert block.sentence_lengths.tolist() == sentence_lengths
    assert [block.tokens.dtype, block.lengths.dtype] == [np.uint32, np.int32]
    assert [block.num_sentences.dtype, block.sentence_lengths.dtype] == [np.int32, np.int32]


@given(st.lists(st.lists(st.integers(1, 9), max_size=4), max_size=6))
def test_an_index_of_sentences_leaves_out_each_end_of_text(documents: list[list[int]]) -> None:
    index = sentence_index(
        np.uint16,
        np.array([length for one in documents for length in one], np.int32),
        np.array([len(one) for one in documents], np.int32),
    )
    at, pointers, bounds = 0, [], [0]
    for one in documents:
        for length in one:
            pointers.append(2 * at)
            at += length
        at += 1
        bounds.append(bounds[-1] + len(one))
    assert index.pointers.tolist() == pointers
    assert index.documents.tolist() == bounds
    assert index.pointers.dtype == index.documents.dtype == np.int64
