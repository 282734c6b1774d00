"""What a user did that cannot work, said in one line: what, where, how to mend it."""


class DistillError(Exception):
    """An expected failure. The front door prints its text as one line and exits with code 1, without a traceback."""


class AudioError(DistillError):
    """One recording that cannot be used. In a batch it is counted and named; the batch goes on."""


class Refused(DistillError):
    """Work that would contradict what is already on disk or what the user asked for (exit code 1)."""
