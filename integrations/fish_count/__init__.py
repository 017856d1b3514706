"""Counting fish in pictures: a trainer that reads its JPEG files through bytecache."""
