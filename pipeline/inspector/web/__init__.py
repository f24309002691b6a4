"""The inspector as pages: what a browser is sent, and what it may ask."""
