// See run.h: rows become tiles, tiles become tasks, longest first.
#include "attention/run.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "attention/tile.h"

namespace bareattn::attend {

void run(const Sequence& sequence, base::ThreadPool& pool) {
  const int64_t rows = sequence.q.shape[0], heads = sequence.q.shape[1];
  if (rows == 0 || heads == 0) return;
  // Few rows (decode): the heads of a group go through a tile together, so that each key is read once for all of them.
  const int64_t group = heads / sequence.cache->kv_heads();
  const int64_t together = rows * group <= tile_height ? group : 1;
  const int64_t row_tiles = (rows + tile_height - 1) / tile_height, columns = heads / together;
  static thread_local std::vector<Tile> tiles;  // of the calling thread: scratch survives from call to call
  if (static_cast<int>(tiles.size()) < pool.size()) tiles.resize(static_cast<size_t>(pool.size()));
  std::vector<Tile>& workers = tiles;
  std::vector<std::mutex> locks(static_cast<size_t>(heads));
  pool.run(row_tiles * columns, [&](int64_t task, int worker) {
    const int64_t tile = row_tiles - 1 - task / columns, column = task % columns;  // late rows see the most keys
    const int64_t first = tile * tile_height, count = std::min(tile_height, rows - first);
    std::vector<TileRow> list;
    for (int64_t h = 0; h < together; ++h)
      for (int64_t r = 0; r < count; ++r) list.push_back({column * together + h, first + r});
    workers[static_cast<size_t>(worker)].compute(sequence, list, locks);
  });
}

}  // namespace bareattn::attend
