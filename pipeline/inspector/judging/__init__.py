"""What went and why, other thresholds, samples, and what a person says."""
