"""Looking into a corpus: its documents, their stories, what was rejected, and what a person says of them."""
