"""`python -m metaobj`: the command."""

from metaobj.common.command.cli import main

main()
