"""How well an ALBERT does what it was trained for, on texts that it has not seen.

Masked words and the order of segments are made as for training (`model.data.masked`): 15 % of each sequence,
whole words in runs of up to three, 80/10/10; each chunk of a document is read once. Here a sentence ends at a
full stop, question or exclamation mark (and the quotes and brackets that close behind it) before white space,
and where a line ends: plainer than the shard stage's own rules, and the same for every text that is compared.

Pseudo-perplexity is that of Salazar et al. 2020, "Masked Language Model Scoring": each token in turn is
hidden behind [MASK] and guessed from all others.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from model.albert import Albert
from model.data.masked import NO_TARGET, AlbertData
from model.errors import ModelError
from model.evaluate.tasks.perplexity import perplexity
from model.generation.generate import Checkpoint
from tokenizer.encode import Tokenizer
from tokenizer.sentences import token_spans
from tokenizer.text import well_formed
from tokenizer.tokenfile import TokenFile, sentence_index, token_dtype
from tokenizer.vocabulary import CLS, MASK, SEP

_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*\s+|\n\s*")


def evaluate_masked(
    checkpoint: Checkpoint, documents: Sequence[str], *, seed: int = 0, rows: int = 8
) -> dict[str, float]:
    """Measures an ALBERT on documents.

    Pseudo-perplexity reads a document in pieces that fill the context, each once for every token in it:
    a document of n tokens costs n passes.

    Args:
        checkpoint: An ALBERT, as `load_checkpoint` gives it.
        documents: Texts of any length; sentences of one are taken to follow one another.
        seed: What splits, swaps and masks follow from.
        rows: Most sequences computed at once, which takes memory and changes no answer.

    Returns:
        `mlm_accuracy`, share of masked tokens that the network finds likeliest; `mlm_loss`, their mean
        negative log-probability in nats; `pseudo_perplexity`, per token, infinite where no number is as
        large; `sop_accuracy`, share of pairs of segments of which it tells whether they are swapped (half
        of them are).

    Raises:
        ModelError: The checkpoint is a GPT-2, or the documents have less than two tokens each.
    """
    network, tokenizer = checkpoint.network, checkpoint.tokenizer
    if not isinstance(network, Albert):
        raise ModelError(
            f"{checkpoint.path}: is a GPT-2, which has no masks to fill; name an ALBERT, or evaluate"
            " perplexity instead"
        )
    texts = [well_formed(document) for document in documents]
    with torch.inference_mode(), TemporaryDirectory() as folder:
        data = AlbertData(
            [_token_file(Path(folder), texts, tokenizer)], tokenizer, network.config.context, seed
        )
        if not data.num_sequences:
            raise ModelError(
                f"nothing to mask in {len(texts):,} documents: each has less than two tokens; give more"
            )
        measures = _pretraining_measures(network, data, rows)
    with torch.inference_mode():
        return {**measures, "pseudo_perplexity": _pseudo_perplexity(network, tokenizer, texts, rows)}


def _token_file(folder: Path, texts: Sequence[str], tokenizer: Tokenizer) -> TokenFile:
    """The texts' tokens in one file, with an index of their sentences, as the shard stage would write it."""
    ids: list[int] = []
    lengths: list[int] = []
    num_sentences: list[int] = []
    for text in texts:
        tokens = tokenizer.encode(text)
        spans = token_spans(tokenizer.token_lengths[tokens], np.array(_sentence_ends(text)))
        lengths += np.diff(spans).tolist()
        num_sentences.append(len(spans) - 1)
        ids += [*tokens, tokenizer.eot_id]
    dtype = token_dtype(tokenizer.vocab_size)
    path = folder / "documents.bin"
    path.write_bytes(np.array(ids, dtype).tobytes())
    return TokenFile(
        path, sentence_index(dtype, np.array(lengths, np.int32), np.array(num_sentences, np.int64))
    )


def _sentence_ends(text: str) -> list[int]:
    r"""Byte offsets behind each sentence of a text, ascending, the last one at its end.

    >>> _sentence_ends('He said "Né." She left.\nThen')
    [15, 25, 29]
    """
    ends, start, num_bytes = [], 0, 0
    for stop in [*(found.end() for found in _SENTENCE_END.finditer(text)), len(text)]:
        num_bytes += len(text[start:stop].encode())
        start = stop
        ends.append(num_bytes)
    return ends


def _pretraining_measures(network: Albert, data: AlbertData, rows: int) -> dict[str, float]:
    """What pretraining minimises, over one epoch."""
    device = network.masked_head.bias.device
    loss, num_found, num_in_order, num_masked = 0.0, 0, 0, 0
    for first in range(0, data.num_sequences, rows):
        batch = data.batch(first, min(rows, data.num_sequences - first)).to(device)
        masked, order = network(batch.tokens, batch.segments, batch.present, batch.positions)
        losses = F.cross_entropy(
            masked.flatten(0, 1).float(), batch.labels.flatten(), ignore_index=NO_TARGET, reduction="none"
        )
        loss += float(losses.sum(dtype=torch.float64))
        num_found += int((masked.argmax(-1) == batch.labels).sum())
        num_masked += batch.num_targets
        num_in_order += int((order.argmax(-1) == batch.swapped).sum())
    return {
        "mlm_accuracy": num_found / num_masked,
        "mlm_loss": loss / num_masked,
        "sop_accuracy": num_in_order / data.num_sequences,
    }


def _pseudo_perplexity(network: Albert, tokenizer: Tokenizer, texts: Sequence[str], rows: int) -> float:
    device = network.masked_head.bias.device
    cls, sep, mask = (tokenizer.specials[name] for name in (CLS, SEP, MASK))
    loss, num_tokens = 0.0, 0
    for piece in _pieces(texts, tokenizer, network.config.context - 2):
        whole = torch.tensor([cls, *piece, sep], device=device)
        num_tokens += len(piece)
        for places in torch.split(torch.arange(1, len(piece) + 1, device=device), rows):
            tokens = whole.repeat(len(places), 1).scatter(1, places[:, None], mask)
            present = torch.ones_like(tokens, dtype=torch.bool)
            logits, _ = network(tokens, torch.zeros_like(tokens), present, places[:, None])  # (B, 1, V)
            losses = F.cross_entropy(logits[:, 0].float(), whole[places], reduction="none")
            loss += float(losses.sum(dtype=torch.float64))
    return perplexity(-loss, num_tokens)


def _pieces(texts: Sequence[str], tokenizer: Tokenizer, room: int) -> Iterator[list[int]]:
    """The texts' tokens, at most `room` at a time."""
    for text in texts:
        tokens = tokenizer.encode(text)
        for start in range(0, len(tokens), room):
            yield tokens[start : start + room]
