"""link: submissions to one link a canonical URL, with its karma."""
