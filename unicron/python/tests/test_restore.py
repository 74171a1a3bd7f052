"""When nobody has a state that lives, it comes back from nodes' memory, or from disk; and nothing leaks."""

import os
import re
import unittest

from cluster import SOURCES
from test_elastic import SCRIPT, alone, cluster

assert SOURCES and SCRIPT


class Restore(unittest.TestCase):
    def kill_all(self, made, iteration):
        made.until(lambda: made.has_committed(iteration))
        made.regroups = False
        for number in list(made.members):
            made.signal(number)
        made.until(lambda: not made.members)
        made.until(lambda: sum(1 for w in made.workers.values() if w.address and not w.is_gone) == 2)
        made.regroups = True
        made.group_of_ready()

    def gone_back_to(self, made):
        return {m["iteration"] for _, m in made.said if m["type"] == "rolled-back" and m["iteration"]}

    def assert_close(self, expected, found):
        self.assertEqual(len(expected), len(found))
        for one, other in zip(expected, found):
            self.assertAlmostEqual(one, other, delta=1e-6 * one)

    def test_all_come_back_from_memory(self):
        expected = alone(24)
        with cluster(24, "--pace-ms", "80", "--memory-every", "3") as made:
            made.form(2)
            self.kill_all(made, 14)
            found = made.finish()
            self.assert_close(expected, found)
            back = self.gone_back_to(made)
            self.assertEqual(len(back), 1)
            self.assertGreaterEqual(min(back), 9, made.story())

    def test_all_come_back_from_disk(self):
        expected = alone(24)
        with cluster(24, "--pace-ms", "80", "--disk-every", "4") as made:
            made.form(2)
            self.kill_all(made, 14)
            self.assert_close(expected, made.finish())
            self.assertTrue(self.gone_back_to(made) <= {8, 12}, made.story())
            files = os.listdir(made.path("checkpoints"))
            self.assertLessEqual(len(files), 3, files)

    def test_a_disk_that_cannot_be_written_stops_nobody(self):
        with cluster(8, "--disk-every", "2") as made:
            with open(made.path("checkpoints"), "w"):
                pass
            made.form(2)
            made.finish()
            told = [m for _, m in made.said if m["type"] == "exception"]
            self.assertTrue(told and all(m["status"] == "storage-error" for m in told), told)

    def test_the_weights_are_told_of(self):
        with cluster(3) as made:
            made.arguments += ["--weights", made.path("weights.pt")]
            made.form(2)
            made.finish()
            told = [m for _, m in made.said if m["type"] == "done" and "weights_file" in m]
            self.assertEqual([m["weights_file"] for m in told], [made.path("weights.pt")])
            self.assertTrue(re.fullmatch("[0-9a-f]{64}", told[0]["weights_sha256"]))

    def test_many_groups_leak_nothing(self):
        with cluster(100000, "--pace-ms", "20") as made:
            made.form(3)
            sizes = []
            for number in range(60):
                top = max((iteration for _, iteration in made.committed), default=0)
                made.until(lambda: made.has_committed(top + 1))
                made.group_of_ready()
                if number in (9, 59):
                    made.until(lambda: made.has_committed(top + 3))
                    sizes.append([size_of(made.workers[w].process.pid) for w in made.members])
            for (files, threads, kilobytes), (files_2, threads_2, kilobytes_2) in zip(*sizes):
                self.assertEqual((files, threads), (files_2, threads_2))
                self.assertLess(kilobytes_2 - kilobytes, 8000)
            print("\nfiles, threads, kB after 10 and 60 groups:", sizes)


def size_of(process):
    """Open files, threads and resident kilobytes."""
    with open(f"/proc/{process}/status") as status:
        text = status.read()
    resident = int(re.search(r"VmRSS:\s+(\d+)", text).group(1))
    threads = int(re.search(r"Threads:\s+(\d+)", text).group(1))
    return len(os.listdir(f"/proc/{process}/fd")), threads, resident


if __name__ == "__main__":
    unittest.main()
