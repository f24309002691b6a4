"""A Flink cluster on this machine, or on Kubernetes (kubernetes.yaml)."""
