"""RankError: a rank cannot continue because of another one."""


class RankError(RuntimeError):
    """Another rank failed, ended or went silent.

    The message names that rank, what it did, and what this one was doing.
    """
