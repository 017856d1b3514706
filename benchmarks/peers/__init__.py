"""The caches, policies and decoders under comparison, each behind one interface."""
