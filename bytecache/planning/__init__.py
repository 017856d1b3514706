"""What a cache will do, before training."""
