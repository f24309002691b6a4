"""Programs that measure: each runs both sides in one go and appends to RESULTS.md."""
