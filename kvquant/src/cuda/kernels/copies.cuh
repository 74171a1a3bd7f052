// A warp's copies from memory to shared memory, `SLOTS` of them on their way at a time. All lanes call alike.
#if __CUDA_ARCH__ >= 900
// By the copy engine: one lane asks, and a barrier in shared memory counts the bytes that have come.
template <u32 WARPS, u32 SLOTS>
struct Copies {
  u32 barriers;
  u32 lane;

  __device__ void begin(u32 warp_idx, u32 lane_idx) {
    __shared__ u64 all[WARPS][SLOTS];
    barriers = (u32)__cvta_generic_to_shared(all[warp_idx]);
    lane = lane_idx;
    if (lane < SLOTS) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barriers + 8 * lane) : "memory");
    asm volatile("fence.proxy.async;" ::: "memory");
    __syncwarp();
  }
  __device__ void expect(u32 nth, u32 n_bytes) {
    if (lane == 0)
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barriers + nth % SLOTS * 8),
                   "r"(n_bytes)
                   : "memory");
  }
  __device__ void add(u32 nth, void* to, const void* from, u32 n_bytes) {
    if (lane == 0)
      asm volatile(
          "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
              (u32)__cvta_generic_to_shared(to)),
          "l"(from), "r"(n_bytes), "r"(barriers + nth % SLOTS * 8)
          : "memory");
  }
  __device__ void end() {}
  __device__ void skip() {}
  __device__ void await(u32 nth) {
    asm volatile(
        "{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra again;\n}" ::
            "r"(barriers + nth % SLOTS * 8),
        "r"(nth / SLOTS % 2)
        : "memory");
  }
};
#else
template <u32 WARPS, u32 SLOTS>
struct Copies {
  u32 lane;

  __device__ void begin(u32, u32 lane_idx) { lane = lane_idx; }
  __device__ void expect(u32, u32) {}
  __device__ void add(u32, void* to, const void* from, u32 n_bytes) {
    for (u32 at = lane * 16; at < n_bytes; at += 512)
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((u32)__cvta_generic_to_shared(to) + at),
                   "l"((const u8*)from + at)
                   : "memory");
  }
  __device__ void end() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  __device__ void skip() { end(); }
  // Of two slots, the next one is asked for before this one is awaited; of more, after.
  __device__ void await(u32) {
    asm volatile("cp.async.wait_group %0;" ::"n"(SLOTS == 2 ? 1 : SLOTS - 2) : "memory");
  }
};
#endif
