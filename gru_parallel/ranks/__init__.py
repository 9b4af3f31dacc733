"""The processes of a run: how they meet, exchange small objects, and end together."""

from typing import TYPE_CHECKING

from gru_parallel.lazy import lazily

if TYPE_CHECKING:
    from gru_parallel.ranks.agreement import check_alike as check_alike
    from gru_parallel.ranks.agreement import check_one_gpu_per_rank as check_one_gpu_per_rank
    from gru_parallel.ranks.agreement import gpu_identity as gpu_identity
    from gru_parallel.ranks.launch import Launch as Launch
    from gru_parallel.ranks.ranks import Ranks as Ranks
    from gru_parallel.ranks.ranks import join as join
    from gru_parallel.ranks.report import RankError as RankError
    from gru_parallel.ranks.stall_detector import Seen as Seen
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "agreement": "check_alike check_one_gpu_per_rank gpu_identity",
            "launch": "Launch",
            "ranks": "Ranks join",
            "report": "RankError",
            "stall_detector": "Seen",
        },
    )
