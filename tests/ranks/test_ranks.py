from tests.rank_processes import start

WORLD = """
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from gru_parallel.errors import UsageError
from gru_parallel.ranks import Launch, check_alike, check_one_gpu_per_rank, join

def refused(check, *arguments):
    try:
        check(*arguments)
    except UsageError as error:
        return str(error)

with join(Launch.from_environment(), timeout_s=20) as ranks:
    rank = ranks.rank
    print("gather", ranks.gather({"rank": rank}, "g"))
    print("broadcast", ranks.broadcast(f"of {rank}", "b", source=1))
    tenths = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    print("sum", ranks.sum(tenths[rank], "s").item() == (tenths[0] + tenths[1] + tenths[2]).item())
    print("any", ranks.any(rank == 1, "a"), ranks.any(False, "a"))
    print("all", ranks.all(rank == 1, "a"), ranks.all(True, "a"))
    # As the links of a pipeline: ranks are members of different numbers of groups.
    hops = [(0, 1), (1, 0), (1, 2), (2, 1)]
    groups = {hop: ranks.new_group(hop) for hop in hops if rank in hop}
    for (source, to), group in groups.items():
        tensor = torch.full((3,), float(source))
        if rank == source:
            dist.send(tensor, to, group=group)
        else:
            dist.recv(tensor.zero_(), source, group=group)
            print("over group", source, tensor.tolist())
    mesh = init_device_mesh("cpu", (1, 3), mesh_dim_names=("dp", "pp"))
    ranks.abort_on_failure(mesh.get_group("pp"))
    ranks.barrier("all groups")
    is_empty = ranks.shared_text("empty", str) == ""
    print("shared text", ranks.shared_text("key", lambda: "a text"), is_empty)
    print("alike", refused(check_alike, ranks, {"seed": "1"}))
    print("not alike", refused(check_alike, ranks, {"seed": "1", "plan": "ab"[rank // 2]}))
    print("a GPU each", refused(check_one_gpu_per_rank, ranks, f"GPU {rank}"))
    print("one GPU", refused(check_one_gpu_per_rank, ranks, f"GPU {rank // 2}"))
    print("no GPU", refused(check_one_gpu_per_rank, ranks, None))
    fine = RuntimeError("of a model")
    print("explain", ranks.explain(fine) is fine)
print("closed")
"""


def test_ranks_talk_and_agree() -> None:
    with start(3, WORLD) as processes:
        ended = processes.ends()

    by_rank = [one.stdout.splitlines() for one in ended]
    assert [(one.status, one.stderr) for one in ended] == [(0, "")] * 3
    for lines in by_rank:
        assert {
            "gather [{'rank': 0}, {'rank': 1}, {'rank': 2}]",
            "broadcast of 1",
            "sum True",
            "any True False",
            "all False True",
            "shared text a text True",
            "alike None",
            "not alike All ranks must have the same plan; ranks 0 and 1: a; rank 2: b. Start every "
            "rank with the same command, installation, data and checkpoints.",
            "a GPU each None",
            "one GPU NCCL needs a GPU for each rank, and ranks 0 and 1 share GPU 0; start with "
            "--nproc-per-node of at most the number of GPUs of the machine, and let one rank run "
            "several stages.",
            "no GPU None",
            "explain True",
            "closed",
        } <= set(lines)
    assert "over group 0 [0.0, 0.0, 0.0]" in by_rank[1]
    assert "over group 2 [2.0, 2.0, 2.0]" in by_rank[1]
    assert "over group 1 [1.0, 1.0, 1.0]" in by_rank[2]


# One process that is rank 0 of one, twice, and the launcher that hosts the store.
TWO_ATTEMPTS = """
from dataclasses import replace
from torch.distributed import TCPStore
from gru_parallel.ranks import Launch, join

launch = Launch.from_environment()
store = TCPStore(launch.master_addr, launch.master_port, is_master=True, wait_for_workers=False)
for attempt in range(2):
    with join(replace(launch, uses_agent_store=True), timeout_s=20) as ranks:
        print(ranks.is_restart, ranks.shared_text("folder", lambda: f"of attempt {attempt}"))
"""


def test_a_shared_text_outlives_the_attempt_that_made_it() -> None:
    with start(1, TWO_ATTEMPTS) as processes:
        (ended,) = processes.ends()

    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["False of attempt 0", "True of attempt 0"]
