// Projections: Y [rows, n] = X [rows, k] W^T, W [n, k] packed once. One fused-multiply-add chain per output over k in
// order (bf16: pairs, f32 accumulation), so a row's bits depend neither on how many rows come with it, nor on threads:
// a model run in chunks, in one piece or token by token gives one answer. It is the same register tile as q.k.
#pragma once
#include <cstdint>

#include "base/aligned.h"

namespace bareattn::kernels {

enum class Storage { f32, bf16 };

/// W [n, k] in panels of 64 rows, k-major inside a panel (bf16: pairs of k beside each other), zero padded.
struct PackedMatrix {
  Storage storage = Storage::f32;
  int64_t n = 0, k = 0;
  base::AlignedBuffer data;
};
inline constexpr int64_t panel_rows = 64;

PackedMatrix allocate_packed(int64_t n, int64_t k, Storage storage);
/// Writes rows [first, first + count) of W from `rows` [count, k] f32 (bf16: rounded to nearest even). Different rows
/// may be written by different threads.
void pack_rows(PackedMatrix& matrix, int64_t first, int64_t count, const float* rows);

/// Y [rows, n] (row stride ldy) for output columns [n_begin, n_end), n_begin a multiple of 64. X [rows, k], row stride
/// ldx. In bf16 X is rounded to bf16 first. Single-threaded: the caller splits rows and columns over workers.
void gemm(const float* x, int64_t ldx, int64_t rows, const PackedMatrix& w, int64_t n_begin, int64_t n_end, float* y,
          int64_t ldy);

}  // namespace bareattn::kernels
