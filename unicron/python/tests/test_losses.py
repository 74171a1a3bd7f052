"""The file of losses: each iteration once, whoever writes it, whenever it dies."""

import os
import tempfile
import threading
import unittest

from unicron.elastic.losses import LossFile


class Losses(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "losses.csv")

    def rows(self):
        with open(self.path) as file:
            return file.read().splitlines()

    def test_what_another_has_not_written_is_added_and_nothing_twice(self):
        first, second = LossFile(self.path), LossFile(self.path)
        first.write({1: 0.5, 2: 0.25}, 2)
        second.write({1: 0.5, 2: 0.25, 3: 0.125}, 3)
        first.write({2: 0.25, 3: 0.125}, 3)
        first.write({3: 0.125, 4: 1 / 3}, 3)
        self.assertEqual(self.rows(), ["1,0.5", "2,0.25", "3,0.125"])

    def test_half_a_line_is_written_anew(self):
        with open(self.path, "w") as file:
            file.write("1,0.5\n2,0.2")
        LossFile(self.path).write({1: 0.5, 2: 0.25}, 2)
        self.assertEqual(self.rows(), ["1,0.5", "2,0.25"])

    def test_what_is_done_again_goes(self):
        file = LossFile(self.path)
        file.write({i: 1.0 / i for i in range(1, 60)}, 59)
        file.go_back(3)
        self.assertEqual(self.rows(), ["1,1.0", "2,0.5", "3,0.3333333333333333"])
        file.go_back(9)
        file.write({4: 0.25}, 4)
        self.assertEqual(self.rows()[-1], "4,0.25")

    def test_many_at_once(self):
        losses = {i: float(i) for i in range(1, 200)}

        def write():
            file = LossFile(self.path)
            for iteration in range(1, 200):
                file.write(losses, iteration)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.rows(), [f"{i},{float(i)}" for i in range(1, 200)])


if __name__ == "__main__":
    unittest.main()
