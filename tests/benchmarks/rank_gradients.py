"""What a rank of test_rank_subjects.py runs: all ways of training in two processes."""

import os

import torch
from torch import Tensor, nn

from benchmarks.batch import draw_batch
from benchmarks.peer import Peer
from benchmarks.peer_stage import PeerStage
from benchmarks.peers.engine_subject import EngineSubject
from benchmarks.peers.variants import EngineVariant, Runner, TorchPipelining
from benchmarks.plans import plan_of
from benchmarks.shapes import Shape
from benchmarks.stopwatch import drop_gradients

SHAPE = Shape(hidden_size=5, batch_size=4, n_steps=7, num_layers=4)
N_WEIGHTS_A_LAYER = 4
PEERS = [
    TorchPipelining("gpipe", 1),
    TorchPipelining("gpipe", 4),
    TorchPipelining("one_f_one_b", 2),
]


def draw_model() -> tuple[nn.GRU, nn.Linear]:
    torch.manual_seed(0)
    size = SHAPE.hidden_size
    return nn.GRU(size, size, SHAPE.num_layers, batch_first=True), nn.Linear(size, 1)


def expected(rank: int) -> tuple[Tensor, list[Tensor]]:
    """The loss of plain PyTorch, and the gradients of the weights that a rank has."""
    gru, head = draw_model()
    x, y = draw_batch(SHAPE)
    outputs, _ = gru(x)
    loss = nn.functional.mse_loss(head(outputs[:, -1]), y)
    loss.backward()
    half = SHAPE.num_layers // 2 * N_WEIGHTS_A_LAYER
    weights = [*gru.parameters(), *head.parameters()]
    own = weights[half:] if rank else weights[:half]
    return loss.detach(), [weight.grad for weight in own if weight.grad is not None]


def check_engine(rank: int) -> EngineSubject:
    """Train with the processes engine, which opens the default group for the peer, too."""
    torch.manual_seed(0)
    subject = EngineSubject(EngineVariant(Runner.PROCESSES, "gpipe", 2, 3), SHAPE)
    loss, gradients = expected(rank)
    actual_loss = subject.train()
    found = [weight.grad for weight in subject.parameters if weight.grad is not None]
    torch.testing.assert_close([actual_loss, *found], [loss, *gradients], rtol=0, atol=1e-12)
    return subject


def check_peer(variant: TorchPipelining, rank: int) -> None:
    gru, head = draw_model()
    layers = plan_of(SHAPE, variant.schedule, variant.n_micro_batches, 1).stage_layers(rank)
    stage = PeerStage(gru, layers, head)
    peer = Peer(stage, variant.schedule, variant.n_micro_batches, SHAPE.batch_size)
    loss, gradients = expected(rank)
    for _ in range(2):
        actual_loss = peer.train_step(*draw_batch(SHAPE))
        found = [weight.grad for weight in stage.parameters()]
        torch.testing.assert_close(found, gradients, rtol=0, atol=1e-12)
        drop_gradients(stage.parameters())
    if rank:
        torch.testing.assert_close(actual_loss, loss, rtol=0, atol=1e-12)


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    subject = check_engine(rank)
    for variant in PEERS:
        check_peer(variant, rank)
    print(f"{len(PEERS)} of the peer", flush=True)
    subject.close()


if __name__ == "__main__":
    main()
