"""A usual script for torchrun: DistributedDataParallel, its own checkpoints, and not a word of Unicron.

    torchrun --nproc-per-node 2 ddp.py --checkpoint /shared/ddp.pt
    unicron run --nproc-per-node 2 -- python3 ddp.py --checkpoint /shared/ddp.pt
    unicron submit ddp.toml --coordinator HOST:PORT

It goes on from its checkpoint in whatever world it is started: the global batch stays the same, each rank
takes its share.
"""

import argparse
import os
import signal
import sys
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

GLOBAL_BATCH = 48


def batch_of(step, rank, world):
    """This rank's share of the step's samples."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(GLOBAL_BATCH, 64, generator=generator)
    y = x.sum(1, keepdim=True).sin()
    return x[rank::world], y[rank::world]


def save(path, step, model, optimizer):
    """Writes a checkpoint that is there as a whole or not at all."""
    state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, path + ".part")
    os.replace(path + ".part", path)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    folder = os.environ.get("UNICRON_CHECKPOINTS", ".")
    parser.add_argument("--checkpoint", default=os.path.join(folder, "ddp.pt"))
    parser.add_argument("--every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--pace-ms", type=float, default=0.0, help="the least that a step takes")
    return parser.parse_args()


def main():
    arguments = parse()
    asked_to_end = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_end.append(number))
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Tanh(), torch.nn.Linear(128, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    first = 1
    if os.path.exists(arguments.checkpoint):
        state = torch.load(arguments.checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"] + 1
    replica = DistributedDataParallel(model)
    print(f"rank {rank} of {world} begins at step {first}", flush=True)
    for step in range(first, arguments.steps + 1):
        began = time.monotonic()
        x, y = batch_of(step, rank, world)
        loss = ((replica(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # One is asked to end a little before another: all end after the same step.
        ends = torch.tensor([float(bool(asked_to_end))])
        dist.all_reduce(ends)
        is_end = ends.item() > 0
        if rank == 0 and (is_end or step % arguments.every == 0 or step == arguments.steps):
            os.makedirs(os.path.dirname(os.path.abspath(arguments.checkpoint)), exist_ok=True)
            save(arguments.checkpoint, step, model, optimizer)
            print(f"step {step}, loss {loss.item():.4f}, checkpoint", flush=True)
        if is_end:
            print(f"rank {rank} was asked to end, after step {step}", flush=True)
            sys.exit(128 + signal.SIGTERM)
        time.sleep(max(0.0, arguments.pace_ms / 1e3 - (time.monotonic() - began)))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
