// A Llama-family decoder around its attention. Between kernels, what products take is in half precision; what they
// give, and the hidden states that layers add to, is in single precision.
//
// Weights are rows of `n_inputs`, a multiple of 32, in half precision or as Q8_0: codes of a byte, and a
// half-precision scale for 32 of them. Everything that reads weights turns them into the same halves, so that a
// product does not depend on the number of its rows but by the order of its sums.

// Weights that a thread reads at a time, and registers that they fill.
constexpr u32 READ = 16;
constexpr u32 PAIRS = READ / 2;

__device__ inline void load_halves(u32 (&pairs)[PAIRS], const u16* from) {
#pragma unroll
  for (u32 i = 0; i < 2; i++) {
    const uint4 loaded = __ldg((const uint4*)from + i);
    pairs[4 * i] = loaded.x;
    pairs[4 * i + 1] = loaded.y;
    pairs[4 * i + 2] = loaded.z;
    pairs[4 * i + 3] = loaded.w;
  }
}

struct HalfWeights {
  const u16* values;

  __device__ void load(u32 (&pairs)[PAIRS], u64 at) const { load_halves(pairs, values + at); }
};

struct ByteWeights {
  const u8* codes;
  const u16* scales;

  __device__ void load(u32 (&pairs)[PAIRS], u64 at) const {
    const uint4 loaded = __ldg((const uint4*)(codes + at));
    const u32 words[4] = {loaded.x, loaded.y, loaded.z, loaded.w};
    const u32 scale = __ldg(scales + at / 32) * 0x10001u;
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
      // As the low byte of a half whose high byte is 0x64, code + 128 is the number 1024 + 128 + code.
      const u32 biased = words[i] ^ 0x80808080u;
      pairs[2 * i] = scaled(__byte_perm(biased, 0x64646464u, 0x4140), scale);
      pairs[2 * i + 1] = scaled(__byte_perm(biased, 0x64646464u, 0x4342), scale);
    }
  }

  static __device__ u32 scaled(u32 biased, u32 scale) {
    u32 pair;
    asm("{\n"
        ".reg .b32 code;\n"
        "sub.rn.f16x2 code, %1, %2;\n"
        "mul.rn.f16x2 %0, code, %3;\n"
        "}"
        : "=r"(pair)
        : "r"(biased), "r"(0x64806480u), "r"(scale));
    return pair;
  }
};

