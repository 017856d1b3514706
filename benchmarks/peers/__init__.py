"""The contenders: caches, decorators, policies and decoders, ours and those of other libraries."""
