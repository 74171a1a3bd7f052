"""The decision of a group, over random histories of groups that are made up."""

import random
import unittest

from unicron.elastic import decide as d
from unicron.protocol import Member


def members(*workers, nodes="ab"):
    return [Member(w, 0, nodes[w % len(nodes)], f"{nodes[w % len(nodes)]}:1") for w in workers]


class Replica:
    """A worker that is made up: its gradient is how often each micro-batch is in it."""

    def __init__(self, worker):
        self.worker = worker
        self.applied = None
        self.stepped = None
        self.state = None
        self.clear()

    def clear(self):
        self.sums, self.reduced, self.name = set(), None, None
        self.begun, self.redone, self.queue = set(), set(), []

    def status(self):
        return d.Status(
            applied=self.applied,
            sums=frozenset(self.sums),
            reduced=self.name,
            stepped=self.stepped,
            begun=frozenset(self.begun),
            redone=frozenset(self.redone),
        )

    def step(self):
        self.state = self.state + (tuple(sorted(self.reduced)),)
        self.applied, self.stepped = self.applied + 1, self.name
        self.clear()


class History:
    """A task whose workers die, are given up and come back at random."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.micro_batches = self.random.randrange(1, 9)
        self.next_worker = 1
        self.epoch = 0
        self.away = []
        self.group = [self.spawn() for _ in range(self.random.randrange(1, 5))]
        self.committed = {}
        self.computed = []
        self.regroup()

    def spawn(self):
        replica = Replica(self.next_worker)
        self.next_worker += 1
        return replica

    def regroup(self):
        self.epoch += 1
        self.group.sort(key=lambda replica: replica.worker)
        everybody = members(*(replica.worker for replica in self.group))
        statuses = {replica.worker: replica.status() for replica in self.group}
        said = {w: d.Status.from_json(s.to_json(), self.micro_batches) for w, s in statuses.items()}
        assert said == statuses
        decision = d.decide(everybody, said, self.micro_batches)
        by_number = {replica.worker: replica for replica in self.group}
        before = {w: (set(r.sums), r.name) for w, r in by_number.items()}
        for replica in self.group:
            if decision.sources[replica.worker].kind == d.STEP:
                replica.step()
        for replica in self.group:
            self.adopt(replica, decision, by_number)
        self.check(decision, before, by_number)

    def adopt(self, replica, decision, by_number):
        source = decision.sources[replica.worker]
        if source.kind == d.REPLICA:
            other = by_number[source.worker]
            replica.clear()
            if decision.sources[source.worker].kind == d.INITIAL:
                replica.applied, replica.state = 0, ()
            else:
                replica.applied, replica.state = other.applied, other.state
                replica.stepped = other.stepped
        elif source.kind == d.INITIAL:
            replica.applied, replica.state = 0, ()
        if decision.reduced_from is not None:
            sender = by_number[decision.reduced_from]
            replica.reduced, replica.name = sender.reduced, sender.name
        elif replica.worker not in decision.counted:
            replica.sums = set()
        replica.queue = list(decision.queues[replica.worker])
        replica.begun = set(decision.begun)
        replica.redone = set(decision.redone)

    def check(self, decision, before, by_number):
        assert len({(r.applied, r.stepped, r.state) for r in self.group}) == 1
        if decision.reduced_from is not None:
            assert not any(decision.queues.values()), "nothing is computed"
            return
        counts = [m for r in self.group for m in [*r.sums, *r.queue]]
        assert sorted(counts) == list(range(self.micro_batches)), "each counts once"
        sizes = [len(queue) for queue in decision.queues.values()]
        assert max(sizes) - min(sizes) <= 1
        # Of members that were there all the time nothing is computed again.
        overlapping = [s for w, (s, _) in before.items() if decision.sources[w].kind == d.OWN]
        if sum(map(len, overlapping)) == len(set().union(*overlapping)):
            for worker, (sums, _) in before.items():
                if decision.sources[worker].kind == d.OWN:
                    assert by_number[worker].sums == sums

    def go_on(self):
        busy = [r for r in self.group if r.queue]
        if busy and all(r.reduced is None for r in self.group):
            replica = self.random.choice(busy)
            micro_batch = replica.queue.pop(0)
            replica.sums.add(micro_batch)
            replica.begun.add(micro_batch)
            return True
        lacking = [r for r in self.group if r.reduced is None]
        if lacking:
            # The all-reduce ends for some before it fails for others.
            total = [m for r in self.group for m in r.sums] if len(lacking) == len(self.group) else None
            if total is None:
                total = next(r.reduced for r in self.group if r.reduced is not None)
            replica = self.random.choice(lacking)
            replica.reduced, replica.name = list(total), self.epoch
            return True
        # All have voted: some step, and the next failure may come before the others do.
        for replica in self.random.sample(self.group, self.random.randrange(1, len(self.group) + 1)):
            replica.step()
            self.commit(replica)
        return False

    def commit(self, replica):
        gradient = replica.state[-1]
        assert gradient == tuple(range(self.micro_batches)), gradient
        self.committed[replica.applied] = replica.stepped

    def finish_step(self):
        top = max(r.applied for r in self.group)
        for replica in self.group:
            if replica.applied < top:
                replica.step()
                self.commit(replica)
        for place, replica in enumerate(self.group):
            replica.queue = list(range(self.micro_batches))[place :: len(self.group)]

    def disturb(self):
        what = self.random.random()
        victim = self.random.choice(self.group)
        if what < 0.4 and len(self.group) > 1:
            self.group.remove(victim)
        elif what < 0.6 and len(self.group) > 1:
            self.group.remove(victim)
            self.away.append(victim)
        elif what < 0.8 and self.away:
            self.group.append(self.away.pop(self.random.randrange(len(self.away))))
        elif len(self.group) < 6:
            self.group.append(self.spawn())
        self.regroup()

    def run(self, events):
        for _ in range(events):
            if self.random.random() < 0.2:
                self.disturb()
            elif not self.go_on():
                if self.random.random() < 0.4:
                    self.disturb()
                else:
                    self.finish_step()


class RandomHistories(unittest.TestCase):
    def test_every_micro_batch_counts_once_and_replicas_stay_equal(self):
        for seed in range(400):
            with self.subTest(seed=seed):
                History(seed).run(120)


class Decisions(unittest.TestCase):
    def test_the_dead_ones_work_is_shared_and_counted_as_redone(self):
        statuses = {
            1: d.Status(applied=4, sums=frozenset({0, 4}), begun=frozenset({0, 1, 4})),
            3: d.Status(applied=4, sums=frozenset({2}), begun=frozenset({2})),
        }
        decision = d.decide(members(1, 3), statuses, 6)
        self.assertEqual(decision.applied, 4)
        self.assertEqual(decision.counted, {1, 3})
        self.assertEqual(decision.queues, {1: (1, 5), 3: (3,)})
        self.assertEqual(decision.redone, {1})
        self.assertFalse(decision.goes_back())

    def test_a_reduced_gradient_is_sent_and_nothing_computed(self):
        statuses = {
            1: d.Status(applied=4, sums=frozenset({0})),
            2: d.Status(applied=4, sums=frozenset({1}), reduced=7),
            3: d.Status(),
        }
        decision = d.decide(members(1, 2, 3), statuses, 3)
        self.assertEqual(decision.reduced_from, 2)
        self.assertEqual(set(decision.queues.values()), {()})
        self.assertEqual(decision.sources[3], d.Source(d.REPLICA, 1))

    def test_who_has_stepped_proves_that_all_had_voted(self):
        statuses = {
            1: d.Status(applied=5, stepped=7),
            2: d.Status(applied=4, reduced=7),
            4: d.Status(applied=4, reduced=6),
            5: d.Status(applied=4),
        }
        sources = d.decide(members(1, 2, 4, 5), statuses, 3).sources
        self.assertEqual(sources[1].kind, d.OWN)
        self.assertEqual(sources[2].kind, d.STEP)
        self.assertEqual(sources[4], d.Source(d.REPLICA, 2), "the near one, after its step")
        self.assertEqual(sources[5], d.Source(d.REPLICA, 1))

    def test_the_nearest_memory_then_disk_then_the_beginning(self):
        statuses = {1: d.Status(), 2: d.Status(memory=frozenset({8, 9})), 4: d.Status(highest=10)}
        decision = d.decide(members(1, 2, 4), statuses, 3, disk=6)
        self.assertEqual((decision.applied, decision.highest), (9, 10))
        self.assertTrue(decision.goes_back())
        memory = d.Source(d.MEMORY, 2)
        self.assertEqual(decision.sources, {1: memory, 2: d.Source(d.MEMORY), 4: d.Source(d.MEMORY)})
        self.assertEqual(d.decide(members(1), {}, 3, disk=6).sources[1].kind, d.DISK)
        beginning = d.decide(members(1, 2), {}, 3)
        self.assertEqual(beginning.sources[1].kind, d.INITIAL)
        self.assertEqual(beginning.sources[2], d.Source(d.REPLICA, 1))
        self.assertTrue(beginning.goes_back())

    def test_what_is_no_status_is_refused(self):
        good = d.Status(applied=3, sums=frozenset({1})).to_json()
        self.assertEqual(d.Status.from_json(good, 2).applied, 3)
        for key, bad in [("sums", [2]), ("sums", [-1]), ("sums", 5), ("applied", "x"), ("highest", True)]:
            with self.assertRaises(ValueError):
                d.Status.from_json({**good, key: bad}, 2)
        with self.assertRaises(ValueError):
            d.Status.from_json([], 2)


if __name__ == "__main__":
    unittest.main()
