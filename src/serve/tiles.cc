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

/// By what the weights on the keys of a tile are multiplied, [keys of the tile] each; empty: by 1.
struct Factors {
  std::vector<float> sum, max;
  std::vector<double> received;  // [256]: what the keys of a column of cells receive together; empty: not asked
  struct Part {
    const float *sum, *max;
  };
  Part from(int64_t key) const { return {sum.empty() ? nullptr : &sum[key], max.empty() ? nullptr : &max[key]}; }
};

float largest(const std::vector<float>& values) { return *std::max_element(values.begin(), values.end()); }

Factors factors_of(const Trace& trace, const TileAddress& at, int64_t cell) {
  Factors out;
  if (at.parts == Parts::of_row) return out;
  const int64_t key0 = at.x * tile_cells * cell, key_end = std::min(length(trace), key0 + tile_cells * cell);
  std::vector<float> factors;
  if (at.parts == Parts::carried) {
    const std::vector<float> sizes = sizes_of(trace, at.head);
    const float top = largest(sizes);
    for (int64_t j = key0; j < key_end; ++j) factors.push_back(top > 0 ? sizes[static_cast<size_t>(j)] / top : 0);
    out.sum = out.max = std::move(factors);
    return out;
  }
  const std::vector<double> received = trace.received(at.head);
  out.received.resize(tile_cells);
  for (int64_t j = key0; j < key_end; ++j) {
    const double all = received[static_cast<size_t>(j)];
    factors.push_back(all > 0 ? static_cast<float>(1 / all) : 0);
    if (j > 0 || at.first) out.received[static_cast<size_t>((j - key0) / cell)] += all;
  }
  out.max = std::move(factors);
  return out;
}

/// What the shares of each block of keys are multiplied by; empty: by 1. For of_key, shares times rows.
std::vector<double> block_factors(const Trace& trace, const TileAddress& at, const view::PoolLayout& layout) {
  std::vector<double> out;
  if (at.parts == Parts::of_row) return out;
  const int64_t n = length(trace);
  const std::vector<double> received = trace.received(at.head);
  const std::vector<float> sizes = at.parts == Parts::carried ? sizes_of(trace, at.head) : std::vector<float>();
  for (int64_t block = 0; block < layout.blocks; ++block) {
    double all = 0, carried = 0;
    for (int64_t j = block * layout.block; j < std::min(n, (block + 1) * layout.block); ++j) {
      if (j == 0 && !at.first) continue;
      const double one = received[static_cast<size_t>(j)];
      all += one;
      if (!sizes.empty()) carried += one * static_cast<double>(sizes[static_cast<size_t>(j)]);
    }
    const double top = sizes.empty() ? 0 : static_cast<double>(largest(sizes));
    out.push_back(all <= 0 ? 0 : sizes.empty() ? 1 / all : top > 0 ? carried / all / top : 0);
  }
  return out;
}

/// One row's weights on `keys` keys into the cells it crosses. The width is known to the compiler: loops of 2, 4 and 8
/// become vector code.
template <int cell>
void add_cells(const float* w, int64_t keys, double* sum, float* max) {
  int64_t c = 0;
  for (; (c + 1) * cell <= keys; ++c, w += cell) {
    double total = 0;
    float most = max[c];
    for (int j = 0; j < cell; ++j) {
      total += static_cast<double>(w[j]);
      most = w[j] > most ? w[j] : most;
    }
    sum[c] += total;
    max[c] = most;
  }
  for (int64_t j = 0; j < keys - c * cell; ++j) {
    sum[c] += static_cast<double>(w[j]);
    max[c] = w[j] > max[c] ? w[j] : max[c];
  }
}

