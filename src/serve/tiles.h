// Tiles of 256 x 256 cells of one head, of 2^z tokens a cell: z = 0 is single weights, exact, as are 2, 4 and 8 tokens
// a cell (of 8 a tile has 128 x 128 cells, so that none is made of more than 1,024 x 1,024 weights), made from Q, K and
// the rows' sums when asked for; from the trace's own blocks on, its pooled map. Nothing is interpolated: between 8
// tokens and a block there is no z. A tile costs the same at any length.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "bareattn/trace.h"
#include "view/page_sections.h"

namespace bareattn::serving {

inline constexpr int64_t tile_cells = 256;
inline constexpr int64_t widest_exact_cell = 8;

struct Level {
  int64_t z = 0;
  int64_t cell = 1;            // tokens a side of one cell: 2^z
  bool exact = false;          // made from Q and K; else from the trace's pooled map
  int64_t cells = tile_cells;  // a side of a tile
  int64_t tiles = 1;           // tiles a side of the map
};
std::vector<Level> levels_of(const Trace& trace);  // fine to coarse; the last is the whole map in one tile

enum class Pool { sum, max, both };
enum class Type { f16, f32, u8 };

/// What a cell is a part of: of what its rows give; of what its keys receive from all rows; or the weights times the
/// size of what the keys carry, |W_O v|, as a part of the largest such size.
enum class Parts { of_row, of_key, carried };

struct TileAddress {
  HeadId head;
  int64_t x = 0, y = 0;  // tile column (keys) and row
  bool first = true;     // the first token's weight counts
  Parts parts = Parts::of_row;
};

/// The size of what each key carries, [N]; empty where the trace does not hold it: then nothing is `carried`.
std::vector<float> sizes_of(const Trace& trace, HeadId head);

/// Each as a part of the largest; 0 where all are.
std::vector<float> parts_of_largest(std::vector<float> sizes);

/// Set when nobody waits for the answer any more.
using Gone = std::atomic<bool>;

/// Share and largest weight of each cell, [cells, cells] of the level each, rows first; 0 above the diagonal and past
/// the text. The largest weight of a pooled cell of column 0 without the first token is not known, nor is any but
/// of_row: NaN. Throws Cancelled once `gone`.
struct Planes {
  std::vector<float> share, max;
};
Planes exact_planes(const Trace& trace, const TileAddress& at, const Level& level, const Gone& gone);
Planes pooled_planes(const Trace& trace, const view::PoolLayout& layout, const TileAddress& at);

/// Little-endian, the planes that `pool` names one after the other. u8: the log code of docs/page-format.md.
std::string encode(const Planes& planes, Pool pool, Type type);
std::string encode(const std::vector<float>& values, Type type);

}  // namespace bareattn::serving
