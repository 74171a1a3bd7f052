// What all kernels share: how a cache lies in device memory. `layout.rs` says the same in Rust and is
// tested against the packed formats of the CPU.
//
// Codes are written in digits of two bits, with a last one of one bit where the bits are odd, so that one design
// serves every width. Digits lie in tiles of 64 rows by 16 columns: for keys rows are tokens and columns are the
// digits of channels, for values rows are channels and columns are tokens. Lane (g, t) of a warp (g = lane / 4,
// t = lane % 4) owns the rows g, g + 8, ... g + 56 of four columns: of one-bit digits a word with a byte for each
// column, of two-bit digits two words, the first for the rows up to g + 24. That is the order of the first operand of
// `mma.m16n8k16`: one AND makes a register of it, two halves that are their digit times 2^(shift - 24), and the power
// is taken back from the accumulator. Row g + 8 i is at shift 2 (i % 4) of a byte; rows from i = 4 on are in the second
// word, or in the odd bits.

// Tokens of a block of the cache, rows of a tile of keys.
constexpr u32 BLOCK = 64;

// How scales and centres are stored: nothing is packed; in bytes; in halves as scale and zero; in halves as scale
// and centre (keys).
#define PARAMS_NONE 0
#define PARAMS_BYTES 1
#define PARAMS_HALVES 2
#define PARAMS_CENTRED_HALVES 3

#ifdef KEY_GROUP
// Groups of keys in a record, and blocks.
constexpr u32 KEY_SETS = KEY_GROUP < BLOCK ? BLOCK / KEY_GROUP : 1;
constexpr u32 UNIT = KEY_GROUP < BLOCK ? 1 : KEY_GROUP / BLOCK;
#endif

// When tokens are packed; `Retention` in Rust. The numbers count tokens after the sinks.
enum RetentionKind : u32 { KEEP_ALL = 0, GATHER = 1, LAG = 2, SLIDE = 3 };

// Keys or values of one layer, all sequences.
struct Side {
  // Packed tokens, in records; see `Head`.
  u8* packed;
  // Half-precision rows: the first tokens, the recent ones as a ring, and a chunk that is being appended (shared
  // by all layers); see `key_chunk` and `value_chunk`.
  u16* sinks;
  u16* ring;
  u16* chunk;
  const struct Head* heads;
  // Keys only: `[KV heads][HEAD_DIM]`.
  const struct Channel* channels;
  u64 sequence_bytes;
  u32 sink_rows;
  u32 ring_rows;
  u32 chunk_rows;
  RetentionKind retention;
  u32 window;
  u32 group;
  u32 is_rotated;
  u32 reserved;
};

// One KV head of a side. A record is parameters, then codes: of keys it holds a block of 64 tokens, or as many blocks as
// a group has; of values a block.
struct Head {
  u64 offset;
  u32 record_bytes;
  // Codes of a block.
  u32 block_bytes;
  // Keys: of a group. Values: of a block.
  u32 param_bytes;
  // Digits of two bits and of one: keys of all channels together, values of a code.
  u32 pairs;
  u32 singles;
  u32 reserved;
};

// One channel of a key head.
struct Channel {
  // The largest scale, and the largest magnitude of a centre, where those are bytes.
  float range;
  // Its first digit of two bits, and its digit of one, among those of the head.
  u16 first_pair;
  u16 single;
  u16 bits;
  // Of the scales of a group; channels of no bits have none.
  u16 scale_index;
};

__device__ inline u32 saturating_sub(u32 a, u32 b) { return a > b ? a - b : 0; }

// How many tokens after the sinks are packed once `n` have been attended.
__device__ inline u32 packed_at_rest(const Side& side, u32 n) {
  switch (side.retention) {
    case GATHER: return n / side.window * side.window;
    case LAG: return saturating_sub(n, side.window) / side.group * side.group;
    case SLIDE: return saturating_sub(n, side.window);
    default: return 0;
  }
}

