// See tiles.h.
#include "serve/tiles.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/convert.h"

namespace bareattn::serving {
namespace {

constexpr int64_t strip_rows = 256;   // weights held at once: strip_rows x chunk_keys
constexpr int64_t chunk_keys = 2048;  // what Trace::tile does on one thread

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t length(const Trace& trace) { return static_cast<int64_t>(trace.tokens().size()); }

/// Whether no row from `row` on sees any of the keys, for the run's window.
bool unseen(const Trace& trace, int64_t row, int64_t key, int64_t key_end) {
  const Reach& reach = trace.run().reach;
  return reach.window >= 0 && key >= reach.sinks && key_end <= row - reach.window;
}

size_t at_cell(int64_t row, int64_t column) { return static_cast<size_t>(row * tile_cells + column); }

}  // namespace

std::vector<Level> levels_of(const Trace& trace) {
  const int64_t n = length(trace), block = trace.pool_block();
  const bool doubling = std::has_single_bit(static_cast<uint64_t>(block));  // else no pooled cell is 2^z tokens
  std::vector<Level> levels;
  for (int64_t z = 0, cell = 1; levels.empty() || levels.back().tiles > 1; ++z, cell *= 2) {
    const bool exact = cell < block && cell <= widest_exact_cell;
    if (!exact && !doubling) break;
    if (exact || cell >= block) levels.push_back({z, cell, exact, divide_up(n, cell * tile_cells)});
  }
  return levels;
}

Planes exact_planes(const Trace& trace, const TileAddress& at, int64_t cell, const Gone& gone) {
  const int64_t n = length(trace), side = tile_cells * cell;
  const int64_t row0 = at.y * side, key0 = at.x * side;
  Planes planes{std::vector<float>(tile_cells * tile_cells), std::vector<float>(tile_cells * tile_cells)};
  std::vector<double> sum(cell > 1 ? planes.share.size() : 0);
  for (int64_t r = row0; r < std::min(n, row0 + side); r += strip_rows) {
    const int64_t row_end = std::min({n, row0 + side, r + strip_rows});
    for (int64_t k = key0; k < std::min(row_end, key0 + side); k += chunk_keys) {
      if (unseen(trace, r, k, std::min(key0 + side, k + chunk_keys))) continue;  // zeros already
      if (gone.load(std::memory_order_relaxed)) throw Cancelled{};
      const int64_t key_end = std::min({n, key0 + side, k + chunk_keys});
      const std::vector<float> weights = trace.tile(at.head, {r, row_end}, {k, key_end});
      const float* w = weights.data();
      for (int64_t i = r; i < row_end; ++i, w += key_end - k) {
        const int64_t to = std::min(key_end, i + 1);
        if (cell == 1) {
          if (to > k) std::copy_n(w, to - k, planes.share.begin() + static_cast<ptrdiff_t>(at_cell(i - row0, 0)));
          continue;
        }
        for (int64_t j = k; j < to; ++j) {
          if (j == 0 && !at.first) continue;
          const size_t to_cell = at_cell((i - row0) / cell, (j - key0) / cell);
          const float weight = w[j - k];
          sum[to_cell] += static_cast<double>(weight);
          // Not std::max: a NaN must win, whichever side it stands on.
          if (std::isnan(weight) || weight > planes.max[to_cell]) planes.max[to_cell] = weight;
        }
      }
    }
  }
  if (cell == 1) {
    if (!at.first && at.x == 0) {
      for (int64_t r = 0; r < tile_cells; ++r) planes.share[at_cell(r, 0)] = 0;
    }
    planes.max = planes.share;
    return planes;
  }
  for (int64_t r = 0; r < tile_cells; ++r) {
    const double rows = static_cast<double>(std::clamp<int64_t>(n - row0 - r * cell, 1, cell));
    for (int64_t c = 0; c < tile_cells; ++c)
      planes.share[at_cell(r, c)] = static_cast<float>(sum[at_cell(r, c)] / rows);
  }
  return planes;
}

Planes pooled_planes(const view::PooledMap& map, const view::PoolLayout& layout, const TileAddress& at) {
  Planes planes{std::vector<float>(tile_cells * tile_cells), std::vector<float>(tile_cells * tile_cells)};
  for (int64_t r = 0; r < tile_cells; ++r) {
    const int64_t row = at.y * tile_cells + r;
    if (row >= layout.blocks) break;
    for (int64_t c = 0; c < tile_cells; ++c) {
      const int64_t key = at.x * tile_cells + c;
      if (key > row) break;
      const auto from = static_cast<size_t>(row * (row + 1) / 2 + key);
      const bool part = key == 0 && !at.first;
      planes.share[at_cell(r, c)] =
          static_cast<float>(part ? map.share_without_first[static_cast<size_t>(row)] : map.share[from]);
      planes.max[at_cell(r, c)] = part ? std::numeric_limits<float>::quiet_NaN() : map.max[from];
    }
  }
  return planes;
}

std::string encode(const std::vector<float>& values, Type type) {
  static_assert(std::endian::native == std::endian::little);
  std::string out;
  if (type == Type::u8) {
    out.reserve(values.size());
    for (const float v : values) out.push_back(static_cast<char>(view::log_code(static_cast<double>(v))));
  } else if (type == Type::f16) {
    std::vector<uint16_t> half(values.size());
    kernels::f16_from_f32(values.data(), half.data(), static_cast<int64_t>(values.size()));
    out.assign(reinterpret_cast<const char*>(half.data()), 2 * half.size());
  } else {
    out.assign(reinterpret_cast<const char*>(values.data()), 4 * values.size());
  }
  return out;
}

std::string encode(const Planes& planes, Pool pool, Type type) {
  if (pool == Pool::sum) return encode(planes.share, type);
  if (pool == Pool::max) return encode(planes.max, type);
  return encode(planes.share, type) + encode(planes.max, type);
}

}  // namespace bareattn::serving
