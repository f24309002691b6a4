"""The published training recipe of each model, in tokens, and how settings override it.

Sources: GPT-3 (Brown et al. 2020, table 2.1 and appendix B: AdamW 0.9/0.95/1e-8, decay 0.1, 375
million tokens of warm-up, cosine to a tenth over 260 billion of 300 billion tokens, batches that grow
from 32 thousand tokens over the first 4 to 12 billion "depending on the model size": which model had
which is our reading), whose learning rates also serve the GPT-2 of the same size, as GPT-2's own were
not published; its batch of 512 x 1,024 was. ALBERT (Lan et al. 2020 and its released code: LAMB, 0.00176,
4,096 sequences, 125,000 steps, 3,125 of warm-up, linear to 0).
"""

from dataclasses import asdict, dataclass, replace
from typing import Literal

from model.config import ModelSettings, TrainSettings
from model.training.ramp import BatchPlan

_BILLION = 1_000_000_000
_HALF_MILLION = 512 * 1024
_FIRST_BATCH_TOKENS = 32 * 1024

# Peak learning rate and tokens a step by preset; billions of tokens over which the batch grows.
_GPT_RATES: dict[str, tuple[float, int, int]] = {
    "124M": (6e-4, _HALF_MILLION, 0),
    "355M": (3e-4, _HALF_MILLION, 0),
    "774M": (2.5e-4, _HALF_MILLION, 0),
    "1.5B": (2e-4, _HALF_MILLION, 0),
    "gpt3-125M": (6e-4, _HALF_MILLION, 4),
    "gpt3-350M": (3e-4, _HALF_MILLION, 4),
    "gpt3-760M": (2.5e-4, _HALF_MILLION, 4),
    "gpt3-1.3B": (2e-4, 2 * _HALF_MILLION, 4),
    "gpt3-2.7B": (1.6e-4, 2 * _HALF_MILLION, 4),
    "gpt3-6.7B": (1.2e-4, 4 * _HALF_MILLION, 8),
    "gpt3-13B": (1e-4, 4 * _HALF_MILLION, 8),
    "gpt3-175B": (0.6e-4, 1600 * 2048, 12),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`TrainSettings` with nothing left open that the optimisation depends on.

    Attributes:
        tokens: Tokens to train on in all.
        batch_tokens: Tokens an optimizer step.
        micro_batch: Sequences a forward pass.
        ramp_tokens: Tokens over which the batch grows to `batch_tokens`.
        learning_rate: Peak learning rate.
        min_learning_rate_fraction: Last learning rate as a fraction of the peak.
        schedule: Shape of the decay after the warm-up.
        warmup_tokens: Tokens of linear warm-up.
        decay_tokens: Tokens after which the learning rate stays at its smallest.
        weight_decay: Decoupled decay of matrices and embeddings.
        optimizer: Name of the optimizer.
    """

    tokens: int
    batch_tokens: int
    micro_batch: int = 16
    ramp_tokens: int = 0
    learning_rate: float
    min_learning_rate_fraction: float
    schedule: Literal["cosine", "linear", "constant"]
    warmup_tokens: int
    decay_tokens: int
    weight_decay: float
    optimizer: Literal["adamw", "lamb", "muon"]

    def sequences(self, context: int) -> int:
        """Sequences of `context` tokens that one optimizer step reads, once the batch has grown."""
        sequences = self.batch_tokens // context
        if not sequences:
            raise ValueError(
                f"batch_tokens: {self.batch_tokens} tokens hold no whole sequence of {context};"
                f" set it to {context} or more"
            )
        return sequences

    def plan(self, context: int) -> BatchPlan:
        """The sizes of all batches, in sequences of `context` tokens."""
        full = self.sequences(context)
        first = min(full, max(1, _FIRST_BATCH_TOKENS // context)) if self.ramp_tokens else full
        return BatchPlan(
            first=first, full=full, ramp=self.ramp_tokens // context, total=-(-self.tokens // context)
        )


def resolve_recipe(model: ModelSettings, train: TrainSettings) -> Recipe:
    """The model's own recipe with every value that `train` sets put in its place.

    A warm-up and a ramp that are not set shrink to a tenth of all tokens where those are few, so that a
    short trial does not end before its learning rate has risen.
    """
    context = model.resolve(vocab_size=1).context
    own = _albert_recipe(model, train) if model.architecture == "albert" else _gpt_recipe(model, train)
    chosen = train.model_dump(include=set(asdict(own)), exclude_none=True)
    recipe = replace(own, **chosen)
    if train.steps is not None:
        recipe = replace(recipe, tokens=train.steps * max(1, recipe.batch_tokens // context) * context)
    few = recipe.tokens // 10
    if train.ramp_tokens is None:
        recipe = replace(recipe, ramp_tokens=min(recipe.ramp_tokens, few))
    if train.warmup_tokens is None:
        recipe = replace(recipe, warmup_tokens=min(recipe.warmup_tokens, few))
    if train.steps is not None and recipe.ramp_tokens and recipe.batch_tokens >= context:
        recipe = replace(recipe, tokens=recipe.plan(context).position_after(train.steps) * context)
    if train.decay_tokens is None and not (train.steps is None and train.tokens is None):
        recipe = replace(recipe, decay_tokens=recipe.tokens)
    return recipe


def _gpt_recipe(model: ModelSettings, train: TrainSettings) -> Recipe:
    tiny = model.preset_name == "tiny"
    learning_rate, batch_tokens, ramp = (2e-3, 1024, 0) if tiny else _GPT_RATES[model.preset_name]
    batch_tokens = train.batch_tokens or batch_tokens
    return Recipe(
        tokens=300 * batch_tokens if tiny else 300 * _BILLION,
        batch_tokens=batch_tokens,
        ramp_tokens=ramp * _BILLION,
        learning_rate=learning_rate,
        min_learning_rate_fraction=0.1,
        schedule="cosine",
        warmup_tokens=20 * batch_tokens if tiny else 375_000_000,
        decay_tokens=300 * batch_tokens if tiny else 260 * _BILLION,
        weight_decay=0.1,
        optimizer="adamw",
    )


def _albert_recipe(model: ModelSettings, train: TrainSettings) -> Recipe:
    tiny = model.preset_name == "tiny"
    batch_tokens = train.batch_tokens or (1024 if tiny else 4096 * 512)
    steps, warmup = (300, 20) if tiny else (125_000, 3125)
    return Recipe(
        tokens=steps * batch_tokens,
        batch_tokens=batch_tokens,
        learning_rate=5e-3 if tiny else 0.00176,
        min_learning_rate_fraction=0.0,
        schedule="linear",
        warmup_tokens=warmup * batch_tokens,
        decay_tokens=steps * batch_tokens,
        weight_decay=0.01,
        optimizer="lamb",
    )
