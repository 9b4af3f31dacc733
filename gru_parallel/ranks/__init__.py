"""The processes of a run: how they meet, exchange small objects, and end together."""

from gru_parallel.ranks.agreement import check_alike, check_one_gpu_per_rank, gpu_identity
from gru_parallel.ranks.launch import Launch
from gru_parallel.ranks.rank_error import RankError
from gru_parallel.ranks.ranks import Ranks, join

__all__ = [
    "Launch",
    "RankError",
    "Ranks",
    "check_alike",
    "check_one_gpu_per_rank",
    "gpu_identity",
    "join",
]
