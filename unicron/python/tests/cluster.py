"""Real workers, and a test in the place of their agents and coordinator.

The stores are PyTorch's own servers, one for each node, in the test's process.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from unicron import protocol

PATIENCE_S = 60.0
"""Longer than anything here takes on a busy machine."""

SOURCES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src")


class Agent:
    """The agent's end of one worker's socket."""

    def __init__(self, path, heard):
        self.path, self._heard = path, heard
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()
        self.connection = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        self.connection, _ = self._listener.accept()
        self._heard({"type": "connected"})
        try:
            for line in self.connection.makefile("rb"):
                self._heard(json.loads(line))
        except OSError:
            pass
        self._heard({"type": "ended"})

    def say(self, message):
        """To a worker that may have ended."""
        try:
            if self.connection is not None:
                self.connection.sendall(protocol.encode(message))
        except OSError:
            pass

    def close(self):
        """Hangs up."""
        for one in (self.connection, self._listener):
            if one is not None:
                one.close()


class Worker:
    """A process and its agent."""

    def __init__(self, number, node, process, agent):
        self.number, self.node, self.process, self.agent = number, node, process, agent
        self.address = None
        self.is_done = False
        self.is_gone = False


class Cluster:
    """Workers of one task on the nodes a and b, that run a script."""

    def __init__(self, script, arguments, lease_s=60.0, nodes="ab"):
        import torch.distributed as dist

        self.folder = tempfile.TemporaryDirectory()
        self.faults = os.path.join(self.folder.name, "faults")
        os.mkdir(self.faults)
        self.script, self.arguments, self.lease_s = script, arguments, lease_s
        self.nodes = nodes
        self.stores = {
            node: dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) for node in nodes
        }
        self.workers = {}
        self.members = []
        self.epoch = 0
        self.checkpoint = None
        self.regroups = True
        self.replaces = True
        self.said = []
        self.committed = {}
        self.twice = []
        self._events = queue.Queue()
        self._next = 1

    def __enter__(self):
        return self

    def __exit__(self, *what):
        for worker in self.workers.values():
            worker.process.kill()
            worker.process.wait()
            worker.agent.close()
        self.folder.cleanup()

    def path(self, name):
        """A file of the cluster's own."""
        return os.path.join(self.folder.name, name)

    def spawn(self, node=None):
        """Starts a worker; it isn't in a group yet."""
        number = self._next
        self._next += 1
        node = node or self.nodes[number % len(self.nodes)]
        agent = Agent(self.path(f"{number}.sock"), lambda message: self._events.put((number, message)))
        environment = {
            **os.environ,
            "PYTHONPATH": SOURCES,
            "OMP_NUM_THREADS": "1",
            "UNICRON_SOCKET": agent.path,
            "UNICRON_WORKER": str(number),
            "UNICRON_NODE": node,
            "UNICRON_HOST": "127.0.0.1",
            "UNICRON_STORE": f"127.0.0.1:{self.stores[node].port}",
            "UNICRON_CHECKPOINTS": self.path("checkpoints"),
            "UNICRON_FAULTS": self.faults,
        }
        command = [sys.executable, self.script, *self.arguments]
        with open(self.path(f"{number}.log"), "wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        self.workers[number] = Worker(number, node, process, agent)
        return number

    def fail(self, name):
        """Asks for a failure, as ``kill@reduced:3``."""
        with open(os.path.join(self.faults, name), "w"):
            pass

    def claimed(self):
        """Failures that have happened."""
        return sorted(name for name in os.listdir(self.faults) if ".claimed" in name)

    def say(self, number, message):
        """Says something to a worker."""
        self.workers[number].agent.say(message)

    def group(self, members):
        """Makes a group of these."""
        self.epoch += 1
        told = set(self.members) | set(members)
        self.members = sorted(members)
        listed = [
            {
                "worker": number,
                "stage": 0,
                "node": self.workers[number].node,
                "address": self.workers[number].address,
            }
            for number in self.members
        ]
        message = {"type": "group", "epoch": self.epoch, "members": listed}
        if self.checkpoint is not None:
            message["checkpoint"] = self.checkpoint
        for number in told:
            self.say(number, message)

    def group_of_ready(self):
        """A group of all that are ready."""
        living = [w for w in self.workers.values() if not w.is_gone and w.address is not None]
        if living:
            self.group([worker.number for worker in living])

    def form(self, count):
        """Starts so many and makes the first group of them."""
        for _ in range(count):
            self.spawn()
        self.until(lambda: all(worker.address for worker in self.workers.values()))
        self.group_of_ready()

    def until(self, is_so, patience_s=PATIENCE_S):
        """Goes on until something is so."""
        deadline = time.monotonic() + patience_s
        while not is_so():
            try:
                number, message = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(self.story()) from None
            self._hear(number, message)

    def run_for(self, seconds):
        """Lets time pass."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self._hear(*self._events.get(timeout=0.05))
            except queue.Empty:
                pass

    def story(self):
        """What was said last, for a person."""
        lines = [f"epoch {self.epoch}, members {self.members}, faults {self.claimed()}"]
        lines += [f"{number}: {message}" for number, message in self.said[-40:]]
        for number in self.workers:
            with open(self.path(f"{number}.log"), errors="replace") as log:
                lines += [f"{number}| {line}" for line in log.read().splitlines()[-12:]]
        return "\n".join(lines)

    def _hear(self, number, message):
        worker = self.workers[number]
        kind = message["type"]
        if kind == "connected":
            welcome = {"type": "welcome", "protocol": 1, "task": "test", "lease_s": self.lease_s}
            worker.agent.say(welcome)
            # Nobody renews it here.
            return worker.agent.say({"type": "lease", "seconds": None})
        if kind == "ended":
            return self._bury(worker)
        if kind == "ready":
            worker.address = message["address"]
            if self.epoch > 0 and self.regroups:
                self.group_of_ready()
        elif kind == "committed":
            key = (number, message["iteration"])
            if key in self.committed:
                self.twice.append(key)
            self.committed[key] = message
        elif kind == "done":
            worker.is_done = message["epoch"] == self.epoch
        elif kind == "checkpoint" and message["epoch"] == self.epoch:
            self.checkpoint = {"iteration": message["iteration"], "path": message["path"]}
            answer = {"type": "checkpoint-committed", "iteration": message["iteration"]}
            worker.agent.say(answer)
        if kind not in ("micro-batch",):
            self.said.append((number, message))

    def _bury(self, worker):
        worker.is_gone = True
        worker.process.kill()
        worker.process.wait()
        self.said.append((worker.number, {"type": "ended"}))
        if worker.number not in self.members:
            return
        self.members.remove(worker.number)
        if self.regroups and self.members:
            self.group_of_ready()
        if self.replaces:
            self.spawn(worker.node)

    def has_committed(self, iteration):
        """Whether anybody has committed it."""
        return any(number == iteration for _, number in self.committed)

    def finish(self):
        """Goes on until all have done their work, and ends them. The losses by iteration."""

        def are_done():
            living = [worker for worker in self.workers.values() if not worker.is_gone]
            return living and all(worker.is_done for worker in living if worker.number in self.members)

        self.until(are_done)
        self.regroups = self.replaces = False
        for number in list(self.members):
            self.say(number, {"type": "stop", "reason": "done"})
            self.workers[number].process.wait(PATIENCE_S)
        codes = [self.workers[number].process.returncode for number in self.members]
        assert not any(codes), f"{codes}\n{self.story()}"
        return self.losses()

    def stop(self):
        """Ends all in the midst of their work. The losses by iteration."""
        self.regroups = self.replaces = False
        living = [worker for worker in self.workers.values() if not worker.is_gone]
        for worker in living:
            worker.agent.say({"type": "stop", "reason": "enough"})
        codes = [worker.process.wait(PATIENCE_S) for worker in living]
        assert not any(codes), f"{codes}\n{self.story()}"
        return self.losses()

    def losses(self):
        """What the file of losses has, by iteration; each must be there once."""
        with open(self.path("losses.csv")) as file:
            rows = [line.strip().split(",") for line in file]
        assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1)), rows
        return [float(row[1]) for row in rows]

    def computed(self):
        """How often each worker has computed each micro-batch: (worker, iteration, micro-batch)."""
        with open(os.path.join(self.faults, "computed")) as file:
            return [tuple(map(int, line.split())) for line in file]

    def signal(self, number, what=signal.SIGKILL):
        """Sends a signal to a worker."""
        self.workers[number].process.send_signal(what)
