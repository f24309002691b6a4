"""Our shapes as transformers' configurations."""

from typing import Any

from model.config import AlbertConfig, GPT2Config


def gpt2_config(config: GPT2Config, **options: Any) -> Any:
    """A GPT2Config of transformers."""
    import transformers

    return transformers.GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=config.context,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        **options,
    )


def albert_config(config: AlbertConfig, **options: Any) -> Any:
    """An AlbertConfig of transformers, whose layers share all of their weights."""
    import transformers

    return transformers.AlbertConfig(
        vocab_size=config.vocab_size,
        embedding_size=config.embedding,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.ffn,
        max_position_embeddings=config.context,
        **options,
    )
