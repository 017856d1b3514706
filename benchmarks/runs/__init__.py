"""Measurements that run in processes of their own, and what these processes do."""
