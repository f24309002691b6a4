"""What a build will come to before it is begun: from a sample of its dumps, as ranges with their reasons."""
