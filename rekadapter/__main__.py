"""``python -m rekadapter``: the same as the command ``rekadapter``."""

from rekadapter.cli import main

main()
