// See run.h: rows become tiles, tiles become tasks, longest first.
#include "attention/run.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "attention/tile.h"

namespace bareattn::attend {

namespace {

// A step of decode over many keys: there are fewer head groups than would keep all workers busy, so each group's keys
// are split as well, at block boundaries, and the block states are merged in order afterwards.
void run_split(const Sequence& sequence, base::ThreadPool& pool, std::vector<Tile>& workers,
               const std::vector<std::vector<TileRow>>& columns) {
  constexpr int64_t blocks_per_task = 2;
  const int64_t blocks = (sequence.cache->length() + kernels::block_keys - 1) / kernels::block_keys;
  const int64_t pieces = (blocks + blocks_per_task - 1) / blocks_per_task;
  const int64_t block_floats = Tile::partial_floats(sequence), column_floats = blocks * block_floats;
  static thread_local base::AlignedBuffer partial;
  partial.reserve<float>(column_floats * static_cast<int64_t>(columns.size()));
  float* states = partial.as<float>();
  const auto count = static_cast<int64_t>(columns.size());
  pool.run(count * pieces, [&](int64_t task, int worker) {
    const int64_t column = task / pieces, first = task % pieces * blocks_per_task;
    workers[static_cast<size_t>(worker)].compute_blocks(sequence, columns[static_cast<size_t>(column)], first,
                                                        std::min(blocks, first + blocks_per_task),
                                                        states + column * column_floats);
  });
  pool.run(count, [&](int64_t column, int worker) {
    workers[static_cast<size_t>(worker)].join(sequence, columns[static_cast<size_t>(column)],
                                              states + column * column_floats);
  });
}

}  // namespace

void run(const Sequence& sequence, base::ThreadPool& pool) {
  const int64_t rows = sequence.q.shape[0], heads = sequence.q.shape[1];
  if (rows == 0 || heads == 0) return;
  // Few rows (decode): the heads of a group go through a tile together, so that each key is read once for all of them.
  const int64_t group = heads / sequence.cache->kv_heads();
  constexpr int64_t low = 48;
  const int64_t together = rows * group <= low ? group : 1;
  // Where keys and values are more than L2 holds, more rows go over them at a time (8,192 keys: 7 % quicker with 96
  // rows than with 48; up to 2,048 keys as quick, and fewer rows are shared out more evenly).
  const int64_t height = sequence.cache->length() > 2048 ? tile_height : low;
  const int64_t row_tiles = (rows + height - 1) / height, columns = heads / together;
  static thread_local std::vector<Tile> tiles;  // of the calling thread: scratch survives from call to call
  if (static_cast<int>(tiles.size()) < pool.size()) tiles.resize(static_cast<size_t>(pool.size()));
  std::vector<Tile>& workers = tiles;
  const auto rows_of = [&](int64_t tile, int64_t column) {
    std::vector<TileRow> list;
    for (int64_t h = 0; h < together; ++h)
      for (int64_t r = tile * height; r < std::min(rows, (tile + 1) * height); ++r)
        list.push_back({column * together + h, r});
    return list;
  };
  if (row_tiles == 1 && sequence.statistics == nullptr && pool.size() > 1 &&
      sequence.cache->length() >= 4 * kernels::block_keys && columns % pool.size() != 0) {
    std::vector<std::vector<TileRow>> all;
    for (int64_t column = 0; column < columns; ++column) all.push_back(rows_of(0, column));
    return run_split(sequence, pool, workers, all);
  }
  std::vector<std::mutex> locks(static_cast<size_t>(heads));
  for (Tile& tile : workers) tile.forget();
  pool.run(row_tiles * columns, [&](int64_t task, int worker) {
    const int64_t tile = row_tiles - 1 - task / columns;  // late rows see the most keys
    workers[static_cast<size_t>(worker)].compute(sequence, rows_of(tile, task % columns), locks);
  });
  if (sequence.statistics != nullptr)
    pool.run(pool.size(), [&](int64_t worker, int) { workers[static_cast<size_t>(worker)].finish(); });
}

}  // namespace bareattn::attend