__device__ inline void multiply_add(float (&sums)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Outputs of a block, inputs of a step of a warp, and warps at most.
constexpr u32 OUTPUTS = 16;
constexpr u32 STEP = 64;
constexpr u32 MOST_WARPS = 8;

// Products of up to 8 * TILES rows of activations `[n_rows][n_inputs]` to `[n_rows][n_outputs]`, every weight read
// once. A block has 16 outputs; its warps take steps of 64 inputs in turn, on tensor cores.
//
// Lane (g, t) of a warp (g = lane / 4, t = lane % 4) reads inputs 16 t to 16 t + 15 of a step: of weights g and
// g + 8, and of row g of the activations. Tensor cores want them in another order, but as both operands have the
// same one, each product of a weight and its activation is still made, once.
template <class Weights, u32 TILES>
__device__ inline void linear(const Weights& weights, const u16* __restrict__ activations,
                              const float* __restrict__ bias, float* outputs, u32 n_inputs, u32 n_outputs,
                              u32 n_rows, u32 is_added) {
  __shared__ float partial[MOST_WARPS][TILES * 4][32];
  const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, n_warps = blockDim.x / 32;
  const u32 g = lane / 4, t = lane % 4;
  const u32 first = blockIdx.x * OUTPUTS;
  // The last block may have fewer outputs: it reads the last one again, and drops it.
  const u64 upper = (u64)min(first + g, n_outputs - 1) * n_inputs;
  const u64 lower = (u64)min(first + g + 8, n_outputs - 1) * n_inputs;

  float sums[TILES][4] = {};
#pragma unroll 2
  for (u32 start = warp * STEP; start < n_inputs; start += n_warps * STEP) {
    const u32 input = start + t * READ;
    u32 a[PAIRS] = {}, b[PAIRS] = {};
    if (input < n_inputs) {
      weights.load(a, upper + input);
      weights.load(b, lower + input);
    }
#pragma unroll
    for (u32 tile = 0; tile < TILES; tile++) {
      const u32 row = tile * 8 + g;
      u32 x[PAIRS] = {};
      if (input < n_inputs && row < n_rows) load_halves(x, activations + (u64)row * n_inputs + input);
#pragma unroll
      for (u32 i = 0; i < PAIRS; i += 2) {
        multiply_add(sums[tile], a[i], b[i], a[i + 1], b[i + 1], x[i], x[i + 1]);
      }
    }
  }
#pragma unroll
  for (u32 tile = 0; tile < TILES; tile++) {
#pragma unroll
    for (u32 i = 0; i < 4; i++) partial[warp][tile * 4 + i][lane] = sums[tile][i];
  }
  __syncthreads();
  for (u32 at = threadIdx.x; at < TILES * 4 * 32; at += blockDim.x) {
    const u32 of_lane = at % 32, i = at / 32 % 4, tile = at / 128;
    const u32 output = first + of_lane / 4 + i / 2 * 8;
    const u32 row = tile * 8 + of_lane % 4 * 2 + i % 2;
    if (output >= n_outputs || row >= n_rows) continue;
    float sum = bias ? bias[output] : 0.0f;
    for (u32 of_warp = 0; of_warp < n_warps; of_warp++) sum += partial[of_warp][at / 32][of_lane];
    float* to = outputs + (u64)row * n_outputs + output;
    *to = is_added ? *to + sum : sum;
  }
}

#define LINEAR_HALF(NAME, TILES)                                                                                  \
  extern "C" __global__ void __launch_bounds__(MOST_WARPS * 32)                                                   \
      NAME(const u16* values, const u16* activations, const float* bias, float* outputs, u32 n_inputs,            \
           u32 n_outputs, u32 n_rows, u32 is_added) {                                                             \
    linear<HalfWeights, TILES>(HalfWeights{values}, activations, bias, outputs, n_inputs, n_outputs, n_rows,      \
                               is_added);                                                                         \
  }
#define LINEAR_BYTES(NAME, TILES)                                                                                 \
  extern "C" __global__ void __launch_bounds__(MOST_WARPS * 32)                                                   \
      NAME(const u8* codes, const u16* scales, const u16* activations, const float* bias, float* outputs,         \
           u32 n_inputs, u32 n_outputs, u32 n_rows, u32 is_added) {                                               \
    linear<ByteWeights, TILES>(ByteWeights{codes, scales}, activations, bias, outputs, n_inputs, n_outputs,       \
                               n_rows, is_added);                                                                 \
  }
LINEAR_HALF(linear_half_8, 1)
LINEAR_HALF(linear_half_16, 2)
LINEAR_BYTES(linear_bytes_8, 1)
LINEAR_BYTES(linear_bytes_16, 2)

// The `n` weights from `first` on in half precision, for products by cuBLAS.
extern "C" __global__ void expand(const u8* codes, const u16* scales, u16* halves, u64 first, u64 n) {
  const u64 at = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * READ;
  if (at >= n) return;
  u32 pairs[PAIRS];
  ByteWeights{codes, scales}.load(pairs, first + at);
#pragma unroll
  for (u32 i = 0; i < 2; i++) {
    uint4 four;
    four.x = pairs[4 * i];
    four.y = pairs[4 * i + 1];
    four.z = pairs[4 * i + 2];
    four.w = pairs[4 * i + 3];
    *((uint4*)(halves + at) + i) = four;
  }
}

// `[n_rows][n_outputs]` plus a bias; a block of threads for some outputs of a row.
extern "C" __global__ void add_bias(float* outputs, const float* bias, u32 n_outputs) {
  const u32 output = blockIdx.x * blockDim.x + threadIdx.x;
  if (output < n_outputs) outputs[(u64)blockIdx.y * n_outputs + output] += bias[output];
}

// Rows of the embedding table.
template <class Weights>
__device__ inline void embed(const Weights& table, const u32* tokens, float* hidden, u32 n_inputs) {
  const u32 input = (blockIdx.x * blockDim.x + threadIdx.x) * READ;
  if (input >= n_inputs) return;
  u32 pairs[PAIRS];
  table.load(pairs, (u64)tokens[blockIdx.y] * n_inputs + input);
  float* to = hidden + (u64)blockIdx.y * n_inputs + input;
#pragma unroll
  for (u32 i = 0; i < PAIRS; i++) {
    to[2 * i] = half_to_float(pairs[i] & 0xffff);
    to[2 * i + 1] = half_to_float(pairs[i] >> 16);
  }
}

extern "C" __global__ void embed_half(const u16* values, const u32* tokens, float* hidden, u32 n_inputs) {
  embed(HalfWeights{values}, tokens, hidden, n_inputs);
}

extern "C" __global__ void embed_bytes(const u8* codes, const u16* scales, const u32* tokens, float* hidden,
                                       u32 n_inputs) {
  embed(ByteWeights{codes, scales}, tokens, hidden, n_inputs);
}

// RMS normalisation (Zhang and Sennrich 2019); a block a row, whose length is a multiple of 4.
extern "C" __global__ void __launch_bounds__(256) rms_norm(const float* rows, const float* weight, u16* normed,
                                                          u32 len, float epsilon) {
  __shared__ float of_warp[8];
  const float4* row = (const float4*)(rows + (u64)blockIdx.x * len);
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < len / 4; i += blockDim.x) {
    const float4 v = row[i];
    sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
#pragma unroll
  for (u32 step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0.0f;
  for (u32 warp = 0; warp < blockDim.x / 32; warp++) sum += of_warp[warp];
  const float scale = 1.0f / sqrtf(sum / len + epsilon);
  uint2* to = (uint2*)(normed + (u64)blockIdx.x * len);
  for (u32 i = threadIdx.x; i < len / 4; i += blockDim.x) {
    const float4 v = row[i], w = ((const float4*)weight)[i];
    uint2 halves;
    halves.x = pack_halves(v.x * scale * w.x, v.y * scale * w.y);
    halves.y = pack_halves(v.z * scale * w.z, v.w * scale * w.w);
    to[i] = halves;
  }
}

// Cosines and sines of rotary embedding, `[rows][n_pairs]`. Row r is token r % n_new of the new ones of sequence
// r / n_new. Double precision as on the CPU: at position 100,000 single precision is off by hundredths.
extern "C" __global__ void turns(const double* frequencies, const u32* lengths, float2* turns, u32 n_pairs,
                                 u32 n_new) {
  const u32 row = blockIdx.x;
  const u32 position = lengths[row / n_new] + row % n_new;
  for (u32 pair = threadIdx.x; pair < n_pairs; pair += blockDim.x) {
    double sin, cos;
    sincos(position * frequencies[pair], &sin, &cos);
    float2 turn;
    turn.x = (float)cos;
    turn.y = (float)sin;
    turns[(u64)row * n_pairs + pair] = turn;
  }
}

// Parts the rows `[query heads, key heads, value heads][head_dim]` of one product, and turns queries and keys. A
// thread has a pair of channels: 2i and 2i + 1, or with `is_halves` i and i + n_pairs.
extern "C" __global__ void split_heads(const float* projected, const float2* turns, float* queries, float* keys,
                                       float* values, u32 n_heads, u32 n_kv_heads, u32 head_dim, u32 n_pairs,
                                       u32 is_halves) {
  const u32 row = blockIdx.y;
  const u32 n_all = n_heads + 2 * n_kv_heads;
  const u32 at = blockIdx.x * blockDim.x + threadIdx.x;
  const u32 head = at / (head_dim / 2), pair = at % (head_dim / 2);
  if (head >= n_all) return;
  const float* from = projected + ((u64)row * n_all + head) * head_dim;
  float* to;
  if (head < n_heads) {
    to = queries + ((u64)row * n_heads + head) * head_dim;
  } else if (head < n_heads + n_kv_heads) {
    to = keys + ((u64)row * n_kv_heads + head - n_heads) * head_dim;
  } else {
    to = values + ((u64)row * n_kv_heads + head - n_heads - n_kv_heads) * head_dim;
  }
  const bool has_turn = pair < n_pairs;
  const u32 i = is_halves && has_turn ? pair : 2 * pair;
  const u32 j = is_halves && has_turn ? pair + n_pairs : 2 * pair + 1;
  const float x = from[i], y = from[j];
  if (has_turn && head < n_heads + n_kv_heads) {
    const float2 turn = turns[(u64)row * n_pairs + pair];
    to[i] = x * turn.x - y * turn.y;
    to[j] = x * turn.y + y * turn.x;
  } else {
    to[i] = x;
    to[j] = y;
  }
}

// Some models have a few activations beyond what halves reach; they stay the largest.
__device__ inline float in_range(float x) { return x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x; }

__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }

// SwiGLU (Shazeer 2020): rows `[gates, ups]` of `len` each to silu(gate) * up; a thread has two of them.
extern "C" __global__ void gate(const float* gates_and_ups, u16* activated, u32 len) {
  const u32 at = (blockIdx.x * blockDim.x + threadIdx.x) * 2;
  if (at >= len) return;
  const float* row = gates_and_ups + (u64)blockIdx.y * 2 * len;
  const float2 gate = *(const float2*)(row + at), up = *(const float2*)(row + len + at);
  const u32 halves = pack_halves(in_range(silu(gate.x) * up.x), in_range(silu(gate.y) * up.y));
  *(u32*)(activated + (u64)blockIdx.y * len + at) = halves;
}

// The likeliest token of each sequence, the first of equals: the next step's, and at `lengths` in the sequence's
// `[n_kept]` of history. A block a sequence.
extern "C" __global__ void __launch_bounds__(1024) argmax(const float* logits, const u32* lengths, u32* tokens,
                                                         u32* history, u32 n_kept, u32 vocab_size) {
  __shared__ float highest_of_warp[32];
  __shared__ u32 best_of_warp[32];
  const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const float* row = logits + (u64)blockIdx.x * vocab_size;
  float highest = -INFINITY;
  u32 best = vocab_size;
  const auto take = [&](float other, u32 id) {
    if (other > highest || (other == highest && id < best)) {
      highest = other;
      best = id;
    }
  };
  for (u32 id = threadIdx.x; id < vocab_size; id += blockDim.x) take(row[id], id);
#pragma unroll
  for (u32 step = 16; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(~0u, highest, step);
    take(other, __shfl_xor_sync(~0u, best, step));
  }
  if (lane == 0) {
    highest_of_warp[warp] = highest;
    best_of_warp[warp] = best;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (u32 other = 1; other < blockDim.x / 32; other++) take(highest_of_warp[other], best_of_warp[other]);
  // Nothing is larger than minus infinity where every logit is not a number.
  const u32 token = best < vocab_size ? best : 0;
  tokens[blockIdx.x] = token;
  if (lengths[blockIdx.x] < n_kept) history[(u64)blockIdx.x * n_kept + lengths[blockIdx.x]] = token;
}
