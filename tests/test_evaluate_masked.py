"""ALBERT's measures, against transformers' AlbertForPreTraining with the same weights."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import model.evaluate.masked
from model.albert import Albert
from model.checkpoint import Metadata, Progress
from model.config import AlbertConfig, Config, GPT2Config
from model.data.masked import AlbertData
from model.errors import ModelError
from model.evaluate.masked import _sentence_ends, evaluate_masked
from model.exchange.convert import albert_to_hf
from model.generation.generate import Checkpoint
from model.networks import build_network
from tests.in_transformers import albert_config
from tests.test_model_networks import sharpen
from tests.test_model_shards import make_documents, make_vocabulary
from tokenizer.encode import Tokenizer

CONTEXT = 32

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(make_vocabulary(), "")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [" ".join(document) for document in make_documents(7, seed=3)]


def checkpoint_of(config: Config, tokenizer: Tokenizer) -> Checkpoint:
    torch.manual_seed(0)
    network = build_network(config).eval()
    sharpen(network)
    metadata = Metadata(
        progress=Progress(), preset="", config=config, tokenizer=tokenizer.digest, shards="", training={}
    )
    return Checkpoint(Path("somewhere"), metadata, network, tokenizer)


@pytest.fixture(scope="module")
def albert(tokenizer: Tokenizer) -> Checkpoint:
    config = AlbertConfig(
        vocab_size=tokenizer.vocab_size, context=CONTEXT, embedding=8, layers=2, width=32, heads=4, ffn=48
    )
    return checkpoint_of(config, tokenizer)


@pytest.fixture(scope="module")
def theirs(albert: Checkpoint) -> Any:
    import transformers

    ours = albert.network
    assert isinstance(ours, Albert)
    config = albert_config(ours.config, hidden_act="gelu_new")
    network = transformers.AlbertForPreTraining(config).train(mode=False)
    network.load_state_dict(albert_to_hf(ours.state_dict(), ours.config))
    return network


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", [""]),
        ("No end", ["No end"]),
        ("Ends here.", ["Ends here."]),
        ("At 3.5 m it was (he said.) Was it?\n\nYes", ["At 3.5 m it was (he said.) ", "Was it?\n\n", "Yes"]),
        ("A title\nA line", ["A title\n", "A line"]),
        ("“Naïve!” Née", ["“Naïve!” ", "Née"]),
    ],
)
def test_sentences_end_where_they_should(text: str, sentences: list[str]) -> None:
    data, start, found = text.encode(), 0, []
    for end in _sentence_ends(text):
        found.append(data[start:end].decode())
        start = end
    assert [one for one in found if one] == [one for one in sentences if one]
    assert start == len(data)


@torch.no_grad()
def test_every_number_is_what_transformers_gives(
    albert: Checkpoint, theirs: Any, texts: list[str], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[AlbertData] = []

    class Kept(AlbertData):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._sources = [replace(one, tokens=one.tokens.copy()) for one in self._sources]
            seen.append(self)

    monkeypatch.setattr(model.evaluate.masked, "AlbertData", Kept)
    found = evaluate_masked(albert, texts, seed=5)
    (data,) = seen
    losses, hits, in_order = [], [], []
    for number in range(data.num_sequences):
        batch = data.batch(number, 1)
        outputs = theirs(batch.tokens, attention_mask=batch.present.long(), token_type_ids=batch.segments)
        for place, label in zip(batch.positions[0].tolist(), batch.labels[0].tolist(), strict=True):
            if label >= 0:
                logits = outputs.prediction_logits[0, place]
                losses.append(-float(logits.log_softmax(0)[label]))
                hits.append(int(logits.argmax()) == label)
        in_order.append(int(outputs.sop_logits[0].argmax()) == int(batch.swapped[0]))
    num_words = sum(len(tokenizer.encode(text)) for text in texts)
    assert len(hits) == pytest.approx(0.15 * (num_words + 3 * data.num_sequences), rel=0.2)
    assert found["mlm_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert found["mlm_accuracy"] == sum(hits) / len(hits)
    assert found["sop_accuracy"] == sum(in_order) / len(in_order)
    assert found["pseudo_perplexity"] == pytest.approx(pseudo_perplexity(theirs, texts, tokenizer), rel=1e-5)
    assert found.keys() == {"mlm_loss", "mlm_accuracy", "sop_accuracy", "pseudo_perplexity"}


def pseudo_perplexity(network: Any, texts: list[str], tokenizer: Tokenizer) -> float:
    """One token at a time, one sequence at a time."""
    cls, sep, mask = (tokenizer.specials[name] for name in ("[CLS]", "[SEP]", "[MASK]"))
    surprises = []
    for text in texts:
        tokens = tokenizer.encode(text)
        while tokens:
            piece, tokens = tokens[: CONTEXT - 2], tokens[CONTEXT - 2 :]
            for place, token in enumerate(piece):
                masked = [cls, *piece[:place], mask, *piece[place + 1 :], sep]
                logits = network(torch.tensor([masked])).prediction_logits[0, place + 1]
                surprises.append(-float(logits.log_softmax(0)[token]))
    return math.exp(sum(surprises) / len(surprises))


def test_rows_change_nothing_and_the_seed_does(albert: Checkpoint, texts: list[str]) -> None:
    found = evaluate_masked(albert, texts, rows=1)
    for rows in (3, 1000):
        assert evaluate_masked(albert, texts, rows=rows) == pytest.approx(found, rel=1e-5)
    other = evaluate_masked(albert, texts, seed=1)
    assert other["mlm_loss"] != found["mlm_loss"]
    assert other["pseudo_perplexity"] == pytest.approx(found["pseudo_perplexity"], rel=1e-5)


def test_a_network_that_knows_nothing_has_the_perplexity_of_its_vocabulary(
    albert: Checkpoint, texts: list[str]
) -> None:
    config = albert.network.config
    network = build_network(config).eval()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    found = evaluate_masked(replace(albert, network=network), texts)
    assert found["pseudo_perplexity"] == pytest.approx(config.vocab_size, rel=1e-4)
    assert found["mlm_loss"] == pytest.approx(math.log(config.vocab_size), rel=1e-5)


def test_a_perplexity_beyond_all_numbers_is_infinite(albert: Checkpoint) -> None:
    network = build_network(albert.network.config).eval()
    assert isinstance(network, Albert)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        network.masked_head.bias[albert.tokenizer.eot_id] = 1e4  # which no text has
    found = evaluate_masked(replace(albert, network=network), ["The cat sees a dog."])
    assert found["pseudo_perplexity"] == math.inf
    assert found["mlm_loss"] == pytest.approx(1e4)


@pytest.mark.parametrize("documents", [[], [""], ["", " "]])
def test_documents_without_text_are_refused(albert: Checkpoint, documents: list[str]) -> None:
    with pytest.raises(ModelError, match=r"nothing to mask in \d documents"):
        evaluate_masked(albert, documents)


def test_odd_documents_are_read(albert: Checkpoint) -> None:
    found = evaluate_masked(albert, ["", "\n\n", "x" * 200, "a. b. c. d.", "lone \ud800 surrogate", "日本。"])
    assert all(math.isfinite(value) for value in found.values())


def test_a_gpt2_is_refused(tokenizer: Tokenizer) -> None:
    config = GPT2Config(vocab_size=tokenizer.vocab_size, context=8, layers=1, width=8, heads=1)
    with pytest.raises(ModelError, match="somewhere: is a GPT-2, which has no masks"):
        evaluate_masked(checkpoint_of(config, tokenizer), ["The cat sees a dog."])
