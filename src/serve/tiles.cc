// See tiles.h.
#include "serve/tiles.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/convert.h"
#include "kernels/kernels.h"

namespace bareattn::serving {
namespace {

constexpr int64_t exact_tokens = 1024;  // a side of an exact tile at the most

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t length(const Trace& trace) { return static_cast<int64_t>(trace.tokens().size()); }

size_t at_cell(int64_t row, int64_t column) { return static_cast<size_t>(row * tile_cells + column); }

/// By what the weights on the keys of a tile are multiplied, [keys of the tile] each; empty: by 1.
struct Factors {
  std::vector<float> sum, max;
  std::vector<float> received;  // [cells]: what the keys of a column of cells receive together; empty: not asked
};

float largest(const std::vector<float>& values) { return *std::max_element(values.begin(), values.end()); }

Factors factors_of(const Trace& trace, const TileAddress& at, const Level& level) {
  Factors out;
  if (at.parts == Parts::of_row) return out;
  const int64_t side = level.cells * level.cell, key0 = at.x * side, key_end = std::min(length(trace), key0 + side);
  std::vector<float> factors;
  if (at.parts == Parts::carried) {
    const std::vector<float> parts = parts_of_largest(sizes_of(trace, at.head));
    out.sum = out.max = {parts.begin() + key0, parts.begin() + key_end};
    return out;
  }
  const std::vector<double> received = trace.received(at.head);
  std::vector<double> together(static_cast<size_t>(level.cells));
  for (int64_t j = key0; j < key_end; ++j) {
    const double all = received[static_cast<size_t>(j)];
    factors.push_back(all > 0 ? static_cast<float>(1 / all) : 0);
    if (j > 0 || at.first) together[static_cast<size_t>((j - key0) / level.cell)] += all;
  }
  out.received.assign(together.begin(), together.end());
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

/// Sums and largest of `n` keys into cells of `cell`. The width is known to the compiler.
template <int64_t cell>
void across(const float* sum, const float* max, int64_t n, float* share, float* most) {
  const auto add = [&](int64_t j, int64_t end) {
    for (; j < end; ++j) {
      *share += sum[j];
      *most = std::max(*most, max[j]);
    }
  };
  int64_t j = 0;
  for (; j + cell <= n; j += cell, ++share, ++most) add(j, j + cell);
  add(j, n);
}

/// A tile that is being filled, by several threads, each with rows of its own.
struct Filling {
  const Level& level;
  const Factors& by;
  int64_t first_row, first_key;  // of the tile
  bool first;                    // the first token's weight counts
  Planes& planes;

  /// A piece begins where cells do.
  void add(const Trace::Piece& piece) const {
    const int64_t keys = piece.keys.end - piece.keys.begin, key = piece.keys.begin - first_key;
    static thread_local std::vector<float> sum, max;
    sum.resize(static_cast<size_t>(keys));
    max.resize(sum.size());
    const auto scale = [key](const std::vector<float>& factors, std::vector<float>& values) {
      for (size_t j = 0; j < values.size() && !factors.empty(); ++j) values[j] *= factors[static_cast<size_t>(key) + j];
    };
    for (int64_t row = piece.rows.begin; row < piece.rows.end; row += level.cell) {
      kernels::table().pool_rows(piece.weights + (row - piece.rows.begin) * piece.stride, piece.stride,
                                 static_cast<int>(std::min(level.cell, piece.rows.end - row)), keys, sum.data(),
                                 max.data());
      if (piece.keys.begin == 0 && !first) sum[0] = max[0] = 0;
      scale(by.sum, sum);
      scale(by.max, max);
      const int64_t to = (row - first_row) / level.cell * level.cells + key / level.cell;
      float *share = planes.share.data() + to, *most = planes.max.data() + to;
      if (level.cell == 1) across<1>(sum.data(), max.data(), keys, share, most);
      if (level.cell == 2) across<2>(sum.data(), max.data(), keys, share, most);
      if (level.cell == 4) across<4>(sum.data(), max.data(), keys, share, most);
      if (level.cell == 8) across<8>(sum.data(), max.data(), keys, share, most);
    }
  }
};

}  // namespace

std::vector<float> parts_of_largest(std::vector<float> sizes) {
  const float top = largest(sizes);
  for (float& size : sizes) size = top > 0 ? size / top : 0;
  return sizes;
}

std::vector<float> sizes_of(const Trace& trace, HeadId head) {
  return trace.measured().values ? trace.carried(head) : std::vector<float>();
}

std::vector<Level> levels_of(const Trace& trace) {
  const int64_t n = length(trace), block = trace.pool_block();
  const bool doubling = std::has_single_bit(static_cast<uint64_t>(block));  // else no pooled cell is 2^z tokens
  std::vector<Level> levels;
  for (int64_t z = 0, cell = 1; levels.empty() || levels.back().tiles > 1; ++z, cell *= 2) {
    // Single cells come from Q and K also where the map is as fine.
    const bool exact = cell <= widest_exact_cell && cell < std::max<int64_t>(block, 2 * widest_exact_cell);
    if (!exact && !doubling) break;
    const int64_t cells = exact ? std::min(tile_cells, exact_tokens / cell) : tile_cells;
    if (exact || cell >= block) levels.push_back({z, cell, exact, cells, divide_up(n, cell * cells)});
  }
  return levels;
}

Planes exact_planes(const Trace& trace, const TileAddress& at, const Level& level, const Gone& gone) {
  const int64_t n = length(trace), cell = level.cell, side = level.cells * cell;
  const int64_t row0 = at.y * side, key0 = at.x * side, rows_end = std::min(n, row0 + side);
  const auto at_cell = [&](int64_t row, int64_t column) { return static_cast<size_t>(row * level.cells + column); };
  const auto all = static_cast<size_t>(level.cells * level.cells);
  Planes planes{std::vector<float>(all), std::vector<float>(all)};
  const Factors factors = factors_of(trace, at, level);
  const Filling filling{level, factors, row0, key0, at.first, planes};
  if (row0 < n && key0 < n)
    trace.visit(at.head, {row0, rows_end}, {key0, std::min(n, key0 + side)}, [&](const Trace::Piece& piece) {
      if (gone.load(std::memory_order_relaxed)) throw Cancelled{};
      filling.add(piece);
    });
  for (int64_t r = 0; r < level.cells; ++r) {
    const auto rows = static_cast<float>(std::clamp<int64_t>(n - row0 - r * cell, 1, cell));
    for (int64_t c = 0; c < level.cells; ++c) {
      float& share = planes.share[at_cell(r, c)];
      if (share != 0) share /= factors.received.empty() ? rows : factors.received[static_cast<size_t>(c)];
      // A comparison passes over what is no number; a sum does not.
      if (std::isnan(share)) planes.max[at_cell(r, c)] = std::numeric_limits<float>::quiet_NaN();
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
