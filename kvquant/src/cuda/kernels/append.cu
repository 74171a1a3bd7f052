// Appending: rows to half precision, and what leaves the window into the packed format.
//
// The numbers are those of the CPU: compiled without contraction of products and sums, keys are fitted in the same
// order of operations. Sums over the channels of a value are taken in another order.
//
// Defines: HEAD_DIM; KEYS, VALUES, KEY_GROUP, VALUE_GROUP as for `attend`.

struct Append {
  Side keys;
  Side values;
  // `[sequences][n_new][n_kv_heads][HEAD_DIM]`
  const float* new_keys;
  const float* new_values;
  // Tokens of each sequence before the new ones.
  const u32* lengths;
  u32 n_kv_heads;
  u32 n_new;
  u32 n_sinks;
  u32 in_chunk;
};

constexpr float HALF_MAX = 65504.0f;

__device__ inline u16 float_to_saturated_half(float value) {
  return float_to_half(fminf(fmaxf(value, -HALF_MAX), HALF_MAX));
}

__device__ inline u32 element(bool is_values, u32 row, u32 channel) {
  return is_values ? value_element(row, channel) : key_element(row, channel);
}

// Writes the new rows, one warp each. Grid: new tokens, KV heads, 2 x sequences.
extern "C" __global__ void __launch_bounds__(32) append(const __grid_constant__ Append a) {
  const u32 lane = threadIdx.x, token = blockIdx.x, head = blockIdx.y;
  const bool is_values = blockIdx.z & 1;
  const u32 sequence = blockIdx.z / 2;
  const Side& side = is_values ? a.values : a.keys;
  const u32 length = a.lengths[sequence], position = length + token;
  const float* source = (is_values ? a.new_values : a.new_keys) +
                        (((u64)sequence * a.n_new + token) * a.n_kv_heads + head) * HEAD_DIM;
  float row[HEAD_DIM / 32];
#pragma unroll
  for (int i = 0; i < HEAD_DIM / 32; i++) row[i] = source[lane + 32 * i];
  if (side.is_rotated) rotate(row, lane);
  u16* rows;
  u32 at;
  if (position < a.n_sinks) {
    rows = (u16*)sink_block(side, head, a.n_kv_heads, sequence);
    at = position;
  } else {
    const u32 after_sinks = position - a.n_sinks;
    const u32 first_chunk_block = a.in_chunk ? saturating_sub(length, a.n_sinks) / BLOCK : ~0u;
    rows = (u16*)exact_block(side, head, a.n_kv_heads, sequence, after_sinks / BLOCK, first_chunk_block);
    at = after_sinks % BLOCK;
  }
#pragma unroll
  for (int i = 0; i < HEAD_DIM / 32; i++) rows[element(is_values, at, lane + 32 * i)] = float_to_saturated_half(row[i]);
}

// Moves half-precision rows between ring and chunk: before the attention of a chunk those of its first block that
// were there before, after it the last ones into the ring. Grid: rows, KV heads, 2; one sequence.
extern "C" __global__ void __launch_bounds__(HEAD_DIM) carry(const __grid_constant__ Append a, u32 after) {
  const u32 head = blockIdx.y, channel = threadIdx.x;
  const bool is_values = blockIdx.z;
  const Side& side = is_values ? a.values : a.keys;
  const u32 before = saturating_sub(a.lengths[0], a.n_sinks), first_chunk_block = before / BLOCK;
  const u32 end = saturating_sub(a.lengths[0] + a.n_new, a.n_sinks);
  u32 row;
  if (after) {
    const u32 first = max(saturating_sub(end, side.ring_rows), first_chunk_block * BLOCK);
    row = first + blockIdx.x;
    if (row >= end) return;
  } else {
    row = first_chunk_block * BLOCK + blockIdx.x;
    if (row >= before) return;
  }
  u16* ring = (u16*)exact_block(side, head, a.n_kv_heads, 0, row / BLOCK, ~0u);
  u16* chunk = (u16*)exact_block(side, head, a.n_kv_heads, 0, row / BLOCK, first_chunk_block);
  const u32 at = element(is_values, row % BLOCK, channel);
  if (after) ring[at] = chunk[at];
  else chunk[at] = ring[at];
}

