"""Underwater scenes with a known number of fish: drawn, or composed of photographs."""
