"""The only folder that builds dask graphs of items: blocks in, blocks out, no arithmetic.

Layers are named by what they hold. That is also how a stack is known to be just a selection of what was opened
from files, so that its pixels may be taken from the files again in one interpolation.
"""