struct Affine {
  float scale, zero;
};

__device__ inline float greatest_code(u32 bits) { return (float)((1u << bits) - 1); }
__device__ inline float middle(u32 bits) { return greatest_code(bits) / 2.0f; }

__device__ inline float encode(Affine levels, float value, u32 bits) {
  if (levels.scale == 0.0f) return 0.0f;
  // As Rust rounds and casts: half away from zero, saturating.
  return fminf(fmaxf(roundf((value - levels.zero) / levels.scale), 0.0f), greatest_code(bits));
}

__device__ inline float decode(Affine levels, float code) { return code * levels.scale + levels.zero; }

__device__ inline u8 encode_scale(float scale, float top) {
  const float code = roundf(255.0f + 16.0f * log2f(scale / top));
  return code >= 255.0f ? 255 : code > 0.0f ? (u8)code : 0;
}

#if KEYS != PARAMS_NONE
// The elements of a channel in a group of keys.
struct Group {
  const u16* rows;
  __device__ float operator[](u32 token) const { return half_to_float(rows[token * HEAD_DIM]); }
};

__device__ inline float mean(const Group& group) {
  float sum = 0.0f;
  for (u32 i = 0; i < KEY_GROUP; i++) sum += group[i];
  return sum / (float)KEY_GROUP;
}

__device__ inline Affine about_the_mean(const Group& group, float mean, u32 bits) {
  const float steps[5] = {1.596f, 0.9957f, 0.5860f, 0.3352f, 0.1881f};
  float squares = 0.0f;
  for (u32 i = 0; i < KEY_GROUP; i++) {
    const float off = group[i] - mean;
    squares += off * off;
  }
  const float deviation = sqrtf(squares / (float)KEY_GROUP);
  const u32 known = min(bits, 5u);
  const float scale = deviation * (steps[known - 1] / (float)(1u << (bits - known)));
  return {scale, mean - scale * middle(bits)};
}

__device__ inline Affine between_extremes(const Group& group, u32 bits) {
  float least = INFINITY, greatest = -INFINITY;
  for (u32 i = 0; i < KEY_GROUP; i++) {
    least = fminf(least, group[i]);
    greatest = fmaxf(greatest, group[i]);
  }
  return {(greatest - least) / greatest_code(bits), least};
}

// The line of least squares through the elements and their codes.
__device__ inline Affine refined(const Group& group, float mean, Affine levels, u32 bits) {
  float codes = 0.0f, squares = 0.0f, products = 0.0f;
  for (u32 i = 0; i < KEY_GROUP; i++) {
    const float code = encode(levels, group[i], bits);
    codes += code;
    squares += code * code;
    products += code * (group[i] - mean);
  }
  const float mean_code = codes / (float)KEY_GROUP;
  const float spread = squares - codes * mean_code;
  if (spread <= 0.0f) return {0.0f, mean};
  const float scale = products / spread;
  return {scale, mean - scale * mean_code};
}

__device__ inline float error(const Group& group, Affine levels, u32 bits) {
  float sum = 0.0f;
  for (u32 i = 0; i < KEY_GROUP; i++) {
    const float off = group[i] - decode(levels, encode(levels, group[i], bits));
    sum += off * off;
  }
  return sum;
}

__device__ inline Affine least_squares(const Group& group, float mean, u32 bits) {
  Affine best[2];
  float errors[2];
  for (int start = 0; start < 2; start++) {
    const Affine first = start == 0 ? about_the_mean(group, mean, bits) : between_extremes(group, bits);
    Affine levels = refined(group, mean, first, bits);
    float least = error(group, levels, bits);
    for (int round = 1; round < 8; round++) {
      const Affine next = refined(group, mean, levels, bits);
      const float next_error = error(group, next, bits);
      if (next_error >= least) break;
      levels = next;
      least = next_error;
    }
    best[start] = levels;
    errors[start] = least;
  }
  return errors[1] < errors[0] ? best[1] : best[0];
}

