"""Zero-, one- and few-shot evaluation as the papers of GPT-2 and GPT-3 did it."""
