"""A small GPT on Tiny Shakespeare, data parallel, that keeps its iteration whatever fails (level 2).

    python3 gpt.py --iterations 50                        one process, without Unicron
    unicron submit gpt.toml --coordinator HOST:PORT       as many workers as there are

What is Unicron's in it: the trainer, and the two loops in `main`. What a script has to see to: that the data
of a micro-batch depend on the iteration and the micro-batch alone, never on the rank.
"""

import argparse
import math
import os
import time

import torch
from torch import nn
from torch.nn import functional

import unicron

# Where there is no text, this has to do: the sonnets' first, again and again.
OWN_TEXT = (
    """From fairest creatures we desire increase,
That thereby beauty's rose might never die,
But as the riper should by time decease,
His tender heir might bear his memory:
But thou, contracted to thine own bright eyes,
Feed'st thy light's flame with self-substantial fuel,
Making a famine where abundance lies,
Thyself thy foe, to thy sweet self too cruel.
"""
    * 20
)


class Block(nn.Module):
    """Attention and a perceptron, each on what is normalised, each added to its input."""

    def __init__(self, width, heads, context):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        mask = torch.full((context, context), -math.inf).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def attend(self, x):
        batch, length, width = x.shape
        parts = self.query_key_value(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
        weights = (scores + self.mask[:length, :length]).softmax(-1)
        return self.output((weights @ value).transpose(1, 2).reshape(batch, length, width))

    def forward(self, x):
        x = x + self.attend(self.norm_1(x))
        return x + self.down(functional.gelu(self.up(self.norm_2(x))))


class Gpt(nn.Module):
    """Bytes in, the next byte out."""

    def __init__(self, width, heads, layers, context):
        super().__init__()
        self.tokens, self.places = nn.Embedding(256, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads, context) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 256, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.norm(self.blocks(self.tokens(tokens) + self.places(places))))


def text_of(path):
    """The bytes to learn: of the file given, of Tiny Shakespeare where it lies, else our own."""
    data = os.environ.get("RESEARCH_DATA", "")
    for candidate in (path, os.path.join(data, "text", "tinyshakespeare", "input.txt")):
        if candidate and (path or os.path.exists(candidate)):
            with open(candidate, "rb") as file:
                return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).long()
    return torch.frombuffer(bytearray(OWN_TEXT.encode()), dtype=torch.uint8).long()


def batch_of(text, arguments, iteration, micro_batch):
    """The samples of a micro-batch: whoever computes it, and however often, computes the same."""
    generator = torch.Generator()
    generator.manual_seed((arguments.seed << 40) + (iteration << 16) + micro_batch)
    starts = torch.randint(len(text) - arguments.context - 1, (arguments.sequences,), generator=generator)
    samples = torch.stack([text[s : s + arguments.context + 1] for s in starts.tolist()])
    return samples[:, :-1], samples[:, 1:]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--micro-batches", type=int, default=12, help="of an iteration, over all workers")
    parser.add_argument("--sequences", type=int, default=4, help="of a micro-batch")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--text", help="a file to learn")
    parser.add_argument("--losses", help="a file for the losses, `iteration,loss` a line")
    parser.add_argument("--weights", help="a file for the weights at the end")
    parser.add_argument("--pace-ms", type=float, default=0.0, help="the least that an iteration takes")
    parser.add_argument("--accumulate", default="float32", help="float32, or float64")
    parser.add_argument("--checkpoint-every", type=int, default=25, help="iterations; 0 is never")
    parser.add_argument(
        "--memory-every", type=int, help="iterations between checkpoints in memory; 0 is never"
    )
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def main():
    arguments = parse()
    # Workers share a machine here, and sums of several threads aren't always the same.
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    text = text_of(arguments.text)
    model = Gpt(arguments.width, arguments.heads, arguments.layers, arguments.context)
    model.to(arguments.device)
    optimizer = torch.optim.Adam(model.parameters(), arguments.learning_rate)
    trainer = unicron.Trainer(
        model,
        optimizer,
        arguments.micro_batches,
        seed=arguments.seed,
        accumulate=arguments.accumulate,
        before_step=lambda: nn.utils.clip_grad_norm_(model.parameters(), 1.0),
        memory_every=arguments.memory_every,
        disk_every=arguments.checkpoint_every,
        losses=arguments.losses,
        weights=arguments.weights,
    )
    for step in trainer.steps(arguments.iterations):
        began = time.monotonic()
        for micro_batch in step:
            tokens, targets = batch_of(text, arguments, step.number, micro_batch)
            logits = model(tokens.to(arguments.device))
            step.backward(functional.cross_entropy(logits.flatten(0, 1), targets.flatten()))
            # Only so that one can watch: this worker's share of the least time.
            share = arguments.pace_ms / 1e3 * trainer.size / arguments.micro_batches
            time.sleep(max(0.0, share - (time.monotonic() - began)))
            began = time.monotonic()
        if trainer.is_first and step.loss is not None:
            print(f"iteration {step.number}, loss {step.loss:.4f}, {trainer.size} workers", flush=True)


if __name__ == "__main__":
    main()
