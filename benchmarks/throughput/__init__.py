"""Throughput of fastask on each URL, of Taskiq by itself, and of others."""
