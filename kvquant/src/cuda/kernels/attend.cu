// Split-KV attention over packed and half-precision tokens.
//
// A block of threads takes one KV head, up to eight columns and a part of the history. A column is one query: a
// query head at a new token. Each warp takes blocks of 64 tokens in turn, with its own softmax; at the end the
// warps are merged, and the last block of threads to finish merges the parts.
//
// Nothing is dequantized. With keys k = s c + z by channel, q k = (q s) c + q z: the scales go into the query,
// and the codes go into the tensor cores digit by digit, as they lie. Values likewise: the scale of a token goes into
// its weight.
//
// Defines: HEAD_DIM (64 or 128); KEYS and VALUES (how packed tokens' parameters are stored, `PARAMS_...`); KEY_GROUP,
// VALUE_GROUP.

constexpr u32 COLUMNS = 8;
constexpr u32 WARPS = 4;
constexpr int KEY_STEPS = HEAD_DIM / 32;
constexpr int ROW_TILES = HEAD_DIM / 16;
constexpr int VALUE_SETS = VALUES == PARAMS_HALVES ? HEAD_DIM / VALUE_GROUP : 1;
// Where nothing is packed, rows stream through shared memory in tiles of 16 tokens, far enough ahead of their use to
// keep the memory busy; the few rows of a packed layer are loaded as they are needed.
#define IS_STREAMED (KEYS == PARAMS_NONE && VALUES == PARAMS_NONE)
constexpr u32 TILE_BYTES = 16 * HEAD_DIM * 2;
constexpr u32 SLOTS = 16384 / TILE_BYTES;
// Blocks of threads on a multiprocessor, which registers are shared out for; shared memory has room for three where
// rows are streamed.
constexpr u32 MIN_BLOCKS = IS_STREAMED ? 3 : 4;
// Padded so that rows of the query lie in different banks.
constexpr int QUERY_STRIDE = HEAD_DIM + 32;

struct Attend {
  Side keys;
  Side values;
  // `[sequences][n_new][n_heads][HEAD_DIM]`
  const float* queries;
  // `[sequences][n_new][n_heads][HEAD_DIM]`; the one that is not null.
  float* output;
  u16* half_output;
  // `[z][y][splits][COLUMNS][HEAD_DIM]`, the maximum and sum of each column, and how many parts are done.
  float* partial;
  float2* partial_sums;
  u32* done;
  // Tokens of each sequence before the new ones.
  const u32* lengths;
  u32 n_heads;
  u32 n_kv_heads;
  u32 n_new;
  u32 n_sinks;
  u32 n_splits;
  // Whether the new tokens lie in the chunk; else in the ring.
  u32 in_chunk;
  // Dynamic shared memory: bytes of the queries by digits, of a warp's scales by digits, of a stage of its pipeline,
  // and where values are in a stage.
  u32 query_bytes;
  u32 scale_bytes;
  u32 stage_bytes;
  u32 stage_values;
  float logit_scale;
};

__device__ inline void multiply(float (&d)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

__device__ inline u32 transpose(u32 matrix) {
  u32 transposed;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(matrix));
  return transposed;
}

__device__ inline u32 multiply_halves(u32 left, u32 right) {
  u32 product;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(product) : "r"(left), "r"(right));
  return product;
}

__device__ inline u32 double_halves(u32 halves) {
  u32 doubled;
  asm("add.rn.f16x2 %0, %1, %1;" : "=r"(doubled) : "r"(halves));
  return doubled;
}

// Of ordinary numbers and minus infinity.
__device__ inline float fast_exp2(float exponent) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(exponent));
  return power;
}

#if !IS_STREAMED
// Has a block of half-precision rows brought near while other work goes on; all threads together.
__device__ inline void prefetch(const u16* rows) {
  for (u32 line = threadIdx.x; line < BLOCK * HEAD_DIM * 2 / 128; line += WARPS * 32)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(rows + line * 64));
}
#endif

__device__ inline float power(int exponent) { return __int_as_float((exponent + 127) << 23); }

// 16 bytes through the read-only path.
__device__ inline uint4 load16(const void* address) { return __ldg((const uint4*)address); }

__device__ inline float maximum_over_rows(float value) {
  value = fmaxf(value, __shfl_xor_sync(~0u, value, 4));
  value = fmaxf(value, __shfl_xor_sync(~0u, value, 8));
  return fmaxf(value, __shfl_xor_sync(~0u, value, 16));
}

__device__ inline float sum_over_rows(float value) {
  value += __shfl_xor_sync(~0u, value, 4);
  value += __shfl_xor_sync(~0u, value, 8);
  return value + __shfl_xor_sync(~0u, value, 16);
}

// The two columns of a lane, 2t and 2t + 1.
struct Columns {
  // Tokens after the sinks that the query sees packed, as keys and as values, and the first that it does not see.
  u32 keys_packed[2];
  u32 values_packed[2];
  u32 end[2];
  // Sinks that it sees.
  u32 sinks_end[2];
  // What normalised products are multiplied by.
  float scale[2];
};

