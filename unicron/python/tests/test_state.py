"""States, gradients and their numbers, in one process."""

import collections
import io
import os
import pickle
import tempfile
import unittest

import torch

from unicron.elastic import state as states
from unicron.elastic.gradients import Gradients
from unicron.elastic.state import State


def training(seed):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    return model, optimizer, State(model, optimizer, {"scheduler": scheduler})


def step(model, optimizer, seed):
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


class Runs:
    def __reduce__(self):
        return os.getpid, ()


class States(unittest.TestCase):
    def test_a_replica_goes_on_to_the_last_bit(self):
        model, optimizer, state = training(1)
        state.applied, state.stepped, state.losses = 3, 9, {3: 0.5}
        for seed in range(3):
            step(model, optimizer, seed)
        other_model, other_optimizer, other = training(2)
        other.load(states.write(state.collect()))
        self.assertEqual((other.applied, other.stepped, other.losses), (3, 9, {3: 0.5}))
        for seed in range(3, 6):
            step(model, optimizer, seed)
            step(other_model, other_optimizer, seed)
        for one, two in zip(model.state_dict().values(), other_model.state_dict().values()):
            self.assertTrue(torch.equal(one, two))

    def test_a_snapshot_stays_as_it_is(self):
        model, optimizer, state = training(1)
        step(model, optimizer, 0)
        before = states.write(state.collect())
        snapshot = state.snapshot()
        step(model, optimizer, 1)
        self.assertEqual(
            states.read(before)["optimizer"]["state"][0]["exp_avg"].tolist(),
            states.read(states.write(snapshot))["optimizer"]["state"][0]["exp_avg"].tolist(),
        )

    def test_what_is_no_state_is_refused_and_nothing_counts(self):
        _, _, state = training(1)
        for bad in (b"", b"nonsense", pickle.dumps({}), states.write({"x": 1}), states.write([])):
            with self.assertRaises(ValueError):
                state.load(bad)
        self.assertIsNone(state.applied)
        other = torch.nn.Linear(3, 3)
        foreign = State(other, torch.optim.SGD(other.parameters(), 0.1), {})
        foreign.applied = 5
        with self.assertRaisesRegex(ValueError, "no state of this model"):
            state.load(states.write(foreign.collect()))

    def test_a_state_runs_nothing(self):
        file = io.BytesIO()
        torch.save({"x": Runs()}, file)
        with self.assertRaisesRegex(ValueError, "getpid"):
            states.read(file.getvalue())
        self.assertEqual(states.read(file.getvalue(), allow_pickle=True)["x"], os.getpid())
        kinds = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8]
        value = {
            "tensors": [torch.zeros(2, dtype=kind) for kind in kinds],
            "parameter": torch.nn.Parameter(torch.ones(2)),
            "size": torch.Size([2, 3]),
            "dtype": torch.float16,
            "counter": collections.Counter("aab"),
            "set": {1, 2},
            "numbers": (1.5, None, True, "x", b"y", 10**30),
        }
        read = states.read(states.write(value))
        self.assertEqual(read["numbers"], value["numbers"])
        self.assertEqual([one.dtype for one in read["tensors"]], kinds)

    def test_it_is_a_file_that_pytorch_reads(self):
        model, _, state = training(1)
        with tempfile.NamedTemporaryFile() as file:
            file.write(states.write(state.collect()))
            file.flush()
            loaded = torch.load(file.name)
        self.assertEqual(list(loaded), ["unicron", "model", "optimizer", "scheduler"])
        self.assertTrue(torch.equal(loaded["model"]["0.weight"], model[0].weight))


class Sums(unittest.TestCase):
    def sum_up(self, accumulate, shares):
        """The mean gradient where each of these shares was summed by somebody else."""
        torch.manual_seed(1)
        model = torch.nn.Linear(8, 8)
        total, count = None, sum(map(len, shares))
        for share in shares:
            gradients = Gradients(model.parameters(), count, accumulate)
            gradients.drop()
            for micro_batch in share:
                x = torch.randn(4, 8, generator=torch.Generator().manual_seed(micro_batch))
                loss = model(x).square().mean() * 10.0**micro_batch
                loss.backward()
                gradients.add(loss)
            mine = gradients.copy()
            total = mine if total is None else [a + b for a, b in zip(total, mine)]
        gradients.keep(total, 7)
        loss = gradients.loss()
        gradients.install()
        return torch.cat([p.grad.flatten() for p in model.parameters()]), loss

    def test_the_mean_is_that_of_all_micro_batches(self):
        torch.manual_seed(1)
        model = torch.nn.Linear(8, 8)
        losses = []
        for micro_batch in range(4):
            x = torch.randn(4, 8, generator=torch.Generator().manual_seed(micro_batch))
            losses.append(model(x).square().mean() * 10.0**micro_batch)
        (sum(losses) / 4).backward()
        expected = torch.cat([p.grad.flatten() for p in model.parameters()])
        for accumulate in (torch.float32, torch.float64):
            found, loss = self.sum_up(accumulate, [[0, 1], [2, 3]])
            self.assertTrue(torch.allclose(found, expected, rtol=1e-5))
            self.assertAlmostEqual(loss, float(sum(losses)) / 4, places=2)

    def test_in_double_precision_it_does_not_matter_who_adds_what(self):
        one, loss = self.sum_up(torch.float64, [[0, 1, 2, 3, 4, 5]])
        for shares in ([[0, 3], [1, 4], [2, 5]], [[5, 4, 3], [2, 1, 0]], [[1], [0, 2, 3, 4, 5]]):
            other, other_loss = self.sum_up(torch.float64, shares)
            self.assertTrue(torch.equal(one, other))
            self.assertAlmostEqual(loss, other_loss, places=9)

    def test_zero_grad_in_the_script_does_no_harm(self):
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        for accumulate in (torch.float32, torch.float64):
            gradients = Gradients(model.parameters(), 2, accumulate)
            for _ in range(2):
                optimizer.zero_grad(set_to_none=True)
                loss = model(torch.ones(1, 2)).sum()
                loss.backward()
                gradients.add(loss)
            gradients.keep(gradients.copy(), 1)
            gradients.install()
            self.assertEqual(model.weight.grad.tolist(), [[1.0, 1.0], [1.0, 1.0]])

    def test_a_gradient_of_other_micro_batches_is_refused(self):
        model = torch.nn.Linear(2, 2)
        gradients = Gradients(model.parameters(), 2, torch.float32)
        with self.assertRaisesRegex(RuntimeError, "is of 0.0 micro-batches, not of 2"):
            gradients.keep(gradients.copy(), 1)
        with self.assertRaisesRegex(RuntimeError, "has not the shapes"):
            gradients.keep([torch.zeros(3)], 1)
        with self.assertRaisesRegex(ValueError, "no parameters"):
            Gradients([], 2, torch.float32)


if __name__ == "__main__":
    unittest.main()
