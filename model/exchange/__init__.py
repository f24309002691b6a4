"""Models on their way in and out: transformers' folders, and the checkpoints that OpenAI published."""
