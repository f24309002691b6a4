"""The drill: a build to which everything happens, again and again, and what it comes to all the same.

``python -m tests.drill --seed 7`` (docs/drill.md). A supervisor starts the real command over the demo's web,
lets a fault strike at a moment by the seed, and starts it again.
"""