// What a warp has summed so far. Sums of values are in units of 2^(shift - 24) * value_unit while `is_scaled`.
struct Sums {
  float output[ROW_TILES][4];
  // What scales and zeros of packed values come to: of one scale to a token, the sum of weights times scales, in units
  // of `value_unit`; else, of each group of channels, the lane's part of the sum of weights times zeros.
#if VALUES == PARAMS_BYTES
  float scales[4];
#endif
#if VALUES == PARAMS_HALVES
  float zeros[VALUE_SETS][2];
#endif
  float maximum[2];
  float sum[2];
  bool is_scaled;
};

// A channel of a key head, as its lane needs it.
struct KeyChannel {
  float range;
  // The code half-way between the least and the greatest.
  float middle;
  u16 first_pair;
  u16 single;
  u16 bits;
  u16 scale_index;
};

struct Warp {
  u32 lane, g, t;
  // Scales in bytes, relative to the largest.
  const float* scale_table;
  // Shared memory: queries in single precision (a channel's columns side by side), in half precision and by digits,
  // and this warp's scales by digits.
  const float* queries;
  const u16* half_queries;
  const u16* digit_queries;
  u16* scales;
};

// The power that an accumulator of row i of its lane is off by: shift 2 (i % 4).
__device__ constexpr int row_exponent(int i) { return 24 - 2 * (i % 4); }

// Rows 16 m to 16 m + 15 of a tile of digits times two columns. `first` has the rows up to g + 24, `second` the others,
// and `mask` the bits of a digit.
__device__ inline void multiply_rows(float (&sums)[4], u32 m, u32 first, u32 second, u32 mask, u32 b0, u32 b1) {
  const u32 low = m < 2 ? first : second, high = low >> 8;
  const u32 even = mask << (4 * (m % 2)), odd = even << 2;
  multiply(sums, low & even, low & odd, high & even, high & odd, b0, b1);
}

// Two halves of one.
constexpr u32 ONES = 0x3c003c00;
constexpr u32 PAIR_MASK = 0x00030003, SINGLE_MASK = 0x00010001;

__device__ inline void set_scaled(Sums& sums, bool scaled, float value_unit) {
  if (sums.is_scaled == scaled) return;
  sums.is_scaled = scaled;
#pragma unroll
  for (int m = 0; m < ROW_TILES; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int exponent = row_exponent(2 * (m % 4) + half);
      const float factor = scaled ? power(-exponent) * value_unit : power(exponent) / value_unit;
      sums.output[m][2 * half] *= factor;
      sums.output[m][2 * half + 1] *= factor;
    }
  }
}

// Products of the queries with 16 half-precision keys; `load` gives eight channels of row g or g + 8.
template <class Load>
__device__ inline void exact_logits(const Warp& warp, Load load, float (&products)[4]) {
#pragma unroll
  for (u32 step = 0; step < KEY_STEPS; step++) {
    const uint4 first = load(warp.g, step), second = load(warp.g + 8, step);
    const uint4 query = *(const uint4*)(warp.half_queries + warp.g * QUERY_STRIDE + 32 * step + 8 * warp.t);
    multiply(products, first.x, second.x, first.y, second.y, query.x, query.y);
    multiply(products, first.z, second.z, first.w, second.w, query.z, query.w);
  }
}

// Adds 16 half-precision values by their weights; `load` gives four channels of the pair of rows t or t + 4.
template <class Load>
__device__ inline void exact_values(const Warp& warp, Load load, const u32 (&weights)[2], Sums& sums) {
#pragma unroll
  for (u32 i = 0; i < KEY_STEPS; i++) {
    const uint4 low = load(warp.t, i), high = load(warp.t + 4, i);
    multiply(sums.output[2 * i], low.x, low.y, high.x, high.y, weights[0], weights[1]);
    multiply(sums.output[2 * i + 1], low.z, low.w, high.z, high.w, weights[0], weights[1]);
  }
}

// Folds new logits into the running maximum; they become weights.
__device__ inline void soften(float (&logits)[4][4], Sums& sums) {
  float factor[2];
#pragma unroll
  for (int column = 0; column < 2; column++) {
    float greatest = -INFINITY;
#pragma unroll
    for (int m = 0; m < 4; m++) greatest = fmaxf(greatest, fmaxf(logits[m][column], logits[m][2 + column]));
    greatest = fmaxf(sums.maximum[column], maximum_over_rows(greatest));
    // Nothing seen yet: any finite base will do.
    const float base = greatest == -INFINITY ? 0.0f : greatest;
    factor[column] = greatest == sums.maximum[column] ? 1.0f : fast_exp2(sums.maximum[column] - base);
    sums.maximum[column] = greatest;
    float sum = 0.0f;
#pragma unroll
    for (int m = 0; m < 4; m++) {
      logits[m][column] = fast_exp2(logits[m][column] - base);
      logits[m][2 + column] = fast_exp2(logits[m][2 + column] - base);
      sum += logits[m][column] + logits[m][2 + column];
    }
    sums.sum[column] = sums.sum[column] * factor[column] + sum;
  }
  if (__any_sync(~0u, factor[0] != 1.0f || factor[1] != 1.0f)) {
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++) {
#pragma unroll
      for (int i = 0; i < 4; i++) sums.output[m][i] *= factor[i & 1];
    }
#if VALUES == PARAMS_BYTES
    sums.scales[0] *= factor[0];
    sums.scales[1] *= factor[1];
#elif VALUES == PARAMS_HALVES
#pragma unroll
    for (int set = 0; set < VALUE_SETS; set++) {
      sums.zeros[set][0] *= factor[0];
      sums.zeros[set][1] *= factor[1];
    }
#endif
  }
}

