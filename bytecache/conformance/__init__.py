"""What every store must pass, fact by fact, as tests for pytest: :mod:`bytecache.testing` is the door."""
