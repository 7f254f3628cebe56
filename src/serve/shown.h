// One run as it is shown: what every route about it answers with. Immutable but for the cache, so that many threads may
// ask at once, and replaced as a whole when live mode has run another text. Next: routes.h.
#pragma once
#include <memory>
#include <string>

#include "bareattn/lesson.h"
#include "bareattn/trace.h"
#include "serve/cache.h"
#include "serve/message.h"
#include "serve/tiles.h"

namespace bareattn::serving {

struct ShownOptions {
  std::string title = {};                     // empty: the trace's
  bool live = false;                          // a model is at hand to run other texts, and this one steered
  bool value_weighted = false;                // the page opens with weights times the size of what keys carry
  bool against = false;                       // a second run is served beside this one
  std::shared_ptr<const Lesson> lesson = {};  // the page's tour; null: none
  std::shared_ptr<const Trace> before;        // of a second run: the first, over the same tokens
  int64_t cache_bytes = 64 << 20;
};

class Shown {
 public:
  /// Reads the means of all heads and their thumbnails. InputError where the trace was made without the rows' measures,
  /// the columns or the map, or cannot be compared with the one before; Cancelled where `progress` (in heads) says so.
  Shown(std::shared_ptr<const Trace> trace, const ShownOptions& options, const Progress& progress);

  /// Names the run in addresses: what was kept under another id is not of this run.
  const std::string& id() const { return id_; }
  const Trace& trace() const { return *trace_; }
  const std::shared_ptr<const Trace>& shared_trace() const { return trace_; }
  Cache& cache() const { return cache_; }

  Answer text() const;  // the description of docs/page-format.md, with the tokens
  Answer section(const std::string& kind, HeadId head) const;  // "thumbs" (of all heads), "pool", "rows", "keys"
  Answer agreement(int layer, const Gone& gone) const;         // how alike its heads are, exactly
  Answer tileset(HeadId head) const;
  struct Tile {
    TileAddress at;
    int64_t z = 0;
    Pool pool = Pool::sum;
    Type type = Type::f16;
  };
  /// 404 where there is no such tile.
  Answer tile(const Tile& tile, const Gone& gone) const;
  /// The strongest keys, and what the others get; f32 [row + 1]. Value-weighted: 404 where that was not kept.
  Answer row(HeadId head, int64_t row, int top, bool value_weighted) const;
  Answer row_weights(HeadId head, int64_t row, bool value_weighted) const;

 private:
  std::shared_ptr<const Trace> trace_;
  std::string id_;
  std::vector<Level> levels_;
  view::PoolLayout layout_;
  std::shared_ptr<const std::string> page_, thumbs_;
  mutable Cache cache_;
};

}  // namespace bareattn::serving
