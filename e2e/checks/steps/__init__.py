"""The runner of make's targets: what a step is, how long it took, what a run needs before it begins.

It works before anything is installed: with the standard library of Python 3.11 only.
"""
