// Projections on the score tile; see gemm.h. The k axis is cut so that a panel's slice (32 KB) stays in L1 while every
// row group of the call runs over it; a chain goes on from memory, so the cut does not change a bit.
#include "kernels/gemm.h"

#include <algorithm>
#include <vector>

#include "kernels/convert.h"
#include "kernels/kernels.h"

namespace bareattn::kernels {
namespace {

constexpr int64_t slice_f32 = 128, slice_bf16 = 256;  // 128 * 64 * 4 = 256 * 64 * 2 = 32 KB

int64_t panels(int64_t n) { return (n + panel_rows - 1) / panel_rows; }
int64_t padded_k(int64_t k) { return (k + 1) / 2 * 2; }

// Y columns past n would be written by whole vectors: the last panel goes through a small buffer.
template <class Tile>
void run_panels(int64_t rows, int64_t n, int64_t n_begin, int64_t n_end, float* y, int64_t ldy, Tile&& tile) {
  std::vector<float> edge;
  for (int64_t first = n_begin; first < n_end; first += panel_rows) {
    const int64_t columns = std::min(panel_rows, n - first);
    if (columns == panel_rows) {
      tile(first, y + first, ldy);
      continue;
    }
    edge.resize(static_cast<size_t>(rows * panel_rows));
    tile(first, edge.data(), panel_rows);
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(edge.data() + r * panel_rows, std::min(columns, n_end - first), y + r * ldy + first);
  }
}

}  // namespace

PackedMatrix allocate_packed(int64_t n, int64_t k, Storage storage) {
  PackedMatrix matrix;
  matrix.storage = storage;
  matrix.n = n;
  matrix.k = k;
  const int64_t elements = panels(n) * panel_rows * padded_k(k);
  matrix.data = base::AlignedBuffer(static_cast<size_t>(elements) * (storage == Storage::f32 ? 4 : 2));
  return matrix;
}

void pack_rows(PackedMatrix& matrix, int64_t first, int64_t count, const float* rows) {
  const int64_t k = matrix.k, stride = padded_k(k) * panel_rows;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = first + i, lane = row % panel_rows;
    const float* x = rows + i * k;
    if (matrix.storage == Storage::f32) {
      float* panel = matrix.data.as<float>() + row / panel_rows * stride + lane;
      for (int64_t d = 0; d < k; ++d) panel[d * panel_rows] = x[d];
    } else {
      uint16_t* panel = matrix.data.as<uint16_t>() + row / panel_rows * stride + 2 * lane;
      for (int64_t d = 0; d < k; ++d) panel[d / 2 * 2 * panel_rows + d % 2] = bf16_from_f32(x[d]);
    }
  }
}

void gemm(const float* x, int64_t ldx, int64_t rows, const PackedMatrix& w, int64_t n_begin, int64_t n_end, float* y,
          int64_t ldy) {
  const KernelTable& kernels = table();
  const int64_t k = w.k, stride = padded_k(k) * panel_rows;
  if (w.storage == Storage::f32) {
    run_panels(rows, w.n, n_begin, n_end, y, ldy, [&](int64_t first, float* out, int64_t ld) {
      const float* panel = w.data.as<float>() + first / panel_rows * stride;
      for (int64_t d = 0; d < k; d += slice_f32)
        for (int64_t r = 0; r < rows; r += tile_rows)
          kernels.score_tile(x + r * ldx + d, ldx, static_cast<int>(std::min<int64_t>(tile_rows, rows - r)),
                             std::min(slice_f32, k - d), panel + d * panel_rows, panel_rows, out + r * ld, ld, d > 0);
    });
    return;
  }
  const int64_t ld16 = padded_k(k);
  thread_local std::vector<uint16_t> bf16;
  bf16.assign(static_cast<size_t>(rows * ld16), 0);
  for (int64_t r = 0; r < rows; ++r) bf16_from_f32(x + r * ldx, bf16.data() + r * ld16, k);
  run_panels(rows, w.n, n_begin, n_end, y, ldy, [&](int64_t first, float* out, int64_t ld) {
    const uint16_t* panel = w.data.as<uint16_t>() + first / panel_rows * stride;
    for (int64_t d = 0; d < k; d += slice_bf16)
      for (int64_t r = 0; r < rows; r += tile_rows)
        kernels.score_tile_bf16(
            bf16.data() + r * ld16 + d, ld16, static_cast<int>(std::min<int64_t>(tile_rows, rows - r)),
            std::min(slice_bf16, ld16 - d), panel + d * panel_rows, panel_rows, out + r * ld, ld, d > 0, nullptr);
  });
}

}  // namespace bareattn::kernels
