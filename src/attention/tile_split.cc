// Decode: one tile's blocks computed apart, then joined in order (tile.h).
#include <algorithm>

#include "attention/tile.h"

namespace bareattn::attend {

using kernels::lanes;
using kernels::tile_rows;

namespace {

// Per group of 6 rows: 16 maxima, 16 sums, then the blend [6, ldv].
int64_t group_floats(const Sequence& sequence) { return 2 * lanes + tile_rows * sequence.cache->value_stride(); }

}  // namespace

int64_t Tile::partial_floats(const Sequence& sequence) { return tile_height / tile_rows * group_floats(sequence); }

void Tile::compute_blocks(const Sequence& sequence, std::span<const TileRow> rows, int64_t first, int64_t last,
                          float* partial) {
  prepare(sequence, rows);
  for (int64_t e = 0; e < count_; e += tile_rows) load_queries(sequence, e);
  first = std::max(first, first_block_);
  last = std::min(last, first_block_ + blocks_);
  for (int64_t index = first; index < last; ++index) {
    const KvBlock kv = sequence.cache->block(kv_head(sequence), index);
    for (int64_t e = 0; e < count_; e += tile_rows) {
      const Group here = group(e, index);
      if (here.all.begin >= here.all.end) continue;
      block(sequence, kv, here, block_o_.as<float>());
      float* out = partial + index * partial_floats(sequence) + e / tile_rows * group_floats(sequence);
      std::copy_n(group_max_, lanes, out);
      std::copy_n(group_sum_, lanes, out + lanes);
      std::copy_n(block_o_.as<float>(), here.rows * sequence.cache->value_stride(), out + 2 * lanes);
    }
  }
}

void Tile::join(const Sequence& sequence, std::span<const TileRow> rows, const float* partial) {
  prepare(sequence, rows);
  for (int64_t index = first_block_; index < first_block_ + blocks_; ++index)
    for (int64_t e = 0; e < count_; e += tile_rows) {
      const Group here = group(e, index);
      if (here.all.begin >= here.all.end) continue;
      const float* in = partial + index * partial_floats(sequence) + e / tile_rows * group_floats(sequence);
      merge(sequence, here, in, in + lanes, in + 2 * lanes);
    }
  if (!sequence.terms.sinks.empty()) join_sinks(sequence);
  write_output(sequence);
}

}  // namespace bareattn::attend
