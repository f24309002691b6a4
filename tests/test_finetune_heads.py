"""New outputs on pretrained networks, against transformers' networks with the same weights."""

from typing import Any

import numpy as np
import pytest
import torch

from model.albert import Albert
from model.exchange.convert import albert_to_hf, gpt2_to_hf
from model.finetune.classification import TextClassifier
from model.finetune.framing import Framed, FramedBatch, Framing
from model.finetune.glue import Labelled
from model.finetune.heads import Classifier, SpanReader
from model.finetune.metrics import class_measures, score_measures
from model.finetune.spans import QuestionReader
from model.gpt2 import GPT2
from tests.finetune_checkpoints import tiny_configs
from tests.in_transformers import albert_config, gpt2_config
from tests.test_model_networks import sharpen
from tests.test_model_shards import make_vocabulary
from tokenizer.encode import Tokenizer

TEXTS = [
    ("The cat sees a dog.", "A horse."),
    ("A whale", "The dog follows a sparrow in the garden."),
    ("x", "y"),
]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(make_vocabulary(), "")


def sharp(network: Any) -> Any:
    torch.manual_seed(0)
    sharpen(network.eval())
    return network


def albert(tokenizer: Tokenizer) -> Albert:
    return Albert(tiny_configs(tokenizer.vocab_size)["albert"])  # type: ignore[arg-type]


def gpt2(tokenizer: Tokenizer) -> GPT2:
    return GPT2(tiny_configs(tokenizer.vocab_size)["gpt2"])  # type: ignore[arg-type]


def their_albert(kind: str, module: Any, **options: Any) -> Any:
    import transformers

    config = module.network.config
    built = albert_config(config, hidden_act="gelu_new", **options)
    theirs = getattr(transformers, kind)(built).train(mode=False)
    state = albert_to_hf(module.network.state_dict(), config)
    return load(theirs, {name: value for name, value in state.items() if name.startswith("albert.")}, module)


def their_gpt2(kind: str, module: Any, **options: Any) -> Any:
    import transformers

    built = gpt2_config(module.network.config, bos_token_id=0, eos_token_id=0, **options)
    theirs = getattr(transformers, kind)(built).train(mode=False)
    return load(theirs, gpt2_to_hf(module.network.state_dict()), module)


def load(theirs: Any, state: dict[str, torch.Tensor], module: Any) -> Any:
    """Puts our weights into their network, the head's among them."""
    names = {"classifier": "head", "qa_outputs": "head", "score": "head"}
    own = theirs.state_dict()
    for name in own:
        layer, _, kind = name.rpartition(".")
        own[name] = module.state_dict()[f"head.{kind}"] if layer in names else state[name]
    theirs.load_state_dict(own)
    return theirs


def arguments(batch: FramedBatch) -> dict[str, torch.Tensor]:
    return {
        "input_ids": batch.tokens,
        "attention_mask": batch.present.long(),
        "token_type_ids": batch.segments,
    }


@torch.no_grad()
def test_an_albert_classifies_as_transformers_does(tokenizer: Tokenizer) -> None:
    module = sharp(Classifier(albert(tokenizer), 3))
    theirs = their_albert("AlbertForSequenceClassification", module, num_labels=3)
    model = TextClassifier(module, Framing(module.network.config, tokenizer, 40), ("a", "b", "c"))
    examples = [Labelled(*texts, label=label, where="") for texts, label in zip(TEXTS, "bca", strict=True)]
    items = model.items(examples)
    batch = model.framing.batch([framed for framed, _ in items], torch.device("cpu"))
    assert batch.segments.sum() > 0
    assert not batch.present.all()
    expected = theirs(**arguments(batch), labels=torch.tensor([1, 2, 0]))
    torch.testing.assert_close(module(batch), expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.loss(items), expected.loss, atol=1e-5, rtol=1e-5)
    guesses = expected.logits.argmax(1).tolist()
    for rows in (1, 3):
        assert model.predict(examples, rows) == ["abc"[guess] for guess in guesses]


@torch.no_grad()
def test_an_albert_scores_as_transformers_does(tokenizer: Tokenizer) -> None:
    module = sharp(Classifier(albert(tokenizer), 1))
    theirs = their_albert("AlbertForSequenceClassification", module, num_labels=1)
    model = TextClassifier(module, Framing(module.network.config, tokenizer, 40), ())
    examples = [
        Labelled(*texts, label=label, where="") for texts, label in zip(TEXTS, ("1.5", "0", "5"), strict=True)
    ]
    items = model.items(examples)
    batch = model.framing.batch([framed for framed, _ in items], torch.device("cpu"))
    expected = theirs(**arguments(batch), labels=torch.tensor([1.5, 0.0, 5.0]))
    torch.testing.assert_close(model.loss(items), expected.loss, atol=1e-5, rtol=1e-5)
    assert [float(score) for score in model.predict(examples)] == pytest.approx(
        expected.logits[:, 0].tolist(), rel=1e-4
    )


