"""tokenizer: a byte-level BPE vocabulary, learnt from a sample of the corpus."""
