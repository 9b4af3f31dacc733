"""RankError: the error of a rank that cannot go on because of another."""


class RankError(RuntimeError):
    """Another rank failed, ended or went silent.

    The message names that rank, what it did, and what this one did meanwhile.
    """
