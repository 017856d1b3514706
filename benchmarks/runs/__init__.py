"""Measurements that take processes of their own, and what these processes do."""
