"""Encoded bytes to pixels and back."""
