"""dedupe: every document said once, by the best of its copies.

A document's signature is a MinHash of its n-grams. Documents are ranked, and those that share a band of their
signatures are candidates; each is compared with the survivors ranked before it, and is removed if it is like
enough to one. Documents of finished corpora are ranked before all.
"""
