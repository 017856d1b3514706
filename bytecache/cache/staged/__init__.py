"""Pipelines whose items are kept after the stage where their bytes save most."""
