// The kernel table: every inner loop of attention, as plain functions over plain pointers; one table per instruction
// set, and the scalar twin (reference.cc), all of them equal bit for bit. No SIMD type or ISA name goes past this
// header. Preconditions (shapes, alignment, padding) are the caller's and are only asserted.
//
// Layouts. A panel holds 64 keys (or 64 rows of a weight matrix) dim-major: panel[d * 64 + key], 64-byte aligned, zero
// padded. A strip holds scores, then weights: strip[row * lds + key], keys counted from the strip's own start, lds a
// multiple of 16.
#pragma once
#include <cstdint>

namespace bareattn::kernels {

inline constexpr int64_t panel_keys = 64;     // keys in a packed panel
inline constexpr int64_t block_keys = 512;    // keys at which a row is cut, at absolute multiples: part of the contract
inline constexpr int tile_rows = 6;           // rows in a register tile
inline constexpr int64_t ahead_bytes = 8192;  // how far ahead of their reads tiles ask for memory
inline constexpr int lanes = 16;              // virtual lanes of every sum over keys, whatever the hardware width

/// A row's state over one block: x = s - max, e^x, and its sums. All but max and sum only where measured.
struct BlockState {
  float max;
  float sum;        // of e^x
  float entropy;    // of e^x x
  float squares;    // of e^2x
  float distance;   // of e^x (origin - key)
  int32_t max_key;  // first key with x = 0, relative to the block; -1 where max is not above what was seen before
};

/// softmax_rows: s[r * lds + key], key in [0, keys[r]), becomes e^(s - max), zero up to `padded`; -inf scores are
/// masked: weight 0. rows 1..6. A row of no keys: max -inf, sum 0.
struct SoftmaxArgs {
  float* s;  // [rows, padded]
  int64_t lds;
  int rows;
  const int64_t* keys;    // [rows]
  int64_t padded;         // a multiple of 16, at least every keys[r]
  const float* origin;    // [rows]: the row's position relative to the block's first key; null without seen_max
  const float* seen_max;  // [rows]: largest score of the blocks before. Null: just max and sum are made
  BlockState* state;      // [rows]
};

/// finish_rows: one block of a strip whose rows are finished, rows 1..6. Weights w = p * factor, in units of 2^-27 (so
/// w here is the weight times 2^27, exactly).
struct FinishArgs {
  const float* p;  // [rows, padded], the block's e^x
  int64_t ldp;
  int rows;
  int64_t padded;         // keys, a multiple of 16, zero past the visible ones
  const float* factor27;  // [rows]: e^(block max - row max) / row sum * 2^27
  uint32_t* received;     // [padded]: added to, round(w); at most 31 rows before it must be carried on
  float* largest;         // [padded]: raised to w; may be null
};

/// carry: what rows have given to keys goes on to 64-bit sums, and to cells of 16 keys.
struct CarryArgs {
  const uint32_t* received;  // [keys]
  const float* largest;      // [keys]; null: cell_max is left as it is
  int64_t keys;              // a multiple of 16
  uint64_t* sums;            // [keys]: added to; may be null
  uint32_t* cell_sum;        // [keys / 16]: set to the cell's sum (the rows' weights together are at most 31)
  float* cell_max;           // [keys / 16]: set to the cell's largest
};

struct KernelTable {
  const char* name;  // "avx512", "avx2", "scalar": as BAREATTN_ISA names them

  /// s[r * lds + c] (+)= sum over d of q[r * ldq + d] * panel[d * 64 + c], one fma chain in d order per (r, c);
  /// rows 1..6, columns rounded up to whole vectors of at most 16 (strips and panels are padded for it). Columns past
  /// 64 are of the panels that follow, each d * 64 after the one before. accumulate: the chain goes on from what s
  /// holds, else from 0.
  void (*score_tile)(const float* q, int64_t ldq, int rows, int64_t d, const float* panel, int columns, float* s,
                     int64_t lds, bool accumulate);

  void (*softmax_rows)(const SoftmaxArgs& args);

  /// o[r * ldo + e] = sum over keys of p[r * ldp + key] * v[key * ldv + e], one fma chain in key order, from 0 or
  /// (accumulate) from what o holds, then + 0 (so that no -0 is left). rows 1..6; dv rounded up to whole vectors of at
  /// most 16 (v and o are padded for it).
  void (*blend)(const float* p, int64_t ldp, int rows, int64_t keys, const float* v, int64_t ldv, int64_t dv, float* o,
                int64_t ldo, bool accumulate);

  /// Row states (max, sum) take in one block's, per row i in [0, n), n padded to 16: m' = max(m, block max),
  /// a = e^(m - m'), b = e^(block max - m'), sum = fma(sum, a, block_sum * b). A row that has seen nothing has max
  /// -inf.
  void (*merge_states)(float* max, float* sum, const float* block_max, const float* block_sum, float* a, float* b,
                       int64_t n);
  /// y[i] = e^x[i] (exp.h), n padded to 16.
  void (*exp_below)(const float* x, float* y, int64_t n);
  /// o[e] = fma(o[e], a, block[e] * b), e in [0, dv)
  void (*merge)(float* o, const float* block, float a, float b, int64_t dv);

  /// to[i] = from[i] / by, i in [0, n), any n: nothing past it is read or written.
  void (*divide)(const float* from, float by, float* to, int64_t n);

  void (*finish_rows)(const FinishArgs& args);

  void (*carry)(const CarryArgs& args);

  /// The same for bf16: q [rows, d] and panels [d / 2][64][2] as bf16 bits (d even, zero padded), f32 accumulation
  /// in d order; products are exact, each addition rounds to nearest even, denormal sums and inputs count as 0 (the
  /// hardware instruction's rule, kept by all). scale [rows]: what a finished sum is multiplied by; null: 1.
  void (*score_tile_bf16)(const uint16_t* q, int64_t ldq, int rows, int64_t d, const uint16_t* panel, int columns,
                          float* s, int64_t lds, bool accumulate, const float* scale);

  /// The blend for bf16: p [rows, keys] as bf16 bits (keys even, zero padded), v [keys / 2][ldv][2], in the order of
  /// dot_pair_bf16 over the pairs of keys, from 0, then + 0. rows 1..6.
  void (*blend_bf16)(const uint16_t* p, int64_t ldp, int rows, int64_t keys, const uint16_t* v, int64_t ldv, int64_t dv,
                     float* o, int64_t ldo);
  /// to[i] = from[i] as bf16, nearest even, i in [0, n), n a multiple of 16; weights, so no NaN payload to keep.
  void (*narrow_bf16)(const float* from, uint16_t* to, int64_t n);

  const struct BackwardKernels* backward = nullptr;  // backward.h, of the same instruction set
};

/// The best table for this CPU, or the one that the environment variable BAREATTN_ISA names (avx512, avx2, scalar);
/// an unknown name or an instruction set that the CPU lacks: std::invalid_argument at first use.
const KernelTable& table();
/// All tables that this CPU can run, best first, the scalar twin last.
int tables(const KernelTable* out[], int capacity);
/// From now on table() is this one, null: the chosen one again. Not while an attention call runs.
void set_table_for_test(const KernelTable* table);
/// The scalar twin: plain C++, std::fma, the same order of every rounding.
const KernelTable& reference_table();

}  // namespace bareattn::kernels
