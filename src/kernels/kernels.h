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
inline constexpr int64_t ahead_floats = 8;    // of BlendArgs::ahead, a key
inline constexpr int lanes = 16;              // virtual lanes of every sum over keys, whatever the hardware width
constexpr int64_t up16(int64_t n) { return (n + lanes - 1) / lanes * lanes; }

/// The states of rows over one block: x = s - max, e^x, and its sums. All but max and sum only where measured.
struct BlockStates {
  float* max = nullptr;      // [rows]
  float* sum = nullptr;      // of e^x
  float* entropy = nullptr;  // of e^x x
  float* squares = nullptr;  // of e^2x
  float* distance =
      nullptr;  // of e^x (origin - key): of e^x times its multiple of 16, then per lane the rest times the lane's sum
  int32_t* max_key =
      nullptr;  // first key with x = 0, relative to the block; -1 where max is not above what was seen before

  BlockStates from(int64_t row) const {
    const auto at = [row](auto* p) { return p == nullptr ? p : p + row; };
    return {max + row, sum + row, at(entropy), at(squares), at(distance), at(max_key)};
  }
};

/// softmax_rows: s[r * lds + key], key in [0, keys[r]), becomes e^(s - max), zero up to `padded`; -inf scores are
/// masked: weight 0. rows 1..6. A row of no keys: max -inf, sum 0.
struct SoftmaxArgs {
  float* s;  // [rows, padded]
  int64_t lds;
  int rows;
  const int64_t* keys;    // [rows]
  int64_t padded;         // a multiple of 16, at least every keys[r]
  const int32_t* origin;  // [rows]: the row's position relative to the block's first key; null without seen_max
  const float* seen_max;  // [rows]: largest score of the blocks before. Null: just max and sum are made
  BlockStates state;
};

/// join_states: rows whose blocks have all been merged. factor = e^(block max - max) / sum for each block, so that a
/// weight is e^x * factor; and of the measures, from the last block to the first, in f64, each operation rounded:
/// entropy -= factor (block entropy + block sum (block max - max)), squares += factor^2 block squares,
/// distance += factor block distance (blocks of factor or sum 0 are left out), max_key is that of the first block with
/// its max equal to the row's.
struct JoinArgs {
  int64_t rows, blocks;  // rows: a multiple of 16
  BlockStates states;    // [blocks, stride]
  int64_t stride;
  const float* max;  // [rows], -inf: nothing was seen
  const float* sum;  // [rows]
  float* factor;     // [blocks, stride]
  double* entropy;   // [rows], each to be set before. Null: no measures
  double* squares;
  double* distance;
  int32_t* max_key;
  int32_t first_key;  // of the first block
};

/// finish_rows: one block of rows whose states are finished. Weights w = p * factor, in units of 2^-27 (so w here is
/// the weight times 2^27, exactly); no p is NaN.
struct FinishArgs {
  const float* const* p;  // [rows]: each row's [padded] e^x of the block
  const float* factor27;  // [rows]: e^(block max - row max) / row sum * 2^27
  int rows;               // up to 31: so many weights of one key fit 32 bits
  int64_t padded;         // keys, a multiple of 16, zero past the visible ones
  int64_t keys;           // of `received`, at most padded
  uint64_t* received;     // [keys]: round(w) of every row is added; may be null
  uint32_t* cell_sum;     // [padded / 16]: the same for cells of 16 keys, set; null: no cells
  float* cell_max;        // [padded / 16]: the largest w of the cell, set; null: not wanted
};

/// blend: o[r * ldo + e] = sum over keys of p[r * ldp + key] * v[key * ldv + e], one fma chain in key order, from 0 or
/// (accumulate) from what o holds, then + 0 (so that no -0 is left). rows 1..6; dv rounded up to whole vectors of at
/// most 16 (v and o are padded for it). With N = uint16_t the numbers are bf16 bits: p [rows, keys] (keys even, zero
/// padded), v [keys / 2][ldv][2], in the order of dot_pair_bf16 over the pairs of keys, always from 0.
template <class N>
struct BlendArgs {
  const N* p;
  int64_t ldp;
  int rows;
  int64_t keys;
  const N* v;
  int64_t ldv, dv;
  float* o;
  int64_t ldo;
  bool accumulate = false;
  const float* ahead = nullptr;  // asked for meanwhile, 64 bytes for two keys: what the caller reads next. May be null
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

  void (*blend)(const BlendArgs<float>& args);

  /// Row states (max, sum) take in one block's, per row i in [0, n), n padded to 16: m' = max(m, block max),
  /// a = e^(m - m'), b = e^(block max - m'), sum = fma(sum, a, block_sum * b). A row that has seen nothing has max
  /// -inf.
  void (*merge_states)(float* max, float* sum, const float* block_max, const float* block_sum, float* a, float* b,
                       int64_t n);
  void (*join_states)(const JoinArgs& args);
  /// y[i] = e^x[i] (exp.h), n padded to 16.
  void (*exp_below)(const float* x, float* y, int64_t n);
  /// o[e] = fma(o[e], a, block[e] * b), e in [0, dv)
  void (*merge)(float* o, const float* block, float a, float b, int64_t dv);

  /// to[i] = from[i] / by, i in [0, n), any n: nothing past it is read or written.
  void (*divide)(const float* from, float by, float* to, int64_t n);

  void (*finish_rows)(const FinishArgs& args);

  /// sum[r] of s[r][j] for j in [begin[r], end[r]), of four rows of a block's strip, end <= 512. What lies outside may
  /// be read up to whole groups of 16 keys, and has no part.
  void (*run_sums)(const float* const* s, const int64_t* begin, const int64_t* end, float* sum);

  /// sum[j] = sum over r of w[r * ldw + j], in order from 0, and max[j] the largest of them and 0 (what is no number
  /// shows in the sum alone); j in [0, keys), any number of either.
  void (*pool_rows)(const float* w, int64_t ldw, int rows, int64_t keys, float* sum, float* max);

  /// The same for bf16: q [rows, d] and panels [d / 2][64][2] as bf16 bits (d even, zero padded), f32 accumulation
  /// in d order; products are exact, each addition rounds to nearest even, denormal sums and inputs count as 0 (the
  /// hardware instruction's rule, kept by all). scale [rows]: what a finished sum is multiplied by; null: 1.
  void (*score_tile_bf16)(const uint16_t* q, int64_t ldq, int rows, int64_t d, const uint16_t* panel, int columns,
                          float* s, int64_t lds, bool accumulate, const float* scale);

  void (*blend_bf16)(const BlendArgs<uint16_t>& args);
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
