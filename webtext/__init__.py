"""The front door: the ``webtext`` command and its demo."""
