"""extract: pages to documents, each of them once."""