@torch.no_grad()
def test_an_albert_reads_spans_as_transformers_does(tokenizer: Tokenizer) -> None:
    module = sharp(SpanReader(albert(tokenizer)))
    theirs = their_albert("AlbertForQuestionAnswering", module)
    model = QuestionReader(module, Framing(module.network.config, tokenizer, 40), answers_none=True)
    framed = [model.framing.frame_texts(*texts) for texts in TEXTS]
    batch = model.framing.batch(framed, torch.device("cpu"))
    outputs = theirs(**arguments(batch))
    for ours, expected in zip(
        module(batch).unbind(1), (outputs.start_logits, outputs.end_logits), strict=True
    ):
        torch.testing.assert_close(ours[batch.present], expected[batch.present], atol=1e-5, rtol=1e-5)
        assert (ours[~batch.present] == -torch.inf).all()
    alike = [
        framed[1],
        framed[1],
    ]  # Without padding, which transformers' loss takes for places as any others.
    batch = model.framing.batch(alike, torch.device("cpu"))
    loss = theirs(
        **arguments(batch), start_positions=torch.tensor([0, 4]), end_positions=torch.tensor([0, 6])
    ).loss
    torch.testing.assert_close(
        model.loss([(alike[0], (0, 0)), (alike[1], (4, 6))]), loss, atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_a_gpt2_classifies_and_reads_as_transformers_does(tokenizer: Tokenizer) -> None:
    """Each text alone there, side by side here: padding is not read."""
    network = gpt2(tokenizer)
    classifier, reader = sharp(Classifier(network, 3)), sharp(SpanReader(network))
    classifier.head.bias.zero_()  # transformers has none
    framing = Framing(network.config, tokenizer, 40)
    batch = framing.batch([framing.frame_texts(*texts) for texts in TEXTS], torch.device("cpu"))
    classified, read = classifier(batch), reader(batch)
    of_classes = their_gpt2("GPT2ForSequenceClassification", classifier, num_labels=3)
    of_spans = their_gpt2("GPT2ForQuestionAnswering", reader)
    for row, present in enumerate(batch.present):
        tokens = batch.tokens[row : row + 1, present]
        torch.testing.assert_close(classified[row], of_classes(tokens).logits[0], atol=1e-5, rtol=1e-5)
        outputs = of_spans(tokens)
        expected = torch.cat([outputs.start_logits, outputs.end_logits])
        torch.testing.assert_close(read[row][:, present], expected, atol=1e-5, rtol=1e-5)


def shown(framed: Framed, tokenizer: Tokenizer) -> tuple[str, str]:
    """Both segments, with the names of special tokens."""
    parts = framed.tokens[: framed.num_first], framed.tokens[framed.num_first :]
    return tokenizer.decode(parts[0]), tokenizer.decode(parts[1])


def test_texts_stand_where_they_should(tokenizer: Tokenizer) -> None:
    configs = tiny_configs(tokenizer.vocab_size)
    framing = Framing(configs["albert"], tokenizer, 24)
    framed = framing.frame_texts("A", "B")
    assert shown(framed, tokenizer) == ("[CLS]A[SEP]", "B[SEP]")
    assert framed.whole == 0
    assert shown(framing.frame_texts("A"), tokenizer) == ("[CLS]A[SEP]", "")
    framing = Framing(configs["gpt2"], tokenizer, 24)
    end = "<|endoftext|>"
    framed = framing.frame_texts("A", "B")
    assert shown(framed, tokenizer) == (f"{end}A\n", f"B{end}")
    assert framed.whole == len(framed.tokens) - 1
    framed = framing.frame_texts("A")
    assert shown(framed, tokenizer) == (f"{end}A{end}", "")
    assert framed.whole == 2


@pytest.mark.parametrize("architecture", ["albert", "gpt2"])
def test_long_texts_lose_their_ends(tokenizer: Tokenizer, architecture: str) -> None:
    framing = Framing(tiny_configs(tokenizer.vocab_size)[architecture], tokenizer, 24)
    assert len(framing.frame_texts("0123456789" * 5).tokens) == 24
    framed = framing.frame_texts("0123456789" * 5, "xyz")
    assert len(framed.tokens) == 24
    assert tokenizer.decode(framed.tokens[framed.num_first : -1]) == "xyz"
    framed = framing.frame_texts("0123456789" * 5, "9876543210" * 5)
    assert len(framed.tokens) == 24
    assert abs(framed.num_first - 13) <= 1
    empty = framing.frame_texts("", "")
    assert len(empty.tokens) == 3
    assert np.issubdtype(empty.tokens.dtype, np.int32)


def test_measures_of_two_classes_are_the_known_ones() -> None:
    rng = np.random.default_rng(0)
    labels = [str(x) for x in rng.integers(2, size=50)]
    guesses = [label if rng.random() < 0.7 else "1" for label in labels]
    found = class_measures(labels, guesses, ("0", "1"))
    pairs = list(zip(labels, guesses, strict=True))
    f1 = {c: 2 * pairs.count((c, c)) / (labels.count(c) + guesses.count(c)) for c in "01"}
    assert found["accuracy"] == sum(a == b for a, b in pairs) / 50
    assert found["f1"] == pytest.approx(f1["1"])
    assert found["macro_f1"] == pytest.approx((f1["0"] + f1["1"]) / 2)
    correlation = np.corrcoef(np.array(labels, float), np.array(guesses, float))[0, 1]
    assert found["matthews"] == pytest.approx(correlation)


def test_measures_of_three_classes() -> None:
    """By hand: rows are labels; the coefficient is Gorodkin's."""
    labels, guesses = list("aaabbc"), list("aabbba")
    found = class_measures(labels, guesses, ("a", "b", "c"))
    assert found == pytest.approx(
        {
            "accuracy": 4 / 6,
            "macro_f1": (4 / 6 + 4 / 5 + 0) / 3,
            "matthews": (4 * 6 - (3 * 3 + 2 * 3)) / ((36 - 14) * (36 - 18)) ** 0.5,
        }
    )
    assert class_measures(["a", "a"], ["a", "b"], ("a", "b"))["matthews"] == 0


def test_measures_of_scores() -> None:
    found = score_measures([1, 2, 3, 4], [1, 2, 3, 10])
    assert found["spearman"] == pytest.approx(1)
    assert found["pearson"] == pytest.approx(np.corrcoef([1, 2, 3, 4], [1, 2, 3, 10])[0, 1])
    assert score_measures([1, 2], [3, 3]) == {"pearson": 0, "spearman": 0}
