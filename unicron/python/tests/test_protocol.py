"""Messages, as the Rust side writes and reads them."""

import json
import random
import unittest

from unicron import protocol
from unicron.protocol import Checkpoint, Group, Lease, Lines, Member, ProtocolError, Stop, Welcome


class Messages(unittest.TestCase):
    def test_what_an_agent_says_is_understood(self):
        group = (
            b'{"type":"group","epoch":7,"members":[{"worker":3,"stage":0,"node":"a",'
            b'"address":"127.0.0.1:9"}],"checkpoint":{"iteration":5,"path":"/c"}}'
        )
        member = Member(3, 0, "a", "127.0.0.1:9")
        expected = Group(7, (member,), Checkpoint(5, "/c"))
        self.assertEqual(protocol.parse(group), expected)
        self.assertEqual((expected.rank(3), expected.rank(4)), (0, None))
        welcome = b'{"type":"welcome","protocol":1,"task":"gpt","lease_s":4.0}'
        self.assertEqual(protocol.parse(welcome), Welcome("gpt", 4.0))
        self.assertEqual(protocol.parse(b'{"type":"lease","seconds":null}'), Lease(None))
        self.assertEqual(protocol.parse(b'{"type":"stop","reason":"x"}'), Stop("x"))
        self.assertIsNone(protocol.parse(b'{"type":"of-a-newer-agent"}'))

    def test_what_a_worker_says_is_what_the_agent_reads(self):
        line = protocol.encode(protocol.committed(7, 12, 2.5))
        expected = (
            b'{"type":"committed","epoch":7,"iteration":12,"loss":2.5,'
            b'"redone":{"micro_batches":0,"stage_passes":0}}\n'
        )
        self.assertEqual(line, expected)
        self.assertNotIn("loss", protocol.committed(7, 12, float("nan")))
        self.assertNotIn("is_redone", protocol.micro_batch(1, 2, 3, False))
        self.assertTrue(protocol.micro_batch(1, 2, 3, True)["is_redone"])

    def test_long_texts_fit_into_a_line(self):
        for character in ("x", "\n", "\u1234", "\U0001f600"):
            said = protocol.exception(character * 500_000, character * 500_000)
            self.assertLessEqual(len(protocol.encode(said)), protocol.MOST_LINE_BYTES)
        self.assertEqual(protocol.exception("a\nb", "")["message"], "a b")

    def test_lines_come_in_pieces(self):
        lines, heard = Lines(), []
        stream = b'{"type":"lease","seconds":1}\n{"type":"lease","seconds":2}\n{"type"'
        for place in range(0, len(stream), 7):
            heard += lines.feed(stream[place : place + 7])
        self.assertEqual(heard, [Lease(1.0), Lease(2.0)])

    def test_what_is_no_message_is_named(self):
        for bad in (
            b"nonsense",
            b"[]",
            b'{"type":7}',
            b'{"type":"group","epoch":-1,"members":[]}',
            b'{"type":"group","epoch":1,"members":{}}',
            b'{"type":"group","epoch":1,"members":[{"worker":"x"}]}',
            b'{"type":"lease","seconds":"x"}',
            b'{"type":"lease","seconds":NaN}',
            b'{"type":"welcome","protocol":2,"task":"t","lease_s":1}',
            b"[" * 100_000,
        ):
            with self.assertRaises(ProtocolError, msg=bad[:40]):
                protocol.parse(bad)
        with self.assertRaisesRegex(ProtocolError, "more than 262144 bytes"):
            list(Lines().feed(b" " * (protocol.MOST_LINE_BYTES + 1)))

    def test_garbage_is_borne(self):
        chance = random.Random(1)
        for _ in range(2000):
            garbage = bytes(chance.randrange(256) for _ in range(chance.randrange(60))) + b"\n"
            try:
                list(Lines().feed(garbage))
            except ProtocolError:
                pass

    def test_all_that_is_said_is_json(self):
        said = [
            protocol.hello(1, 2),
            protocol.ready("a:1", "f"),
            protocol.iteration(1, 2, "train"),
            protocol.rolled_back(1, 2),
            protocol.lost_peer(1, 2, "e" * 10_000),
            protocol.waiting(1, range(10_000)),
            protocol.checkpoint(1, 2, "/p"),
            protocol.done(1, 2, "/w", "ab"),
            protocol.exception("m", "t", "storage-error"),
        ]
        for message in said:
            self.assertEqual(json.loads(protocol.encode(message)), message)
        self.assertEqual(len(protocol.waiting(1, range(10_000))["workers"]), 4096)


if __name__ == "__main__":
    unittest.main()
