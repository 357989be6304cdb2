"""`python -m metaobj`: the command."""

from metaobj.common.cli import main

main()
