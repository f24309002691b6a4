"""Engines that others run: Flink, Prism, whatever has a Beam job server."""