#if KEYS != PARAMS_NONE
// Sums of `products` over the warp: of the lane's columns, 2t and 2t + 1.
__device__ inline void sum_columns(const Warp& warp, float (&products)[COLUMNS], float (&sums)[2]) {
  // Lanes that differ in a bit share the columns that differ in one.
#pragma unroll
  for (u32 half = COLUMNS / 2; half > 0; half /= 2) {
    const bool upper = warp.lane & (4 * half);
#pragma unroll
    for (u32 h = 0; h < half; h++) {
      const float kept = upper ? products[h + half] : products[h], sent = upper ? products[h] : products[h + half];
      products[h] = kept + __shfl_xor_sync(~0u, sent, 4 * half);
    }
  }
  float sum = products[0];
  sum += __shfl_xor_sync(~0u, sum, 1);
  sum += __shfl_xor_sync(~0u, sum, 2);
  // Column h is now in the lanes 4 h to 4 h + 3.
  sums[0] = __shfl_sync(~0u, sum, 8 * warp.t);
  sums[1] = __shfl_sync(~0u, sum, 8 * warp.t + 4);
}

// Reads the parameters of one group of keys: scales by digits, and q z of the lane's columns.
__device__ inline void read_group(const Warp& warp, const KeyChannel* channels, const u8* params, bool few_columns,
                                  u16* scales, u32 first_single, float (&zeros)[2]) {
  float products[COLUMNS];
#pragma unroll
  for (u32 h = 0; h < COLUMNS; h++) products[h] = 0.0f;
#pragma unroll
  for (u32 i = 0; i < HEAD_DIM / 32; i++) {
    const u32 c = warp.lane + 32 * i;
    const KeyChannel channel = channels[c];
    // Channels of no bits have no scale: what is read in its place has no digits to weigh, and no middle.
#if KEYS == PARAMS_BYTES
    const float scale = channel.range * warp.scale_table[params[HEAD_DIM + channel.scale_index]];
    const float stored = (float)(i8)params[c] * (channel.range * (1.0f / 127.0f));
#else
    const u16* halves = (const u16*)params;
    const float scale = half_to_float(halves[HEAD_DIM + channel.scale_index]);
    const float stored = half_to_float(halves[c]);
#endif
#if KEYS == PARAMS_HALVES
    const float zero = stored;
#else
    const float zero = channel.bits ? stored - scale * channel.middle : stored;
#endif
    const u16 half_scale = float_to_half(scale);
    u16* const pairs = scales + channel.first_pair;
#pragma unroll
    for (u32 j = 0; j < 4; j++) {
      if (channel.bits >= 2 * j + 2) pairs[j] = half_scale;
    }
    if (channel.bits % 2) scales[first_single + channel.single] = half_scale;
    const float4* query = (const float4*)(warp.queries + c * COLUMNS);
    const float4 low = query[0];
    products[0] += low.x * zero;
    products[1] += low.y * zero;
    products[2] += low.z * zero;
    products[3] += low.w * zero;
    if (!few_columns) {
      const float4 high = query[1];
      products[4] += high.x * zero;
      products[5] += high.y * zero;
      products[6] += high.z * zero;
      products[7] += high.w * zero;
    }
  }
  sum_columns(warp, products, zeros);
}

// Products of the queries with a block of packed keys, without their zeros: queries by digits times scales are the
// weights of the digits.
__device__ inline void packed_logits(const Warp& warp, const u8* codes, u32 pair_steps, u32 single_steps,
                                     u32 all_pair_bytes, float (&products)[4][4]) {
  const u32 at = warp.t * 8 + warp.g;
  const uint2* queries = (const uint2*)warp.digit_queries + warp.lane;
  const uint2* scales = (const uint2*)warp.scales + warp.t;
  const u32 set_stride = (pair_steps + single_steps) * 4;
  auto weigh = [&](u32 step, uint2 (&weight)[KEY_SETS]) {
    const uint2 query = queries[step * 32];
#pragma unroll
    for (int set = 0; set < KEY_SETS; set++) {
      const uint2 scale = scales[set * set_stride + step * 4];
      weight[set].x = multiply_halves(query.x, scale.x);
      weight[set].y = multiply_halves(query.y, scale.y);
    }
  };
  auto add = [&](u32 first, u32 second, u32 mask, const uint2 (&weight)[KEY_SETS]) {
#pragma unroll
    for (u32 m = 0; m < 4; m++) {
      const uint2 b = weight[m * KEY_SETS / 4];
      multiply_rows(products[m], m, first, second, mask, b.x, b.y);
    }
  };
  const uint2* pairs = (const uint2*)codes + at;
#pragma unroll 4
  for (u32 step = 0; step < pair_steps; step++) {
    uint2 weight[KEY_SETS];
    weigh(step, weight);
    const uint2 words = pairs[step * 32];
    add(words.x, words.y, PAIR_MASK, weight);
  }
  const u32* singles = (const u32*)(codes + all_pair_bytes) + at;
#pragma unroll 4
  for (u32 step = 0; step < single_steps; step++) {
    uint2 weight[KEY_SETS];
    weigh(pair_steps + step, weight);
    const u32 word = singles[step * 32];
    add(word, word >> 1, SINGLE_MASK, weight);
  }
}
#endif

