"""The one error that the program shows to its user."""

EXIT_FAILED = 1
EXIT_PREREQUISITE = 2
EXIT_OTHER_OWNER = 3


class ClusterError(Exception):
    """Says what went wrong and what to do; becomes the program's exit code."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
