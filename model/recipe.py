"""The published training recipe of each model, and how settings override it.

Sources: GPT-3 (Brown et al. 2020, table 2.1 and appendix B: AdamW 0.9/0.95/1e-8, decay 0.1, 375
million tokens of warm-up, cosine to a tenth, 300 billion tokens), whose learning rates also serve
the GPT-2 of the same size, as GPT-2's own were not published; its batch of 512 x 1,024 was. ALBERT
(Lan et al. 2020 and its released code: LAMB, 0.00176, 4,096 sequences, 125,000 steps, linear to 0).
"""

from dataclasses import asdict, dataclass, replace
from typing import Literal

from model.config import ModelSettings, TrainSettings

_GPT_TOKENS = 300_000_000_000
_GPT_WARMUP_TOKENS = 375_000_000
_HALF_MILLION = 512 * 1024

# Peak learning rate and tokens a step by preset.
_GPT_RATES: dict[str, tuple[float, int]] = {
    "124M": (6e-4, _HALF_MILLION),
    "355M": (3e-4, _HALF_MILLION),
    "774M": (2.5e-4, _HALF_MILLION),
    "1.5B": (2e-4, _HALF_MILLION),
    "gpt3-125M": (6e-4, _HALF_MILLION),
    "gpt3-350M": (3e-4, _HALF_MILLION),
    "gpt3-760M": (2.5e-4, _HALF_MILLION),
    "gpt3-1.3B": (2e-4, 2 * _HALF_MILLION),
    "gpt3-2.7B": (1.6e-4, 2 * _HALF_MILLION),
    "gpt3-6.7B": (1.2e-4, 4 * _HALF_MILLION),
    "gpt3-13B": (1e-4, 4 * _HALF_MILLION),
    "gpt3-175B": (0.6e-4, 1600 * 2048),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`TrainSettings` with nothing left open that the optimisation depends on.

    Attributes:
        steps: Optimizer steps in all.
        batch_tokens: Tokens an optimizer step.
        micro_batch: Sequences a forward pass.
        learning_rate: Peak learning rate.
        min_learning_rate_fraction: Last learning rate as a fraction of the peak.
        warmup: Steps of linear warm-up.
        weight_decay: Decoupled decay of matrices and embeddings.
        optimizer: Name of the optimizer.
        schedule: Shape of the decay after the warm-up.
    """

    steps: int
    batch_tokens: int
    micro_batch: int
    learning_rate: float
    min_learning_rate_fraction: float
    warmup: int
    weight_decay: float
    optimizer: Literal["adamw", "lamb"]
    schedule: Literal["cosine", "linear"]

    def sequences(self, context: int) -> int:
        """Sequences of `context` tokens that one optimizer step reads."""
        sequences = self.batch_tokens // context
        if not sequences:
            raise ValueError(
                f"batch_tokens: {self.batch_tokens} tokens hold no whole sequence of {context};"
                f" set it to {context} or more"
            )
        return sequences


def resolve_recipe(model: ModelSettings, train: TrainSettings) -> Recipe:
    """The model's own recipe with every value that `train` sets put in its place.

    A warm-up that is not set shrinks to a tenth of the steps where those are few, so that a short
    trial does not end before its learning rate has risen.
    """
    own = _albert_recipe(model) if model.architecture == "albert" else _gpt_recipe(model)
    chosen = train.model_dump(include=set(asdict(own)), exclude_none=True)
    recipe = replace(own, **chosen)
    if train.warmup is None:
        recipe = replace(recipe, warmup=min(recipe.warmup, recipe.steps // 10))
    return recipe


def _gpt_recipe(model: ModelSettings) -> Recipe:
    tiny = model.preset_name == "tiny"
    learning_rate, batch_tokens = (2e-3, 1024) if tiny else _GPT_RATES[model.preset_name]
    return Recipe(
        steps=300 if tiny else _GPT_TOKENS // batch_tokens,
        batch_tokens=batch_tokens,
        micro_batch=16,
        learning_rate=learning_rate,
        min_learning_rate_fraction=0.1,
        warmup=20 if tiny else _GPT_WARMUP_TOKENS // batch_tokens,
        weight_decay=0.1,
        optimizer="adamw",
        schedule="cosine",
    )


def _albert_recipe(model: ModelSettings) -> Recipe:
    tiny = model.preset_name == "tiny"
    return Recipe(
        steps=300 if tiny else 125_000,
        batch_tokens=1024 if tiny else 4096 * 512,
        micro_batch=16,
        learning_rate=5e-3 if tiny else 0.00176,
        min_learning_rate_fraction=0.0,
        warmup=20 if tiny else 3125,
        weight_decay=0.01,
        optimizer="lamb",
        schedule="linear",
    )
