// Hands the finished rows of a tile, weight by weight, to whoever wants them: top keys and selected full rows.
#include <algorithm>
#include <vector>

#include "attention/tile.h"

namespace bareattn::attend {

using kernels::block_keys;

void Tile::visit(const Sequence& sequence) const {
  std::vector<float> weights;
  for (int64_t e = 0; e < count_; ++e) {
    if (!sequence.visitor->wants(rows_[e].head, rows_[e].row)) continue;
    const Seen seen = seen_[e];
    weights.assign(static_cast<size_t>(seen.end - seen.begin), 0.0F);
    for (int64_t j = seen.begin, stop; j < seen.end; j = stop) {
      stop = std::min(seen.end, (j / block_keys + 1) * block_keys);
      const Seen here = within(e, j / block_keys);  // a window with leading keys leaves gaps in `seen`
      const int64_t block = j / block_keys * block_keys;
      const float f = factor(e, j / block_keys);
      const float* s = strip(e, j / block_keys);
      for (int64_t i = std::max(j, block + here.begin); i < std::min(stop, block + here.end); ++i)
        weights[static_cast<size_t>(i - seen.begin)] = s[i - block] * f;
    }
    sequence.visitor->see(rows_[e].head, rows_[e].row, seen.begin, weights);
  }
}

}  // namespace bareattn::attend
