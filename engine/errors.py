"""The one exception whose message is meant for the user, not for a developer."""


class UserError(Exception):
    """Bad input from outside the program: data, a checkpoint, a configuration or an argument.

    The message is one line that says what is wrong, where, and what to do about it. Entry points print it without a
    traceback and exit with status 2.
    """
