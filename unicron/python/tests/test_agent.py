"""The connection to the agent: what is heard, the lease, and ends of all kinds."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from cluster import SOURCES

from unicron import protocol
from unicron.agent import LEASE_HAS_RUN_OUT, Agent, AgentLost, Stopped


class Connected(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen()
        self.listener = listener
        self.ended = []
        self.agent = Agent(self.path, 7, lambda: self.ended.append(time.monotonic()))
        self.far, _ = listener.accept()
        self.lines = self.far.makefile("rb")
        self.addCleanup(self.far.close)
        self.addCleanup(listener.close)
        self.addCleanup(self.lines.close)

    def say(self, **message):
        self.far.sendall(protocol.encode(message))

    def hear(self):
        return json.loads(self.lines.readline())

    def eventually(self, is_so):
        deadline = time.monotonic() + 10.0
        while not is_so():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)

    def test_it_says_who_it_is_and_hears(self):
        self.assertEqual(self.hear(), protocol.hello(7, os.getpid()))
        self.assertIsNone(self.agent.newest())
        self.say(type="welcome", protocol=1, task="t", lease_s=4.5)
        self.say(type="group", epoch=3, members=[])
        self.say(type="group", epoch=2, members=[])
        self.say(type="checkpoint-committed", iteration=9)
        self.eventually(lambda: self.agent.checkpoint_committed == 9)
        self.assertEqual(self.agent.lease_s, 4.5)
        self.assertTrue(self.agent.news.is_set())
        self.assertEqual(self.agent.newest().epoch, 3)
        self.assertFalse(self.agent.news.is_set())
        self.say(type="stop", reason="the plan")
        self.assertTrue(self.agent.news.wait(10.0))
        with self.assertRaisesRegex(Stopped, "the plan"):
            self.agent.newest()
        self.assertTrue(self.agent.news.is_set(), "an end stays news")

    def test_an_agent_that_ends_or_talks_nonsense_is_lost(self):
        self.far.sendall(b"nonsense\n")
        self.assertTrue(self.agent.news.wait(10.0))
        with self.assertRaisesRegex(AgentLost, "is no message"):
            self.agent.newest()
        # Nobody minds.
        self.agent.send(protocol.waiting(1, []))

    def test_an_agent_that_takes_nothing_holds_up_nobody(self):
        began = time.monotonic()
        for number in range(20_000):
            self.agent.send(protocol.micro_batch(1, 2, number, False))
        self.assertLess(time.monotonic() - began, 5.0)
        self.assertEqual(self.hear()["type"], "hello")
        # What is heard later is whole lines, in order.
        self.far.settimeout(1.0)
        heard = []
        try:
            while True:
                heard.append(self.hear()["micro_batch"])
        except (socket.timeout, OSError, json.JSONDecodeError):
            pass
        self.assertEqual(heard, sorted(heard))
        self.assertGreater(len(heard), 1000)

    def test_the_lease_ends_it(self):
        self.say(type="lease", seconds=0.2)
        self.say(type="lease", seconds=None)
        time.sleep(0.4)
        self.assertEqual(self.ended, [])
        began = time.monotonic()
        self.say(type="lease", seconds=0.2)
        self.eventually(lambda: self.ended)
        self.assertGreaterEqual(self.ended[0] - began, 0.19)

    def test_the_lease_ends_it_after_the_agent_is_gone(self):
        self.say(type="lease", seconds=0.3)
        time.sleep(0.05)
        self.lines.close()
        self.far.close()
        self.eventually(lambda: self.ended)


class Processes(unittest.TestCase):
    def run_with_agent(self, script, *said, timeout_s=20.0):
        """Runs a script with an agent that says this; its exit code, what it said, its output."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(path)
                listener.listen()
                environment = {
                    **os.environ,
                    "PYTHONPATH": SOURCES,
                    "UNICRON_SOCKET": path,
                    "UNICRON_WORKER": "1",
                }
                process = subprocess.Popen(
                    [sys.executable, "-c", script],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                listener.settimeout(timeout_s)
                far, _ = listener.accept()
                with far, far.makefile("rb") as lines:
                    for message in said:
                        far.sendall(protocol.encode(message))
                    heard = [json.loads(line) for line in lines]
                output, _ = process.communicate(timeout=timeout_s)
                return process.returncode, heard, output.decode()

    def test_who_hangs_ends_with_its_lease(self):
        script = "import unicron, time; unicron.attach(); time.sleep(60)"
        code, _, output = self.run_with_agent(script, {"type": "lease", "seconds": 0.3})
        self.assertEqual(code, LEASE_HAS_RUN_OUT)
        self.assertIn("the lease has run out", output)

    def test_what_came_while_it_was_stopped_prolongs_nothing(self):
        script = (
            "import unicron, time, os, signal, subprocess\n"
            "unicron.attach()\n"
            "subprocess.Popen(['sh', '-c', f'sleep 1; kill -CONT {os.getpid()}'])\n"
            "time.sleep(0.2)\n"
            "os.kill(os.getpid(), signal.SIGSTOP)\n"
            "time.sleep(20)\n"
        )
        lease = {"type": "lease", "seconds": 0.6}
        code, _, _ = self.run_with_agent(script, lease)
        self.assertEqual(code, LEASE_HAS_RUN_OUT)

    def test_a_forked_child_is_no_worker(self):
        script = (
            "import unicron, os, sys, time\n"
            "at = unicron.attach()\n"
            "at.iteration(1, loss=0.5)\n"
            "if os.fork() == 0:\n"
            "    assert not at.is_attached\n"
            "    at.iteration(77)\n"
            "    raise ValueError('of the child')\n"
            "os.wait()\n"
            "at.iteration(2)\n"
        )
        code, heard, output = self.run_with_agent(script)
        self.assertEqual(code, 0, output)
        self.assertEqual([m["type"] for m in heard], ["hello", "committed", "committed"])
        self.assertEqual(heard[1]["loss"], 0.5)

    def test_what_nobody_catches_is_told(self):
        script = (
            "import unicron, threading\n"
            "unicron.attach()\n"
            "def dies():\n"
            "    raise KeyError('in a thread')\n"
            "thread = threading.Thread(target=dies)\n"
            "thread.start(); thread.join()\n"
            "raise ValueError('at the end')\n"
        )
        code, heard, output = self.run_with_agent(script)
        self.assertEqual(code, 1)
        self.assertIn("ValueError: at the end", output, "Python says it, too")
        messages = [m["message"] for m in heard if m["type"] == "exception"]
        self.assertEqual(messages, ["KeyError: 'in a thread'", "ValueError: at the end"])
        self.assertIn("in dies", heard[1]["traceback"])

    def test_kinds_of_steps_are_told(self):
        script = (
            "import unicron\n"
            "at = unicron.attach()\n"
            "at.iteration(1)\n"
            "with at.evaluation(): pass\n"
            "with at.checkpoint(): pass\n"
            "at.iteration(2)\n"
            "at.iteration(2)\n"
        )
        _, heard, _ = self.run_with_agent(script)
        told = [(m["type"], m.get("kind")) for m in heard[1:]]
        expected = [
            ("committed", None),
            ("iteration", "evaluation"),
            ("iteration", "train"),
            ("iteration", "checkpoint"),
            ("iteration", "train"),
            ("committed", None),
            ("rolled-back", None),
            ("committed", None),
        ]
        self.assertEqual(told, expected)

    def test_outside_of_unicron_nothing_happens(self):
        script = "import unicron; a = unicron.attach(); a.iteration(1); print(a.is_attached)"
        environment = {**os.environ, "PYTHONPATH": SOURCES}
        environment.pop("UNICRON_SOCKET", None)
        command = [sys.executable, "-c", script]
        output = subprocess.run(command, env=environment, capture_output=True, check=True)
        self.assertEqual(output.stdout, b"False\n")
        environment["UNICRON_SOCKET"] = "/nowhere/socket"
        environment["UNICRON_WORKER"] = "1"
        output = subprocess.run(command, env=environment, capture_output=True, check=True)
        self.assertEqual(output.stdout, b"False\n")
        self.assertIn(b"unicron: no agent", output.stderr)


if __name__ == "__main__":
    unittest.main()
