"""Batches ahead of time: prepared by workers, or only read."""
