"""Training data as functions of a seed: GPT-2's sequences, ALBERT's pairs of segments with masked words."""
