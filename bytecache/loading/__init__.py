"""Samples and batches for training, for any framework."""
