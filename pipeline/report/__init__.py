"""What a run has made: numbers, charts and a data card, written into its ``report`` folder.

Nothing here changes what it reads: finished stages' tables, by way of their manifests.
"""
