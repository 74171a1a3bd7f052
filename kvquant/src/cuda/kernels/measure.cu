// What the memory can do: the limit that attention is measured against.

// Reads everything and writes next to nothing.
extern "C" __global__ void __launch_bounds__(512) read_all(const uint4* data, u64 n, u32* sink) {
  u32 sum = 0;
  const u64 stride = (u64)gridDim.x * blockDim.x;
  u64 at = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  for (; at + 3 * stride < n; at += 4 * stride) {
    uint4 loaded[4];
#pragma unroll
    for (int i = 0; i < 4; i++) loaded[i] = __ldg(data + at + i * stride);
#pragma unroll
    for (int i = 0; i < 4; i++) sum += loaded[i].x ^ loaded[i].y ^ loaded[i].z ^ loaded[i].w;
  }
  for (; at < n; at += stride) {
    const uint4 loaded = __ldg(data + at);
    sum += loaded.x ^ loaded.y ^ loaded.z ^ loaded.w;
  }
  if (sum == 0x12345678) *sink = sum;
}