extern "C" __global__ void __launch_bounds__(WARPS * 32, MIN_BLOCKS) attend(const __grid_constant__ Attend a) {
  extern __shared__ __align__(16) u8 shared[];
  __shared__ __align__(16) float queries[COLUMNS * HEAD_DIM];
  __shared__ __align__(16) u16 half_queries[COLUMNS * QUERY_STRIDE];
  __shared__ float query_scales[COLUMNS];
#if KEYS != PARAMS_NONE
  __shared__ __align__(16) KeyChannel channels[HEAD_DIM];
#endif
  __shared__ float scale_table[256];
  const u32 warp_idx = threadIdx.x / 32;
  Warp warp;
  warp.lane = threadIdx.x % 32;
  warp.g = warp.lane / 4;
  warp.t = warp.lane % 4;
  warp.scale_table = scale_table;
  warp.queries = queries;
  warp.half_queries = half_queries;
  warp.digit_queries = (const u16*)shared;
  warp.scales = (u16*)(shared + a.query_bytes + warp_idx * a.scale_bytes);
  u8* const stages = shared + a.query_bytes + WARPS * a.scale_bytes + warp_idx * 2 * a.stage_bytes;

  // Which queries.
  const u32 group_size = a.n_heads / a.n_kv_heads;
  const u32 head_parts = (group_size + COLUMNS - 1) / COLUMNS;
  const u32 kv_head = blockIdx.y / head_parts, first_head = blockIdx.y % head_parts * COLUMNS;
  const u32 heads = min(group_size - first_head, COLUMNS);
  const u32 tokens = COLUMNS / min(group_size, COLUMNS);
  const u32 token_blocks = (a.n_new + tokens - 1) / tokens;
  const u32 sequence = blockIdx.z / token_blocks, first_token = blockIdx.z % token_blocks * tokens;
  const u32 length = a.lengths[sequence];
  const u32 n_columns = min(tokens, a.n_new - first_token) * heads;

  for (u32 h = warp_idx; h < COLUMNS; h += WARPS) {
    float row[HEAD_DIM / 32], greatest = 0.0f;
    const u32 token = first_token + h / heads, head = kv_head * group_size + first_head + h % heads;
    const float* query = a.queries + (((u64)sequence * a.n_new + token) * a.n_heads + head) * HEAD_DIM;
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 32; i++) row[i] = h < n_columns ? query[warp.lane + 32 * i] : 0.0f;
    if (a.keys.is_rotated) rotate(row, warp.lane);
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 32; i++) greatest = fmaxf(greatest, fabsf(row[i]));
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2)
      greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, distance));
    // Queries are normalised to 1, so that no weight of a digit leaves the range of halves.
    const float inverse = greatest > 0.0f ? 1.0f / greatest : 0.0f;
    if (warp.lane == 0) query_scales[h] = greatest * a.logit_scale;
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 32; i++) {
      queries[(warp.lane + 32 * i) * COLUMNS + h] = row[i] * inverse;
      half_queries[h * QUERY_STRIDE + warp.lane + 32 * i] = float_to_half(row[i] * inverse);
    }
  }
  for (u32 byte = threadIdx.x; byte < 256; byte += WARPS * 32)
    scale_table[byte] = byte == 0 ? 0.0f : exp2f((byte - 255.0f) / 16.0f);
#if KEYS != PARAMS_NONE
  for (u32 c = threadIdx.x; c < HEAD_DIM; c += WARPS * 32) {
    const Channel channel = a.keys.channels[kv_head * HEAD_DIM + c];
    channels[c] = {channel.range,       0.5f * ((1u << channel.bits) - 1), channel.first_pair,
                   channel.single, channel.bits,  channel.scale_index};
  }
  // Digits and columns beyond the last weigh nothing.
  for (u32 i = threadIdx.x; i < (a.query_bytes + WARPS * a.scale_bytes) / 4; i += WARPS * 32) ((u32*)shared)[i] = 0;
#endif
  __syncthreads();
#if KEYS != PARAMS_NONE
  const Head key_head = a.keys.heads[kv_head];
  const u32 pair_steps = (key_head.pairs + 15) / 16, single_steps = (key_head.singles + 15) / 16;
  for (u32 i = threadIdx.x; i < HEAD_DIM * COLUMNS; i += WARPS * 32) {
    const u32 c = i / COLUMNS, h = i % COLUMNS, bits = channels[c].bits;
    float query = queries[i];
    auto put = [&](u32 column) { ((u16*)shared)[column / 16 * 128 + h * 16 + column % 16] = float_to_half(query); };
    for (u32 j = 0; j < bits / 2; j++) {
      put(channels[c].first_pair + j);
      query *= 4.0f;
    }
    if (bits % 2) put(16 * pair_steps + channels[c].single);
  }
  __syncthreads();
