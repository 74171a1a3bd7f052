"""The store's client against PyTorch's own server."""

import os
import random
import socket
import threading
import time
import unittest

from unicron import memory, parcel
from unicron.interrupt import Interrupt, Interrupted
from unicron.store import Store, StoreError, StoreTimeout

try:
    import torch.distributed as dist
except ImportError:
    dist = None


class Server:
    """What the tests talk to: ``UNICRON_TEST_STORE`` (host:port), or PyTorch's."""

    def __init__(self):
        self.address = os.environ.get("UNICRON_TEST_STORE")
        if self.address is None:
            self.server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
            self.address = f"127.0.0.1:{self.server.port}"


@unittest.skipIf(dist is None, "PyTorch isn't installed")
class AgainstPyTorch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.address = cls.server.address

    def setUp(self):
        # The server may be one for all tests.
        self.store = Store(self.address, f"{self.id()}-{random.random()}/")
        self.addCleanup(self.store.close)

    def test_values_come_back(self):
        for value in (b"", b"x", os.urandom(100_000), bytearray(b"y"), memoryview(b"abc")[1:]):
            self.store.set("key", value)
            self.assertEqual(self.store.get("key"), bytes(value))
        self.assertIsNone(self.store.find("none"))
        self.assertTrue(self.store.check(["key"]))
        self.assertFalse(self.store.check(["key", "none"]))
        self.assertTrue(self.store.delete("key"))
        self.assertFalse(self.store.delete("key"))
        self.assertFalse(self.store.check(["key"]))

    def test_numbers_are_counted(self):
        self.assertEqual(self.store.add("n", 5), 5)
        self.assertEqual(self.store.add("n", -7), -2)
        self.assertEqual(self.store.get("n"), b"-2")
        self.assertGreaterEqual(self.store.count(), 1)

    def test_values_are_compared(self):
        self.assertEqual(self.store.compare_set("k", b"", b"one"), b"one")
        self.assertEqual(self.store.compare_set("k", b"x", b"two"), b"one")
        self.assertEqual(self.store.compare_set("k", b"one", b"two"), b"two")

    def test_pytorchs_client_sees_the_same(self):
        host, port = self.address.split(":")
        theirs = dist.TCPStore(host, int(port), is_master=False, wait_for_workers=False)
        prefix = self.store._prefix
        self.store.set("ours", b"1")
        theirs.set(prefix + "theirs", "2")
        self.assertEqual(theirs.get(prefix + "ours"), b"1")
        self.assertEqual(self.store.get("theirs"), b"2")
        self.assertEqual(theirs.add(prefix + "n", 3), 3)
        self.assertEqual(self.store.add("n", 4), 7)

    def test_waits_end_with_the_value_the_deadline_or_an_interrupt(self):
        setter = self.store.apart()
        self.addCleanup(setter.close)
        threading.Timer(0.1, setter.set, ("late", b"now")).start()
        self.assertEqual(self.store.get("late"), b"now")
        began = time.monotonic()
        with self.assertRaises(StoreTimeout):
            self.store.get("never", 0.2)
        self.assertLess(time.monotonic() - began, 2.0)
        interrupt = Interrupt()
        self.addCleanup(interrupt.close)
        self.store.interrupt_by(interrupt)
        threading.Timer(0.1, interrupt.set).start()
        with self.assertRaises(Interrupted):
            self.store.get("never", None)
        interrupt.clear()
        self.assertEqual(self.store.get("late"), b"now", "another conversation begins")

    def test_who_waits_has_something_to_do_meanwhile(self):
        looks = []
        other = self.store.apart()
        self.addCleanup(other.close)

        def look():
            looks.append(other.check(["late"]))
            if len(looks) == 3:
                other.set("late", b"")

        self.store.wait(["late"], 10.0, 0.05, look)
        self.assertEqual(looks, [False, False, False])

    def test_nobody_listens(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        with self.assertRaises(StoreTimeout):
            Store(address).get("key", 0.2)
        for bad in ("nowhere", "host:", ":1", "host:99999", "host:x"):
            with self.assertRaisesRegex(ValueError, "is no host:port"):
                Store(bad)

    def test_a_server_that_lies_is_not_believed(self):
        def serve(answer):
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)
                connection.recv(1 << 16)
                connection.sendall(b"\xff" * 8)

        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            thread = threading.Thread(target=serve, args=(b"\x00",))
            thread.start()
            store = Store(f"127.0.0.1:{listener.getsockname()[1]}")
            with self.assertRaisesRegex(StoreError, "a value of 18446744073709551615 bytes"):
                store.get("key", 5.0)
            thread.join()

    def test_parcels_come_back_and_torn_ones_are_noticed(self):
        for size in (0, 1, parcel.PART_BYTES, 2 * parcel.PART_BYTES + 5):
            payload = os.urandom(size)
            parcel.send(self.store, "parcel", payload)
            self.assertEqual(parcel.receive(self.store, "parcel"), payload)
        keys = self.store.count()
        self.store.set("parcel/1", b"\x00" * parcel.PART_BYTES)
        with self.assertRaisesRegex(StoreError, "checksum"):
            parcel.receive(self.store, "parcel")
        parcel.remove(self.store, "parcel")
        self.assertEqual(self.store.count(), keys - 5)
        self.store.set("parcel", b'{"bytes": 99999999999999999, "part_bytes": 4096}')
        with self.assertRaisesRegex(StoreError, "is a parcel of"):
            parcel.receive(self.store, "parcel")
        self.store.set("parcel", b"[]")
        with self.assertRaisesRegex(StoreError, "is no parcel"):
            parcel.receive(self.store, "parcel")

    def test_the_last_two_checkpoints_are_kept(self):
        for iteration in (3, 5, 4, 8):
            memory.put(self.store, iteration, f"{iteration}-1", b"%d" % iteration)
        self.assertEqual(set(memory.kept(self.store, 1.0)), {5, 8})
        self.assertEqual(memory.fetch(self.store, 8), b"8")
        with self.assertRaisesRegex(StoreError, "no checkpoint of iteration 4"):
            memory.fetch(self.store, 4)
        self.assertFalse(self.store.check(["memory/3-1"]))


if __name__ == "__main__":
    unittest.main()
