"""Level 2 with real processes: whatever fails, the losses are those of one process that never failed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from cluster import SOURCES, Cluster

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "training.py")

BOUND = 1e-6
"""Relative difference of losses."""

ENDLESS = 100_000
"""Iterations of a run that is stopped: how many there are depends on how busy the machine is."""

COMPARED = 400
"""Iterations of a run without failures that it is held against."""


def alone(iterations, *arguments):
    """The losses of one process."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "losses.csv")
        command = [sys.executable, SCRIPT, "--iterations", str(iterations), "--losses", path]
        environment = {**os.environ, "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1"}
        environment.pop("UNICRON_SOCKET", None)
        subprocess.run([*command, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
        with open(path) as file:
            return [float(line.split(",")[1]) for line in file]


def cluster(iterations, *arguments, **settings):
    """A cluster that runs the same."""
    made = Cluster(SCRIPT, ["--iterations", str(iterations), *arguments], **settings)
    made.arguments += ["--losses", made.path("losses.csv")]
    return made


class Elastic(unittest.TestCase):
    def assert_same(self, made, expected, found):
        for iteration, (one, other) in enumerate(zip(expected, found), 1):
            self.assertLessEqual(abs(one - other), BOUND * abs(one), f"iteration {iteration}\n{made.story()}")
        self.assertEqual(made.twice, [])

    def assert_nobody_computes_again(self, made):
        computed = made.computed()
        self.assertEqual(len(set(computed)), len(computed))

    def test_any_number_of_workers_gives_the_same_losses(self):
        expected = alone(6)
        for count in (1, 2, 3):
            with self.subTest(count=count), cluster(6, "--pace-ms", "1") as made:
                made.form(count)
                found = made.finish()
                self.assertEqual(len(found), len(expected))
                self.assert_same(made, expected, found)
                self.assert_nobody_computes_again(made)

    def test_after_the_last_step_one_stands_for_all(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "first")
            alone(3, "--first", path)
            with cluster(3, "--first", path) as made:
                made.form(3)
                made.finish()
            with open(path) as file:
                self.assertEqual(file.read(), "first\n" * 2)

    def test_a_death_at_any_moment_changes_nothing(self):
        expected = alone(COMPARED)
        moments = ["micro-batch", "summed", "reduced", "voted", "stepping", "committed"]
        with cluster(ENDLESS, "--pace-ms", "120") as made:
            made.form(3)
            made.until(lambda: made.has_committed(2))
            survivors = []
            for place, moment in enumerate(moments):
                with self.subTest(moment=moment):
                    # The first member, and others.
                    victim = made.members[0] if place % 2 == 0 else made.members[-1]
                    top = max(iteration for _, iteration in made.committed)
                    name = f"kill@{moment}:{top + 2}:{victim}"
                    made.fail(name)
                    made.until(lambda: made.workers[victim].is_gone)
                    gone = time.monotonic()
                    top = max(iteration for _, iteration in made.committed)
                    made.until(lambda: made.has_committed(top + 1))
                    survivors.append((moment, time.monotonic() - gone))
                    made.until(lambda: len(made.members) == 3)
            print("\nfrom death to the next commit:", [(m, round(s, 2)) for m, s in survivors])
            self.assert_same(made, expected, made.stop())
            self.assert_nobody_computes_again(made)

    def test_a_death_while_groups_change(self):
        expected = alone(COMPARED)
        with cluster(ENDLESS, "--pace-ms", "120") as made:
            made.form(3)
            made.until(lambda: made.has_committed(2))
            for moment in ("regrouping", "sending", "receiving"):
                with self.subTest(moment=moment):
                    # Whoever comes first has it, after another's death.
                    claimed = len(made.claimed())
                    made.fail(f"kill@{moment}")
                    made.signal(made.members[1])
                    made.until(lambda: len(made.claimed()) > claimed)
                    top = max(iteration for _, iteration in made.committed)
                    made.until(lambda: made.has_committed(top + 1) and len(made.members) == 3)
            self.assert_same(made, expected, made.stop())
            self.assert_nobody_computes_again(made)

    def test_a_stopped_worker_is_left_at_once_wherever_it_stands(self):
        expected = alone(COMPARED)
        with cluster(ENDLESS, "--pace-ms", "100") as made:
            made.form(3)
            made.until(lambda: made.has_committed(2))
            for moment in ("micro-batch", "reduced"):
                with self.subTest(moment=moment):
                    victim = made.members[1]
                    top = max(iteration for _, iteration in made.committed)
                    made.fail(f"stop@{moment}:{top + 2}:{victim}")
                    made.until(lambda: any(str(victim) in name for name in made.claimed()))
                    made.run_for(1.6)
                    waits = [m for w, m in made.said if m["type"] == "waiting" and w != victim]
                    self.assertTrue(waits, made.story())
                    began = time.monotonic()
                    top = max(iteration for _, iteration in made.committed)
                    # The others go on while it is still stopped.
                    made.group([number for number in made.members if number != victim])
                    made.until(lambda: made.has_committed(top + 1))
                    print(
                        f"\nfrom the news to the next commit, stopped at {moment}:", time.monotonic() - began
                    )
                    made.signal(victim, signal.SIGCONT)
                    made.group_of_ready()
                    made.until(lambda: made.has_committed(top + 3))
            self.assert_same(made, expected, made.stop())


if __name__ == "__main__":
    unittest.main()
