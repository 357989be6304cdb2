"""The one kind of error that is the user's to mend."""


class UserError(Exception):
    """Wrong input, told in one line: the field, what was given, and what is allowed.

    The command prints it without a traceback and exits with status 2; from Python it is raised as it is.
    """
