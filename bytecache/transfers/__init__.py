"""Many files fetched over HTTP at a time: addresses, signatures, connections, retries."""
