"""The training loop and what it is made of: recipe, objectives, optimizer, guards, logs."""