#endif

  Columns columns;
#pragma unroll
  for (int column = 0; column < 2; column++) {
    const u32 h = 2 * warp.t + column;
    const bool is_query = h < n_columns;
    const u32 position = length + first_token + h / heads;
    const u32 before = saturating_sub(position, a.n_sinks);
    columns.keys_packed[column] = packed_at_rest(a.keys, before);
    columns.values_packed[column] = packed_at_rest(a.values, before);
    columns.end[column] = is_query ? saturating_sub(position + 1, a.n_sinks) : 0;
    columns.sinks_end[column] = is_query ? min(position + 1, a.n_sinks) : 0;
    columns.scale[column] = query_scales[h];
  }
  // The same for all columns together, the same in all lanes: tokens grow with the column.
  const u32 first_before = saturating_sub(length + first_token, a.n_sinks);
  const u32 last_position = length + first_token + (n_columns - 1) / heads;
  const u32 last_before = saturating_sub(last_position, a.n_sinks);
  const u32 least_keys = packed_at_rest(a.keys, first_before), most_keys = packed_at_rest(a.keys, last_before);
  const u32 least_values = packed_at_rest(a.values, first_before);
  const u32 most_values = packed_at_rest(a.values, last_before);
  const u32 least_end = saturating_sub(length + first_token + 1, a.n_sinks);
  const u32 most_end = saturating_sub(last_position + 1, a.n_sinks);
  const u32 first_chunk_block = a.in_chunk ? saturating_sub(length, a.n_sinks) / BLOCK : ~0u;

  // Which part of the history: units of whole groups, in turn for the warps.
  const u32 n_blocks = (most_end + BLOCK - 1) / BLOCK;
  const u32 n_units = (n_blocks + UNIT - 1) / UNIT;
  const u32 units_per_split = (n_units + a.n_splits - 1) / a.n_splits;
  const u32 end_block = min((blockIdx.x + 1) * units_per_split * UNIT, n_blocks);
  const u32 first_block = (blockIdx.x * units_per_split + warp_idx) * UNIT;
  // The warp's jobs: first sinks, in blocks of their own, for the last warp of the first part; then its blocks.
  const u32 sink_jobs = blockIdx.x == 0 && warp_idx == WARPS - 1 ? (a.n_sinks + BLOCK - 1) / BLOCK : 0;
  auto block_of = [&](u32 job) {
    const u32 nth = job - sink_jobs;
    return first_block + nth / UNIT * (WARPS * UNIT) + nth % UNIT;
  };
  auto is_job = [&](u32 job) { return job < sink_jobs || block_of(job) < end_block; };
  auto rows_of = [&](const Side& side, u32 job) {
    return job < sink_jobs
               ? sink_block(side, kv_head, a.n_kv_heads, sequence) + job * BLOCK * HEAD_DIM
               : exact_block(side, kv_head, a.n_kv_heads, sequence, block_of(job), first_chunk_block);
  };

#if !IS_STREAMED
  for (u32 block = max(blockIdx.x * units_per_split * UNIT, least_keys / BLOCK); block < end_block; block++)
    prefetch(exact_block(a.keys, kv_head, a.n_kv_heads, sequence, block, first_chunk_block));
  for (u32 block = max(blockIdx.x * units_per_split * UNIT, least_values / BLOCK); block < end_block; block++)
    prefetch(exact_block(a.values, kv_head, a.n_kv_heads, sequence, block, first_chunk_block));
#endif

  Sums sums;
#pragma unroll
  for (int m = 0; m < ROW_TILES; m++) sums.output[m][0] = sums.output[m][1] = sums.output[m][2] = sums.output[m][3] = 0;
#if VALUES == PARAMS_BYTES
  sums.scales[0] = sums.scales[1] = sums.scales[2] = sums.scales[3] = 0.0f;
#elif VALUES == PARAMS_HALVES
#pragma unroll
  for (int set = 0; set < VALUE_SETS; set++) sums.zeros[set][0] = sums.zeros[set][1] = 0.0f;
#endif
  sums.maximum[0] = sums.maximum[1] = -INFINITY;
  sums.sum[0] = sums.sum[1] = 0.0f;
  sums.is_scaled = false;

#if KEYS != PARAMS_NONE
  const u8* key_records = a.keys.packed + sequence * a.keys.sequence_bytes + key_head.offset;
  const u32 key_param_bytes = KEY_SETS * key_head.param_bytes;
  float key_zeros[KEY_SETS][2];
#endif
#if VALUES != PARAMS_NONE
  const Head value_head = a.values.heads[kv_head];
  const u8* value_records = a.values.packed + sequence * a.values.sequence_bytes + value_head.offset;
  const int value_bits = 2 * value_head.pairs + value_head.singles;
  // Chosen so that neither small scales nor high digits leave the range of halves.
  const float value_unit = power(10 - value_bits);
  [[maybe_unused]] const float scale_unit = VALUE_SCALE_TOP * value_unit;
#else
  const float value_unit = 1.0f;
#endif

  // What comes from memory to shared memory, some steps ahead. Slot after slot; `Copies` says when one has come.
#if IS_STREAMED
  Copies<WARPS, SLOTS> copies;
#else
  Copies<WARPS, 2> copies;