// Packs the keys that leave the window, a thread for each channel. Grid: units of whole groups and whole blocks,
// KV heads, sequences.
extern "C" __global__ void __launch_bounds__(HEAD_DIM) pack_keys(const __grid_constant__ Append a) {
  constexpr u32 UNIT_TOKENS = UNIT * BLOCK;
  extern __shared__ u16 tokens[];
  const u32 head_idx = blockIdx.y, sequence = blockIdx.z, c = threadIdx.x;
  const u32 length = a.lengths[sequence];
  const u32 from = packed_at_rest(a.keys, saturating_sub(length, a.n_sinks));
  const u32 to = packed_at_rest(a.keys, saturating_sub(length + a.n_new, a.n_sinks));
  const u32 first_chunk_block = a.in_chunk ? saturating_sub(length, a.n_sinks) / BLOCK : ~0u;
  const u32 unit = from / UNIT_TOKENS + blockIdx.x;
  const u32 first = max(unit * UNIT_TOKENS, from), end = min((unit + 1) * UNIT_TOKENS, to);
  if (first >= end) return;

  const Head head = a.keys.heads[head_idx];
  const Channel channel = a.keys.channels[head_idx * HEAD_DIM + c];
  const u32 bits = channel.bits;
  u8* const record =
      a.keys.packed + sequence * a.keys.sequence_bytes + head.offset + (u64)unit * head.record_bytes;
  for (u32 start = first; start < end; start += KEY_GROUP) {
    for (u32 i = 0; i < KEY_GROUP; i++) {
      const u16* rows = exact_block(a.keys, head_idx, a.n_kv_heads, sequence, (start + i) / BLOCK, first_chunk_block);
      tokens[i * HEAD_DIM + c] = rows[key_element((start + i) % BLOCK, c)];
    }
    // Each thread reads its own channel only.
    const Group group = {tokens + c};
    u8* const params = record + start / KEY_GROUP % KEY_SETS * head.param_bytes;
    const float group_mean = mean(group);
    Affine levels = {0.0f, group_mean};
#if KEYS == PARAMS_HALVES
    levels = between_extremes(group, bits);
    levels.scale = half_to_float(float_to_saturated_half(levels.scale));
    levels.zero = half_to_float(float_to_saturated_half(levels.zero));
    ((u16*)params)[c] = float_to_half(levels.zero);
    ((u16*)params)[HEAD_DIM + channel.scale_index] = float_to_half(levels.scale);
#else
    if (bits) levels = least_squares(group, group_mean, bits);
    const float centre = levels.zero + levels.scale * middle(bits);
#if KEYS == PARAMS_BYTES
    const float steps = fminf(fmaxf(roundf(centre / channel.range * 127.0f), -127.0f), 127.0f);
    const u8 byte = (u8)(i8)steps;
    params[c] = byte;
    float scale = 0.0f;
    if (bits) {
      const u8 scale_byte = encode_scale(levels.scale, channel.range);
      params[HEAD_DIM + channel.scale_index] = scale_byte;
      scale = decode_scale(scale_byte, channel.range);
    }
    levels = {scale, decode_centre(byte, channel.range) - scale * middle(bits)};
#else
    const u16 stored = float_to_saturated_half(centre);
    ((u16*)params)[c] = stored;
    float scale = 0.0f;
    if (bits) {
      const u16 stored_scale = float_to_saturated_half(levels.scale);
      ((u16*)params)[HEAD_DIM + channel.scale_index] = stored_scale;
      scale = half_to_float(stored_scale);
    }
    levels = {scale, half_to_float(stored) - scale * middle(bits)};
#endif
#endif
    // A group shorter than a block writes some bits of its bytes.
    constexpr u32 PART = KEY_GROUP < BLOCK ? KEY_GROUP : BLOCK;
    for (u32 part = 0; part < KEY_GROUP; part += PART) {
      const u32 first_row = (start + part) % BLOCK / 8;
      u8* const pairs =
          record + KEY_SETS * head.param_bytes + (start + part) / BLOCK % UNIT * head.block_bytes;
      u8* const singles = pairs + pair_bytes(head);
      for (u32 g = 0; g < 8; g++) {
        u32 row_codes[PART / 8];
#pragma unroll
        for (u32 i = 0; i < PART / 8; i++) row_codes[i] = (u32)encode(levels, group[part + 8 * i + g], bits);
        for (u32 j = 0; j < bits / 2; j++) {
          const u32 column = channel.first_pair + j;
          u32 bytes[2] = {0, 0}, masks[2] = {0, 0};
#pragma unroll
          for (u32 i = 0; i < PART / 8; i++) {
            const u32 row = first_row + i;
            bytes[row / 4] |= (row_codes[i] >> (2 * j) & 3) << pair_shift(row);
            masks[row / 4] |= 3u << pair_shift(row);
          }
#pragma unroll
          for (u32 word = 0; word < 2; word++) {
            u8* const at = pairs + (column / 4 * 8 + g) * 8 + word * 4 + column_byte(column);
            if (masks[word]) *at = (u8)((*at & ~masks[word]) | bytes[word]);
          }
        }
        if (bits % 2) {
          u32 byte = 0, mask = 0;
#pragma unroll
          for (u32 i = 0; i < PART / 8; i++) {
            byte |= (row_codes[i] >> (bits - 1) & 1) << single_shift(first_row + i);
            mask |= 1u << single_shift(first_row + i);
          }
          u8* const at = singles + (channel.single / 4 * 8 + g) * 4 + column_byte(channel.single);
          *at = (u8)((*at & ~mask) | byte);
        }
      }
    }
  }
}
#endif

