"""A small training, for tests: level 2."""

import argparse
import sys
import time

import torch

import unicron


def batch_of(iteration, micro_batch):
    """The data of a micro-batch: by these two numbers alone."""
    generator = torch.Generator().manual_seed(iteration * 1000 + micro_batch)
    x = torch.randn(8, 32, generator=generator)
    return x, x.sum(1, keepdim=True).sin()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--micro-batches", type=int, default=8)
    parser.add_argument("--losses")
    parser.add_argument("--weights")
    parser.add_argument("--pace-ms", type=float, default=0.0)
    parser.add_argument("--accumulate", default="float64")
    parser.add_argument("--memory-every", type=int, default=0)
    parser.add_argument("--disk-every", type=int, default=0)
    parser.add_argument("--different-seeds", action="store_true")
    parser.add_argument("--first", help="whoever stands for all at the end adds a line to this file")
    parser.add_argument("--width", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(int(time.time() * 1e6) % 1000 if arguments.different_seeds else 1)
    model = torch.nn.Sequential(
        torch.nn.Linear(32, arguments.width),
        torch.nn.Tanh(),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(arguments.width, 1),
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.9)
    trainer = unicron.Trainer(
        model,
        optimizer,
        arguments.micro_batches,
        scheduler=scheduler,
        before_step=lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0),
        accumulate=arguments.accumulate,
        seed=1,
        losses=arguments.losses,
        weights=arguments.weights,
        memory_every=arguments.memory_every,
        disk_every=arguments.disk_every,
    )
    for step in trainer.steps(arguments.iterations):
        for micro_batch in step:
            x, y = batch_of(step.number, micro_batch)
            step.backward(((model(x) - y) ** 2).mean())
            time.sleep(arguments.pace_ms / 1e3 / arguments.micro_batches * trainer.size)
        print(step.number, step.loss, flush=True)
    if arguments.first is not None and trainer.is_first:
        with open(arguments.first, "a") as file:
            print("first", file=file)


if __name__ == "__main__":
    sys.exit(main())
