"""Writes a Planetoid data set of nine nodes as Python 2, NumPy and SciPy pickled the public files.

Nothing but the standard library is needed: the classes below stand in for NumPy's and SciPy's and
reduce to the same calls. Run it here: python3 make.py
"""

import collections
import io
import pickle
import struct
import sys
import types


class Python2(pickle._Pickler):
    """Protocol 2 with Python 2's byte strings."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, text):
        raw = text.encode("ascii") if isinstance(text, str) else text
        if len(raw) < 256:
            self.write(b"U" + bytes([len(raw)]) + raw)
        else:
            self.write(b"T" + struct.pack("<i", len(raw)) + raw)
        self.memoize(text)

    dispatch[str] = save_string
    dispatch[bytes] = save_string


def stand_in(module, name):
    def add(thing):
        thing.__module__, thing.__qualname__, thing.__name__ = module, name, name
        parts = module.split(".")
        for package in (".".join(parts[: n + 1]) for n in range(len(parts))):
            sys.modules.setdefault(package, types.ModuleType(package))
        setattr(sys.modules[module], name, thing)
        return thing

    return add


@stand_in("numpy.core.multiarray", "_reconstruct")
def reconstruct():
    pass


@stand_in("numpy", "dtype")
class DType:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return DType, (self.name, 0, 1), (3, "<", None, None, None, -1, -1, 0)


@stand_in("numpy", "ndarray")
class Array:
    def __init__(self, name, shape, values):
        raw = struct.pack("<%d%s" % (len(values), {"i4": "i", "f4": "f", "f8": "d"}[name]), *values)
        self.state = (1, shape, DType(name), False, raw)

    def __reduce__(self):
        return reconstruct, (Array, (0,), "b"), self.state


@stand_in("scipy.sparse.csr", "csr_matrix")
class CsrMatrix:
    def __init__(self, n_columns, rows, name="f4"):
        pairs = [pair for row in rows for pair in row]
        starts = [0]
        for row in rows:
            starts.append(starts[-1] + len(row))
        self.format = "csr"
        self._shape = (len(rows), n_columns)
        self.indptr = Array("i4", (len(starts),), starts)
        self.indices = Array("i4", (len(pairs),), [column for column, _ in pairs])
        self.data = Array(name, (len(pairs),), [value for _, value in pairs])
        self.maxprint = 50


def one_hot(*classes):
    return Array("i4", (len(classes), 3), [int(c == k) for c in classes for k in range(3)])


def write(name, thing, pickler=Python2):
    with open(name, "wb") as file:
        pickler(file, 2).dump(thing)


# Nodes 0 to 4 have records in allx, 0 to 2 of them are for training; 8, 5 and 6 are the test nodes in
# this order, and 7 has no record at all, as fifteen nodes of CiteSeer.
write("ind.small.y", one_hot(0, 1, 2))
write("ind.small.ally", one_hot(0, 1, 2, 1, 0))
write("ind.small.ty", one_hot(2, 1, 0))
rows = [[(0, 1)], [(3, 1), (1, 0.5)], [], [(2, 1)], [(0, 1), (3, 1)]]
write("ind.small.allx", CsrMatrix(4, rows))
write("ind.small.tx", CsrMatrix(4, [[(1, 8)], [(1, 5)], [(1, 6)]], "f8"))
neighbours = {0: [1, 4, 1], 1: [0, 2], 2: [1, 2], 3: [8], 4: [0], 5: [6], 6: [5, 8], 8: [3, 6]}
write("ind.small.graph", collections.defaultdict(list, neighbours))
with open("ind.small.test.index", "w") as file:
    file.write("8\n5\n6\n")
# The same array as Python 3 writes it: bytes as Latin-1 text.
write("python3.y", one_hot(0, 1, 2), pickle._Pickler)
# What no data set needs.
write("hostile.y", io.BytesIO(b"x"), pickle._Pickler)