void add_row(const float* w, int64_t keys, int64_t cell, Factors::Part by, double* sum, float* max) {
  if (by.sum == nullptr && by.max == nullptr) {
    if (cell == 1) return add_cells<1>(w, keys, sum, max);
    if (cell == 2) return add_cells<2>(w, keys, sum, max);
    if (cell == 4) return add_cells<4>(w, keys, sum, max);
    if (cell == 8) return add_cells<8>(w, keys, sum, max);
  }
  for (int64_t j = 0; j < keys; ++j) {
    const int64_t c = j / cell;
    sum[c] += static_cast<double>(by.sum == nullptr ? w[j] : w[j] * by.sum[j]);
    const float one = by.max == nullptr ? w[j] : w[j] * by.max[j];
    if (one > max[c]) max[c] = one;
  }
}

}  // namespace

std::vector<float> sizes_of(const Trace& trace, HeadId head) {
  return trace.measured().values ? trace.carried(head) : std::vector<float>();
}

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
  const bool single = cell == 1 && at.parts == Parts::of_row;  // the weights themselves
  std::vector<double> sum(single ? 0 : planes.share.size());
  const Factors factors = factors_of(trace, at, cell);
  for (int64_t r = row0; r < std::min(n, row0 + side); r += strip_rows) {
    const int64_t row_end = std::min({n, row0 + side, r + strip_rows});
    for (int64_t k = key0; k < std::min(row_end, key0 + side); k += chunk_keys) {
      if (unseen(trace, r, k, std::min(key0 + side, k + chunk_keys))) continue;  // zeros already
      if (gone.load(std::memory_order_relaxed)) throw Cancelled{};
      const int64_t key_end = std::min({row_end, key0 + side, k + chunk_keys});
      std::vector<float> weights = trace.tile(at.head, {r, row_end}, {k, key_end});
      float* w = weights.data();
      for (int64_t i = r; i < row_end; ++i, w += key_end - k) {
        const int64_t keys = std::min(key_end, i + 1) - k;
        if (keys <= 0) continue;
        if (k == 0 && !at.first) w[0] = 0;
        if (single) {
          std::copy_n(w, keys, planes.share.begin() + static_cast<ptrdiff_t>(at_cell(i - row0, 0)));
          continue;
        }
        const size_t to = at_cell((i - row0) / cell, (k - key0) / cell);
        add_row(w, keys, cell, factors.from(k - key0), sum.data() + to, planes.max.data() + to);
      }
    }
  }
  if (single) {
    planes.max = planes.share;
    return planes;
  }
  for (int64_t r = 0; r < tile_cells; ++r) {
    const double rows = static_cast<double>(std::clamp<int64_t>(n - row0 - r * cell, 1, cell));
    for (int64_t c = 0; c < tile_cells; ++c) {
      const double total = sum[at_cell(r, c)], whole = factors.received.empty() ? rows : factors.received[c];
      planes.share[at_cell(r, c)] = static_cast<float>(total == 0 ? 0 : total / whole);
      // A comparison passes over what is no number; a sum does not.
      if (std::isnan(total)) planes.max[at_cell(r, c)] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  return planes;
}

Planes pooled_planes(const Trace& trace, const view::PoolLayout& layout, const TileAddress& at) {
  const view::PooledMap map = view::pooled_map(trace, at.head, layout);
  const std::vector<double> key = block_factors(trace, at, layout);
  Planes planes{std::vector<float>(tile_cells * tile_cells), std::vector<float>(tile_cells * tile_cells)};
  for (int64_t r = 0; r < tile_cells; ++r) {
    const int64_t row = at.y * tile_cells + r;
    if (row >= layout.blocks) break;
    const auto rows = static_cast<double>(std::min(layout.block, length(trace) - row * layout.block));
    for (int64_t c = 0; c < tile_cells; ++c) {
      const int64_t column = at.x * tile_cells + c;
      if (column > row) break;
      const auto from = static_cast<size_t>(row * (row + 1) / 2 + column);
      const bool part = column == 0 && !at.first;
      double share = part ? map.share_without_first[static_cast<size_t>(row)] : map.share[from];
      if (at.parts == Parts::of_key) share *= rows;
      if (!key.empty()) share *= key[static_cast<size_t>(column)];
      planes.share[at_cell(r, c)] = static_cast<float>(share);
      planes.max[at_cell(r, c)] = part || !key.empty() ? std::numeric_limits<float>::quiet_NaN() : map.max[from];
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
