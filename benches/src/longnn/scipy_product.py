"""Prints the median time, in milliseconds, of scipy's product of the sparse matrix on standard input
with a dense one. One line of JSON, then offsets and columns as u32 and values as f32."""

import json
import statistics
import sys
import time

import numpy
import scipy.sparse

stream = sys.stdin.buffer
header = json.loads(stream.readline())
nodes, entries = header["nodes"], header["entries"]
offsets = numpy.frombuffer(stream.read(4 * (nodes + 1)), dtype="<u4").astype(numpy.int32)
columns = numpy.frombuffer(stream.read(4 * entries), dtype="<u4").astype(numpy.int32)
values = numpy.frombuffer(stream.read(4 * entries), dtype="<f4")
matrix = scipy.sparse.csr_matrix((values, columns, offsets), shape=(nodes, nodes))
dense = numpy.random.default_rng(0).standard_normal((nodes, header["columns"]), dtype=numpy.float32)
times = []
start = time.perf_counter()
while len(times) < header["repeats"] or time.perf_counter() - start < header["seconds"]:
    clock = time.perf_counter()
    matrix @ dense
    times.append(1e3 * (time.perf_counter() - clock))
print(statistics.median(times))
