"""How a call is answered: its key, a hit, or a single flight, the function, the store and the counters."""