#endif
  copies.begin(warp_idx, warp.lane);
#if IS_STREAMED
  // Eight tiles for a job, four of keys and four of values.
  auto fetch = [&](u32 tile) {
    const u32 job = tile / 8;
    if (!is_job(job)) return copies.skip();
    const u16* rows = rows_of(tile % 8 < 4 ? a.keys : a.values, job) + tile % 4 * 16 * HEAD_DIM;
    copies.expect(tile, TILE_BYTES);
    copies.add(tile, stages + tile % SLOTS * TILE_BYTES, rows, TILE_BYTES);
    copies.end();
  };
  auto await = [&](u32 tile) {
    copies.await(tile);
    // The slot before this one is free now that all lanes are here.
    __syncwarp();
    fetch(tile + SLOTS - 1);
    return (const uint4*)(stages + tile % SLOTS * TILE_BYTES);
  };
  for (u32 tile = 0; tile < SLOTS - 1; tile++) fetch(tile);
#else
  // The packed part of a block, keys and values.
  auto fetch = [&](u32 job) {
    if (!is_job(job)) return copies.skip();
    const u32 block = block_of(job), nth = job - sink_jobs;
    u8* const stage = stages + nth % 2 * a.stage_bytes;
    u32 key_bytes = 0, value_bytes = 0;
#if KEYS != PARAMS_NONE
    // With the first block of a group come its parameters.
    const bool is_first = block % UNIT == 0;
    if (block * BLOCK < most_keys) key_bytes = key_head.block_bytes + (is_first ? key_param_bytes : 0);
#endif
#if VALUES != PARAMS_NONE
    if (block * BLOCK < most_values) value_bytes = value_head.record_bytes;
#endif
    copies.expect(nth, key_bytes + value_bytes);
#if KEYS != PARAMS_NONE
    const u32 skipped = is_first ? 0 : key_param_bytes;
    if (key_bytes)
      copies.add(nth, stage + skipped,
                 key_records + (u64)(block / UNIT) * key_head.record_bytes + skipped +
                     block % UNIT * key_head.block_bytes,
                 key_bytes);
#endif
#if VALUES != PARAMS_NONE
    if (value_bytes)
      copies.add(nth, stage + a.stage_values, value_records + (u64)block * value_head.record_bytes, value_bytes);
#endif
    copies.end();
  };
  fetch(sink_jobs);
#endif
  for (u32 job = 0; is_job(job); job++) {
    const bool is_sinks = job < sink_jobs;
    const u32 block = is_sinks ? 0 : block_of(job);
    const u32 first = is_sinks ? job * BLOCK : block * BLOCK;
    const u32 seen_end = is_sinks ? a.n_sinks : most_end;
#if !IS_STREAMED
    u8* const stage = stages + (job - sink_jobs) % 2 * a.stage_bytes;
    if (!is_sinks) {
      fetch(job + 1);
      copies.await(job - sink_jobs);
      __syncwarp();
    }
#endif
    // Which forms some query sees.
    const bool packed_keys = !is_sinks && first < most_keys;
    const bool exact_keys = is_sinks || first + BLOCK > least_keys;
    const bool packed_of_values = !is_sinks && first < most_values;
    const bool exact_of_values = is_sinks || first + BLOCK > least_values;
    [[maybe_unused]] const u32 tiles = min(4u, (seen_end - first + 15) / 16);

    float logits[4][4];
#if KEYS != PARAMS_NONE
    if (packed_keys) {
      if (block % UNIT == 0) {
#pragma unroll
        for (int set = 0; set < KEY_SETS; set++)
          read_group(warp, channels, stage + set * key_head.param_bytes, n_columns <= 4,
                     warp.scales + set * (pair_steps + single_steps) * 16, 16 * pair_steps, key_zeros[set]);
        __syncwarp();
      }
      float products[4][4];
#pragma unroll
      for (int m = 0; m < 4; m++) products[m][0] = products[m][1] = products[m][2] = products[m][3] = 0;
      packed_logits(warp, stage + key_param_bytes, pair_steps, single_steps, pair_bytes(key_head), products);
#pragma unroll
      for (int m = 0; m < 4; m++) {
#pragma unroll
        for (int i = 0; i < 4; i++)
          logits[m][i] = (products[m][i] * power(row_exponent(2 * m + i / 2)) + key_zeros[m * KEY_SETS / 4][i % 2]) *
                         columns.scale[i % 2];
      }
    }
#endif
    if (exact_keys) {
      float products[4][4];
#pragma unroll
      for (int m = 0; m < 4; m++) products[m][0] = products[m][1] = products[m][2] = products[m][3] = 0;
#if !IS_STREAMED
      const u16* rows = rows_of(a.keys, job);
#endif
#pragma unroll
      for (u32 m = 0; m < 4; m++) {
#if IS_STREAMED
        const uint4* tile = await(job * 8 + m);
        exact_logits(warp, [&](u32 row, u32 step) { return tile[key_chunk(row, 4 * step + warp.t)]; }, products[m]);
#else
        if (m < tiles) {
          exact_logits(
              warp,
              [&](u32 row, u32 step) { return load16(rows + key_chunk(16 * m + row, 4 * step + warp.t) * 8); },
              products[m]);
        }
#endif
      }
#pragma unroll
      for (int m = 0; m < 4; m++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const u32 token = first + 16 * m + 8 * (i / 2) + warp.g;
          if (is_sinks || token >= columns.keys_packed[i % 2]) logits[m][i] = products[m][i] * columns.scale[i % 2];
        }
      }
    }
    if (is_sinks || first + BLOCK > least_end || n_columns < COLUMNS) {
#pragma unroll
      for (int m = 0; m < 4; m++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const u32 token = first + 16 * m + 8 * (i / 2) + warp.g;
          const u32 end = is_sinks ? columns.sinks_end[i % 2] : columns.end[i % 2];
          if (token >= end) logits[m][i] = -INFINITY;
        }
      }
    }
    soften(logits, sums);

