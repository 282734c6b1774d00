"""What a user did that cannot work, said in one line: what, where, how to mend it."""


class DistillError(Exception):
    """An expected failure. The front door prints its text as one line and exits with code 1, without a traceback."""


class AudioError(DistillError):
    """One recording that cannot be used. In a batch it is counted and named; the batch goes on."""


class Refused(DistillError):
    """Work that would contradict what is already on disk or what the user asked for (exit code 1)."""


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line; its type where it says nothing.

    >>> first_line(ValueError("no head\\nand no tail")), first_line(KeyError())
    ('no head', 'KeyError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
