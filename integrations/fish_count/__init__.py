"""Counting fish in images: a trainer that reads its JPEG files through bytecache."""