#if VALUES != PARAMS_NONE
constexpr u32 PER_LANE = HEAD_DIM / 32;

__device__ inline float sum_over_warp(float sum) {
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) sum += __shfl_xor_sync(~0u, sum, distance);
  return sum;
}

__device__ inline float greatest_over_warp(float value) {
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) value = fmaxf(value, __shfl_xor_sync(~0u, value, distance));
  return value;
}

// Packs the values that leave the window, a warp for each token. Grid: tokens, KV heads, sequences.
extern "C" __global__ void __launch_bounds__(32) pack_values(const __grid_constant__ Append a) {
  __shared__ u8 codes[HEAD_DIM];
  const u32 lane = threadIdx.x, head_idx = blockIdx.y, sequence = blockIdx.z;
  const u32 length = a.lengths[sequence];
  const u32 from = packed_at_rest(a.values, saturating_sub(length, a.n_sinks));
  const u32 to = packed_at_rest(a.values, saturating_sub(length + a.n_new, a.n_sinks));
  const u32 first_chunk_block = a.in_chunk ? saturating_sub(length, a.n_sinks) / BLOCK : ~0u;
  const u32 token = from + blockIdx.x;
  if (token >= to) return;
  const Head head = a.values.heads[head_idx];
  const u32 bits = 2 * head.pairs + head.singles, block = token / BLOCK, at = token % BLOCK;
  const u16* rows = exact_block(a.values, head_idx, a.n_kv_heads, sequence, block, first_chunk_block);
  u8* const params =
      a.values.packed + sequence * a.values.sequence_bytes + head.offset + (u64)block * head.record_bytes;
  u8* const pairs = params + head.param_bytes;
  float row[PER_LANE];
#pragma unroll
  for (u32 i = 0; i < PER_LANE; i++) row[i] = half_to_float(rows[element(true, at, lane + 32 * i)]);

#if VALUES == PARAMS_BYTES
  // Symmetric levels whose projection on the row is the row's own (`quant::symmetric`).
  const float mid = middle(bits), most = greatest_code(bits);
  float squares = 0.0f;
#pragma unroll
  for (u32 i = 0; i < PER_LANE; i++) squares += row[i] * row[i];
  squares = sum_over_warp(squares);
  float scale = sqrtf(squares / (float)HEAD_DIM) * 2.0f / sqrtf(most + 1.0f);
  float units[PER_LANE];
  auto encode_row = [&](float scale) {
#pragma unroll
    for (u32 i = 0; i < PER_LANE; i++)
      units[i] = scale > 0.0f ? fminf(fmaxf(roundf(row[i] / scale + mid), 0.0f), most) : 0.0f;
  };
  encode_row(scale);
  for (int round = 0; round < 4; round++) {
    float unit_squares = 0.0f, products = 0.0f;
#pragma unroll
    for (u32 i = 0; i < PER_LANE; i++) {
      const float unit = units[i] - mid;
      unit_squares += unit * unit;
      products += row[i] * unit;
    }
    scale = sum_over_warp(products) / sum_over_warp(unit_squares);
    encode_row(scale);
  }
  float projection = 0.0f;
#pragma unroll
  for (u32 i = 0; i < PER_LANE; i++) projection += row[i] * (units[i] - mid);
  projection = sum_over_warp(projection);
  if (projection > 0.0f) scale = squares / projection;
  if (lane == 0) params[scale_index(at)] = encode_scale(scale, VALUE_SCALE_TOP);
#pragma unroll
  for (u32 i = 0; i < PER_LANE; i++) codes[lane + 32 * i] = (u8)units[i];
#else
  constexpr u32 SETS = HEAD_DIM / VALUE_GROUP, PER_SET = VALUE_GROUP / 32;
#pragma unroll
  for (u32 set = 0; set < SETS; set++) {
    float least = row[set * PER_SET], greatest = least;
#pragma unroll
    for (u32 i = 1; i < PER_SET; i++) {
      least = fminf(least, row[set * PER_SET + i]);
      greatest = fmaxf(greatest, row[set * PER_SET + i]);
    }
    least = -greatest_over_warp(-least);
    greatest = greatest_over_warp(greatest);
    const u16 scale = float_to_saturated_half((greatest - least) / greatest_code(bits)), zero = float_to_half(least);
    const Affine levels = {half_to_float(scale), half_to_float(zero)};
    if (lane == 0) ((u32*)params)[at * SETS + set] = scale | (u32)zero << 16;
#pragma unroll
    for (u32 i = 0; i < PER_SET; i++) {
      const u32 c = set * PER_SET + i;
      codes[lane + 32 * c] = (u8)encode(levels, row[c], bits);
    }
  }
#endif
  __syncwarp();
  // Row g + 8 i of word-half `half` is channel 64 half + 32 (i / 4) + 4 g + i % 4: a lane's channels of half-precision
  // rows are the same.
  const u32 tile = at / 16, k = at % 16, t = k % 8 / 2, byte_idx = (k & 1) * 2 + k / 8;
  const u32 n_bytes = bits / 2 * (HEAD_DIM / 4);
  for (u32 job = lane; job < n_bytes; job += 32) {
    const u32 word = job % 2, g = job / 2 % 8, half = job / 16 % (HEAD_DIM / 64), j = job / (HEAD_DIM / 4);
    u32 byte = 0;
#pragma unroll
    for (u32 i = 0; i < 4; i++) byte |= (codes[64 * half + 32 * word + 4 * g + i] >> (2 * j) & 3u) << pair_shift(i);
    pairs[(((j * 4 + tile) * (HEAD_DIM / 64) + half) * 32 + t * 8 + g) * 8 + word * 4 + byte_idx] = (u8)byte;
  }
  if (bits % 2 && lane < HEAD_DIM / 8) {
    const u32 g = lane % 8, half = lane / 8;
    u32 byte = 0;
#pragma unroll
    for (u32 i = 0; i < 8; i++)
      byte |= (codes[64 * half + 32 * (i / 4) + 4 * g + i % 4] >> (bits - 1) & 1u) << single_shift(i);
    u8* const singles = pairs + bits / 2 * (16 * HEAD_DIM);
    singles[((tile * (HEAD_DIM / 64) + half) * 32 + t * 8 + g) * 4 + byte_idx] = (u8)byte;
  }
}
#endif

// After a step the new tokens are old ones.
extern "C" __global__ void advance(u32* lengths, u32 n_new) { lengths[threadIdx.x] += n_new; }
