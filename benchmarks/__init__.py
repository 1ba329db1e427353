"""Measurements that people run and read; no test depends on a time. See README.md."""
