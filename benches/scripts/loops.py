"""The training loops whose costs are compared: the same model, the same micro-batches, the same numbers.

    bare      DistributedDataParallel, one backward pass an iteration: a usual script for torchrun
    attached  the same with `unicron.attach()`
    written   gradients are accumulated and reduced by hand, as level 2 does it
    trainer   `unicron.Trainer`, level 2
    ddp       accumulation under DistributedDataParallel

All five are there at once and take turns of some iterations each, so that whatever else the machine does meets
all of them alike: the file that --baton names has the number of the turn, and whoever has had its turn writes
the next one. While others have theirs, a loop says that it evaluates.

Writes the milliseconds of each iteration into the file that --timings names, one a line, on rank 0.
"""

import argparse
import contextlib
import importlib.util
import os
import time

import torch
import torch.distributed as dist
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

LOOPS = ["bare", "attached", "written", "trainer", "ddp"]
MICRO_BATCHES = 8
WIDTH, HEADS, LAYERS, CONTEXT, SEQUENCES = 64, 4, 2, 64, 5


def example(path):
    """The example GPT: its model and its samples."""
    spec = importlib.util.spec_from_file_location("gpt", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Loop:
    """What all of them have."""

    def __init__(self, arguments):
        self.arguments = arguments
        gpt = example(arguments.example)
        torch.set_num_threads(1)
        torch.manual_seed(1)
        self.model = gpt.Gpt(WIDTH, HEADS, LAYERS, CONTEXT)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)
        self.text = gpt.text_of(None)
        self.samples = argparse.Namespace(seed=1, context=CONTEXT, sequences=SEQUENCES)
        self.batch_of = gpt.batch_of
        self.timings = []
        self.turns = 0
        # Says that what is within isn't an iteration.
        self.elsewhere = contextlib.nullcontext

    def loss_of(self, model, iteration, micro_batch):
        tokens, targets = self.batch_of(self.text, self.samples, iteration, micro_batch)
        return functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())

    def timed(self, iterations, is_first):
        """The iterations; each is timed from one to the next."""
        began = time.perf_counter()
        for number, iteration in enumerate(iterations):
            if number % self.arguments.turn == 0:
                with self.elsewhere():
                    self.pass_on(is_first())
                    self.await_turn()
                began = time.perf_counter()
            yield iteration
            now = time.perf_counter()
            self.timings.append(1e3 * (now - began))
            began = now
        self.pass_on(is_first())
        if is_first():
            write(self.arguments.timings, "".join(f"{timing}\n" for timing in self.timings))

    def turn(self):
        """The number of this loop's next turn among those of all."""
        return self.turns * len(LOOPS) + LOOPS.index(self.arguments.loop)

    def await_turn(self):
        while True:
            with open(self.arguments.baton) as file:
                if int(file.read()) == self.turn():
                    break
            time.sleep(0.005)
        self.turns += 1

    def pass_on(self, is_first):
        if is_first and self.turns > 0:
            had = self.turn() - len(LOOPS)
            write(self.arguments.baton, str(had + 1))


def write(path, text):
    """It is there as a whole or not at all: somebody waits for it."""
    with open(path + ".unfinished", "w") as file:
        file.write(text)
    os.replace(path + ".unfinished", path)


def is_rank_0():
    return dist.get_rank() == 0


def mine():
    """This rank's micro-batches."""
    return range(dist.get_rank(), MICRO_BATCHES, dist.get_world_size())


def replicated(loop, accumulates):
    """DistributedDataParallel: all samples of an iteration at once, or one micro-batch after the other."""
    dist.init_process_group("gloo")
    replica = DistributedDataParallel(loop.model)
    for iteration in loop.timed(range(1, loop.arguments.iterations + 1), is_rank_0):
        loop.optimizer.zero_grad()
        if accumulates:
            *first, last = mine()
            with replica.no_sync():
                for micro_batch in first:
                    loop.loss_of(replica, iteration, micro_batch).backward()
            loop.loss_of(replica, iteration, last).backward()
        else:
            sum(loop.loss_of(replica, iteration, m) for m in mine()).backward()
        loop.optimizer.step()
    dist.destroy_process_group()


def written(loop):
    """Sums of gradients, reduced out of place with the loss, as a careful script does it by hand."""
    dist.init_process_group("gloo")
    parameters = list(loop.model.parameters())
    for iteration in loop.timed(range(1, loop.arguments.iterations + 1), is_rank_0):
        loop.optimizer.zero_grad(set_to_none=False)
        total = torch.zeros(2, dtype=torch.float64)
        for micro_batch in mine():
            loss = loop.loss_of(loop.model, iteration, micro_batch)
            loss.backward()
            total += torch.tensor([loss.item(), 1.0], dtype=torch.float64)
        flat = torch.cat([parameter.grad.flatten() for parameter in parameters])
        dist.all_reduce(flat)
        dist.all_reduce(total)
        flat /= MICRO_BATCHES
        place = 0
        for parameter in parameters:
            parameter.grad.copy_(flat[place : place + parameter.numel()].view_as(parameter))
            place += parameter.numel()
        loop.optimizer.step()
    dist.destroy_process_group()


def trainer(loop):
    """Level 2."""
    import unicron

    training = unicron.Trainer(loop.model, loop.optimizer, MICRO_BATCHES)
    loop.elsewhere = training.evaluation
    for step in loop.timed(training.steps(loop.arguments.iterations), lambda: training.is_first):
        for micro_batch in step:
            step.backward(loop.loss_of(loop.model, step.number, micro_batch))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("loop", choices=LOOPS)
    parser.add_argument("--example", required=True, help="the example gpt.py")
    parser.add_argument("--timings", required=True)
    parser.add_argument("--baton", required=True)
    parser.add_argument("--turn", type=int, default=10, help="iterations of a turn")
    parser.add_argument("--iterations", type=int, default=10)
    arguments = parser.parse_args()
    loop = Loop(arguments)
    if arguments.loop == "attached":
        import unicron

        loop.elsewhere = unicron.attach().evaluation
    if arguments.loop == "trainer":
        trainer(loop)
    elif arguments.loop == "written":
        written(loop)
    else:
        replicated(loop, arguments.loop == "ddp")


if __name__ == "__main__":
    main()
