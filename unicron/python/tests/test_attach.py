"""Level 1 with PyTorch's optimisers: which steps are heard, and what that costs."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import unittest

from cluster import SOURCES

PROLOGUE = """
import torch, unicron
def optimizer(kind=torch.optim.SGD, **more):
    return kind([torch.nn.Parameter(torch.ones(2))], lr=0.1, **more)
"""


def run(script, prologue=PROLOGUE):
    """What a script says to its agent, beside `hello`."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = os.path.join(folder, "socket")
        listener.bind(path)
        listener.listen()
        environment = {
            **os.environ,
            "PYTHONPATH": SOURCES,
            "UNICRON_SOCKET": path,
            "UNICRON_WORKER": "1",
        }
        command = [sys.executable, "-c", prologue + script]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        listener.settimeout(30.0)
        far, _ = listener.accept()
        with far, far.makefile("rb") as lines:
            heard = [json.loads(line) for line in lines]
        output, _ = process.communicate(timeout=30.0)
    assert process.returncode == 0, output
    return [message for message in heard if message["type"] != "hello"], output.decode()


def iterations(heard):
    return [message["iteration"] for message in heard if message["type"] == "committed"]


class Optimisers(unittest.TestCase):
    def test_the_first_that_steps_is_heard_with_and_without_a_scheduler(self):
        heard, _ = run(
            "one, two = optimizer(), optimizer(torch.optim.Adam)\n"
            "unicron.attach()\n"
            "schedule = torch.optim.lr_scheduler.StepLR(two, 1)\n"
            "for _ in range(3):\n"
            "    two.step(); one.step(); schedule.step()\n"
        )
        self.assertEqual(iterations(heard), [1, 2, 3])

    def test_classes_to_come_and_steps_within_steps(self):
        heard, _ = run(
            "unicron.attach(); unicron.attach()\n"
            "class Mine(torch.optim.SGD):\n"
            "    def step(self, closure=None):\n"
            "        super().step(); return super().step()\n"
            "class Inherits(Mine): pass\n"
            "mine = optimizer(Inherits)\n"
            "for _ in range(3): mine.step()\n"
        )
        self.assertEqual(iterations(heard), [1, 2, 3])

    def test_pytorch_may_be_imported_later(self):
        heard, _ = run("one = optimizer()\none.step()\n", "import unicron; unicron.attach()\n" + PROLOGUE)
        self.assertEqual(iterations(heard), [1])

    def test_when_the_first_is_gone_another_counts(self):
        heard, _ = run(
            "unicron.attach()\n"
            "one = optimizer(); one.step(); del one\n"
            "import gc; gc.collect()\n"
            "two = optimizer(); two.step(); two.step()\n"
        )
        self.assertEqual(iterations(heard), [1, 2, 3])

    def test_a_script_that_counts_itself_is_believed(self):
        heard, _ = run(
            "at = unicron.attach()\n"
            "one = optimizer()\n"
            "at.iteration(10, loss=torch.tensor(0.5)); one.step()\n"
            "at.iteration(11, loss='nonsense'); one.step()\n"
        )
        self.assertEqual(iterations(heard), [10, 11])
        self.assertEqual([m.get("loss") for m in heard], [0.5, None])

    def test_workers_that_load_data_say_nothing(self):
        heard, _ = run(
            "unicron.attach()\n"
            "data = torch.utils.data.DataLoader(list(range(8)), num_workers=2)\n"
            "one = optimizer()\n"
            "for _ in data: one.step()\n"
        )
        self.assertEqual(iterations(heard), list(range(1, 9)))

    def test_a_trainer_takes_over_the_one_connection_that_there_is(self):
        heard, _ = run(
            "from unicron.attach import take_over\n"
            "assert take_over() is None\n"
            "at = unicron.attach()\n"
            "one = optimizer(); one.step()\n"
            "agent = take_over()\n"
            "one.step(); at.iteration(7)\n"
            "assert not at.is_attached and take_over() is None\n"
            "agent.send({'type': 'waiting', 'epoch': 1, 'workers': []})\n"
        )
        self.assertEqual([message["type"] for message in heard], ["committed", "waiting"])

    def test_what_it_costs_is_counted(self):
        _, output = run(
            "import time\n"
            "one = optimizer()\n"
            "def mean(n=3000):\n"
            "    began = time.perf_counter()\n"
            "    for _ in range(n): one.step()\n"
            "    return (time.perf_counter() - began) / n * 1e6\n"
            "mean(); bare = mean(); unicron.attach(); print(mean() - bare)\n"
        )
        # Reported, never judged.
        print(f"\nlevel 1 takes {float(output):.0f} microseconds a step")


if __name__ == "__main__":
    unittest.main()
