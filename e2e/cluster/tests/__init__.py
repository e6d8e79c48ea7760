"""Tests of the parts that can be tested without a cluster.

Run with: python3 -m unittest discover --top-level-directory . --start-directory tests
"""