#if VALUES != PARAMS_NONE
    if (packed_of_values) {
      set_scaled(sums, true, value_unit);
      if (exact_of_values) {
        // Some of these tokens are packed for some queries only.
#pragma unroll
        for (int m = 0; m < 4; m++) {
#pragma unroll
          for (int i = 0; i < 4; i++) {
            const u32 token = first + 16 * m + 8 * (i / 2) + warp.g;
            // The sign marks weights of tokens that are not packed: they are positive.
            if (token >= columns.values_packed[i % 2]) logits[m][i] = -logits[m][i];
          }
        }
      }
      const u8* params = stage + a.stage_values;
#if VALUES == PARAMS_BYTES
      const uint2 scale_bytes = *(const uint2*)(params + warp.g * 8);
#endif
#pragma unroll
      for (int set = 0; set < VALUE_SETS; set++) {
        u32 weights[4][2];
#pragma unroll
        for (int m = 0; m < 4; m++) {
#pragma unroll
          for (int half = 0; half < 2; half++) {
            const float left = fmaxf(logits[m][2 * half], 0.0f), right = fmaxf(logits[m][2 * half + 1], 0.0f);
#if VALUES == PARAMS_BYTES
            const u32 byte = (m < 2 ? scale_bytes.x : scale_bytes.y) >> (16 * (m % 2) + 8 * half) & 0xff;
            const float unit = warp.scale_table[byte] * scale_unit;
#else
            const u32 both = ((const u32*)params)[(16 * m + 8 * half + warp.g) * VALUE_SETS + set];
            const float unit = half_to_float(both & 0xffff) * value_unit, zero = half_to_float(both >> 16);
            sums.zeros[set][0] += left * zero;
            sums.zeros[set][1] += right * zero;
#endif
            weights[m][half] = transpose(pack_halves(left * unit, right * unit));
          }
#if VALUES == PARAMS_BYTES
          multiply(sums.scales, ONES, ONES, ONES, ONES, weights[m][0], weights[m][1]);
#endif
        }
        const u8* codes = params + value_head.param_bytes;
        const uint2* pairs = (const uint2*)codes + warp.t * 8 + warp.g;
        for (u32 j = 0; j < value_head.pairs; j++) {
#pragma unroll
          for (int m = 0; m < 4; m++) {
#pragma unroll
            for (int tile = set * ROW_TILES / VALUE_SETS; tile < (set + 1) * ROW_TILES / VALUE_SETS; tile++) {
              const uint2 words = pairs[((j * 4 + m) * (HEAD_DIM / 64) + tile / 4) * 32];
              multiply_rows(sums.output[tile], tile % 4, words.x, words.y, PAIR_MASK, weights[m][0], weights[m][1]);
            }
            weights[m][0] = double_halves(double_halves(weights[m][0]));
            weights[m][1] = double_halves(double_halves(weights[m][1]));
          }
        }
        if (value_head.singles) {
          const u32* singles = (const u32*)(codes + value_head.pairs * (16 * HEAD_DIM)) + warp.t * 8 + warp.g;
#pragma unroll
          for (int m = 0; m < 4; m++) {
#pragma unroll
            for (int tile = set * ROW_TILES / VALUE_SETS; tile < (set + 1) * ROW_TILES / VALUE_SETS; tile++) {
              const u32 word = singles[(m * (HEAD_DIM / 64) + tile / 4) * 32];
              multiply_rows(sums.output[tile], tile % 4, word, word >> 1, SINGLE_MASK, weights[m][0], weights[m][1]);
            }
          }
        }
      }
      if (exact_of_values) {
#pragma unroll
        for (int m = 0; m < 4; m++) {
#pragma unroll
          for (int i = 0; i < 4; i++) logits[m][i] = fmaxf(-logits[m][i], 0.0f);
        }
      }
    }
#endif
    if (exact_of_values) {
      set_scaled(sums, false, value_unit);
      u32 weights[4][2];
#pragma unroll
      for (int m = 0; m < 4; m++) {
        weights[m][0] = transpose(pack_halves(logits[m][0], logits[m][1]));
        weights[m][1] = transpose(pack_halves(logits[m][2], logits[m][3]));
      }
#if !IS_STREAMED
      const u16* rows = rows_of(a.values, job);
#endif
#pragma unroll
      for (u32 m = 0; m < 4; m++) {
#if IS_STREAMED
        const uint4* tile = await(job * 8 + 4 + m);
        exact_values(warp, [&](u32 pair, u32 i) { return tile[value_chunk(pair, 8 * i + warp.g)]; }, weights[m], sums);
#else
        if (m < tiles) {
          exact_values(
              warp,
              [&](u32 pair, u32 i) { return load16(rows + value_chunk(8 * m + pair, 8 * i + warp.g) * 8); },
              weights[m], sums);
        }
#endif
      }
    }
    __syncwarp();
  }

  // Merge the warps.
  set_scaled(sums, false, value_unit);
