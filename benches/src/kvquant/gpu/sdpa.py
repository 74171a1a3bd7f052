"""Prints a list, for the cases on standard input, of the median seconds of PyTorch's scaled-dot-product attention of
one token of each sequence over its history in half precision, by its fastest kernel. Caches are changed in turn, so that
nothing comes from the second-level cache."""

import json
import statistics
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
LAUNCHES = 8
WARM_UP = 2


def seconds(attend, caches, repeats):
    launches = len(caches) * -(-LAUNCHES // len(caches))
    times = []
    for _ in range(WARM_UP + repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for launch in range(launches):
            attend(*caches[launch % len(caches)])
        end.record()
        end.synchronize()
        times.append(1e-3 * start.elapsed_time(end) / launches)
    return statistics.median(times[WARM_UP:])


def fastest(case, repeats):
    batch, kv_heads, group = case["batch"], case["kv_heads"], case["group_size"]
    shape = (batch, kv_heads, case["context"], case["head_dim"])
    n_bytes = 2 * 2 * batch * kv_heads * case["context"] * case["head_dim"]
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    half = {"dtype": torch.float16, "device": "cuda"}
    caches = [
        (torch.randn(shape, **half), torch.randn(shape, **half))
        for _ in range(max(1, -(-4 * l2 // n_bytes)))
    ]
    # The queries of a KV head as so many tokens, which without a mask are the same; and as PyTorch means them.
    folded = torch.randn((batch, kv_heads, group, case["head_dim"]), **half)
    single = folded.reshape(batch, kv_heads * group, 1, case["head_dim"])
    forms = [
        lambda keys, values: scaled_dot_product_attention(folded, keys, values),
        lambda keys, values: scaled_dot_product_attention(single, keys, values, enable_gqa=group > 1),
    ]
    found = []
    for kernel in KERNELS:
        for attend in forms:
            try:
                with sdpa_kernel(kernel):
                    found.append((seconds(attend, caches, repeats), kernel.name))
            except RuntimeError:
                pass  # This kernel takes no such shape.
    return {"seconds": min(found)[0], "kernel": min(found)[1]} if found else None


request = json.load(sys.stdin)
results = []
for case in request["cases"]:
    with torch.no_grad():
        results.append(fastest(case, request["repeats"]))
    torch.cuda.empty_cache()
print(json.dumps({"version": torch.__version__, "results": results}))