// Where the half-precision rows of a block of 64 tokens after the sinks lie, for one KV head of a sequence.
// Blocks from `first_chunk_block` on are in the chunk.
__device__ inline const u16* exact_block(const Side& side, u32 head, u32 n_heads, u32 sequence, u32 block,
                                         u32 first_chunk_block) {
  if (block >= first_chunk_block) {
    return side.chunk + ((u64)head * side.chunk_rows + (u64)(block - first_chunk_block) * BLOCK) * HEAD_DIM;
  }
  u64 row = ((u64)sequence * n_heads + head) * side.ring_rows + (block * BLOCK) % side.ring_rows;
  return side.ring + row * HEAD_DIM;
}

__device__ inline const u16* sink_block(const Side& side, u32 head, u32 n_heads, u32 sequence) {
  return side.sinks + ((u64)sequence * n_heads + head) * side.sink_rows * HEAD_DIM;
}

// Half-precision rows are copied to shared memory as they lie, in chunks of 16 bytes: eight channels of a key, or four
// channels of a pair of values. Chunks are exchanged so that lanes that read together read different banks.
__device__ inline u32 key_chunk(u32 row, u32 chunk) { return row * (HEAD_DIM / 8) + (chunk ^ (row & 1) << 2); }
__device__ inline u32 value_chunk(u32 pair, u32 chunk) { return pair * (HEAD_DIM / 4) + (chunk ^ (pair & 3) << 1); }

// Where in a block of rows a number is.
__device__ inline u32 key_element(u32 row, u32 channel) { return key_chunk(row, channel / 8) * 8 + channel % 8; }
__device__ inline u32 value_element(u32 row, u32 channel) {
  return value_chunk(row / 2, channel / 4) * 8 + channel % 4 * 2 + row % 2;
}

// Where the scale of a token is among those of a block of values, where a token has one: a lane's are side by side.
__device__ inline u32 scale_index(u32 row) { return row % 8 * 8 + row / 8; }

// Scales in a byte: sixteenths of an octave below the largest, 0 for none (`quant::byte`).
__device__ inline float decode_scale(u8 byte, float top) {
  return byte == 0 ? 0.0f : top * exp2f((byte - 255.0f) / 16.0f);
}

__device__ inline float decode_centre(u8 byte, float range) { return (float)(i8)byte / 127.0f * range; }

// The largest scale of integer values.
#define VALUE_SCALE_TOP 64.0f

// Where a column's byte is in a word of four columns, which are k = 2t, 2t + 1, 2t + 8, 2t + 9 of the operand.
__device__ inline u32 column_byte(u32 column) { return (column & 1) * 2 + column / 2 % 2; }

// Where row g + 8 i is in a byte of two-bit digits, and of one-bit digits.
__device__ constexpr u32 pair_shift(u32 i) { return 2 * (i % 4); }
__device__ constexpr u32 single_shift(u32 i) { return 2 * (i % 4) + i / 4; }

// Bytes of the two-bit digits of keys in a block, whole fours of columns.
__device__ inline u32 pair_bytes(const Head& head) { return (head.pairs + 3) / 4 * 64; }

// The fast Walsh-Hadamard transform of a head over a warp, orthonormal; lane l holds channels l, l + 32, ...
__device__ inline void rotate(float (&row)[HEAD_DIM / 32], u32 lane) {
#pragma unroll
  for (u32 half = 1; half < 32; half *= 2) {
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 32; i++) {
      float other = __shfl_xor_sync(~0u, row[i], half);
      row[i] = lane & half ? other - row[i] : row[i] + other;
    }
  }
#pragma unroll
  for (int half = 1; half < HEAD_DIM / 32; half *= 2) {
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 32; i++) {
      if (!(i & half)) {
        float left = row[i], right = row[i | half];
        row[i] = left + right;
        row[i | half] = left - right;
      }
    }
  }
  float norm = 1.0f / sqrtf((float)HEAD_DIM);
#pragma unroll
  for (int i = 0; i < HEAD_DIM / 32; i++) row[i] *= norm;
}