#if VALUES != PARAMS_NONE
#pragma unroll
  for (int set = 0; set < VALUE_SETS; set++) {
#pragma unroll
    for (int column = 0; column < 2; column++) {
#if VALUES == PARAMS_BYTES
      // Levels are symmetric: code 0 stands for minus half of the codes.
      const float zero = -sums.scales[column] / value_unit * (0.5f * ((1u << value_bits) - 1));
#else
      const float zero = sum_over_rows(sums.zeros[set][column]);
#endif
#pragma unroll
      for (int tile = set * ROW_TILES / VALUE_SETS; tile < (set + 1) * ROW_TILES / VALUE_SETS; tile++) {
        sums.output[tile][column] += zero;
        sums.output[tile][2 + column] += zero;
      }
    }
  }
#endif
  __shared__ float2 warp_sums[WARPS][COLUMNS];
#pragma unroll
  for (int column = 0; column < 2; column++) {
    const float sum = sum_over_rows(sums.sum[column]);
    if (warp.g == 0) warp_sums[warp_idx][2 * warp.t + column] = make_float2(sums.maximum[column], sum);
  }
  // All warps are done with their stages.
  __syncthreads();
  float* const outputs = (float*)shared;
#pragma unroll
  for (int m = 0; m < ROW_TILES; m++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const u32 channel = 32 * (m / 2) + 4 * warp.g + 2 * (m % 2) + i / 2, h = 2 * warp.t + i % 2;
      outputs[(warp_idx * COLUMNS + h) * HEAD_DIM + channel] = sums.output[m][i];
    }
  }
  __syncthreads();
  const u64 part = ((u64)blockIdx.z * gridDim.y + blockIdx.y) * a.n_splits + blockIdx.x;
  for (u32 at = threadIdx.x; at < n_columns * HEAD_DIM; at += WARPS * 32) {
    const u32 h = at / HEAD_DIM;
    float greatest = -INFINITY, sum = 0.0f, output = 0.0f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) greatest = fmaxf(greatest, warp_sums[w][h].x);
    if (greatest > -INFINITY) {
#pragma unroll
      for (int w = 0; w < WARPS; w++) {
        const float factor = fast_exp2(warp_sums[w][h].x - greatest);
        sum += warp_sums[w][h].y * factor;
        output += outputs[w * COLUMNS * HEAD_DIM + at] * factor;
      }
    }
    a.partial[part * COLUMNS * HEAD_DIM + at] = output;
    if (at % HEAD_DIM == 0) a.partial_sums[part * COLUMNS + h] = make_float2(greatest, sum);
  }

  // Merge the parts.
  __shared__ bool is_last;
  __threadfence();
  __syncthreads();
  // The count starts anew with the last.
  if (threadIdx.x == 0)
    is_last = atomicInc(&a.done[blockIdx.z * gridDim.y + blockIdx.y], a.n_splits - 1) == a.n_splits - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  const u64 first_part = part - blockIdx.x;
  for (u32 h = warp_idx; h < n_columns; h += WARPS) {
    float greatest = -INFINITY, sum = 0.0f, row[HEAD_DIM / 32];
#pragma unroll
    for (u32 i = 0; i < HEAD_DIM / 32; i++) row[i] = 0.0f;
    for (u32 split = warp.lane; split < a.n_splits; split += 32)
      greatest = fmaxf(greatest, __ldcg(&a.partial_sums[(first_part + split) * COLUMNS + h]).x);
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2)
      greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, distance));
#pragma unroll 4
    for (u32 split = 0; split < a.n_splits; split++) {
      const float2 part_sum = __ldcg(&a.partial_sums[(first_part + split) * COLUMNS + h]);
      const float factor = fast_exp2(part_sum.x - greatest);
      sum += part_sum.y * factor;
#pragma unroll
      for (u32 i = 0; i < HEAD_DIM / 32; i++)
        row[i] += __ldcg(&a.partial[((first_part + split) * COLUMNS + h) * HEAD_DIM + warp.lane + 32 * i]) * factor;
    }
#pragma unroll
    for (u32 i = 0; i < HEAD_DIM / 32; i++) row[i] /= sum;
    if (a.values.is_rotated) rotate(row, warp.lane);
    const u32 token = first_token + h / heads, head = kv_head * group_size + first_head + h % heads;
    const u64 at = (((u64)sequence * a.n_new + token) * a.n_heads + head) * HEAD_DIM + warp.lane;
#pragma unroll
    for (u32 i = 0; i < HEAD_DIM / 32; i++) {
      if (a.half_output) a.half_output[at + 32 * i] = float_to_half(row[i]);
      else a.output[at + 32 * i] = row[i];
    }
  }
}
