"""`python -m metaobj`: the command."""

from metaobj.common.command.start import main

main()
