// What the page holds of each head, as packed sections (docs/page-format.md): thumbnails of all heads, the pooled map,
// the measures along both edges, and for exact heads Q, K and LSE. Chooses nothing: see page_select.h for what goes in.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "bareattn/agreement.h"
#include "bareattn/observation.h"
#include "view/encode.h"

namespace bareattn::view {

struct Section {
  std::string name;  // "pool/3.7"
  std::string base64;
  /// Bytes in the page, markup included.
  int64_t size() const { return static_cast<int64_t>(base64.size() + name.size()) + section_markup; }
  static constexpr int64_t section_markup = 64;
};

/// How the pooled map is laid out after merging `merge` x `merge` of the observation's blocks into one.
struct PoolLayout {
  int merge = 1;
  int64_t block = 0;   // tokens per block
  int64_t blocks = 0;  // B
};
PoolLayout pool_layout(const Observation& observation, int merge);

/// The pooled map of one head as shares of the rows' weight: what a row of block r gives to the keys of block c, mean
/// over its rows; and the largest single weight.
struct PooledMap {
  std::vector<double> share;                // [B (B + 1) / 2]
  std::vector<float> max;                   // [B (B + 1) / 2]
  std::vector<double> share_without_first;  // [B]: column block 0 again, the first token's weight left out
};
PooledMap pooled_map(const Observation& observation, HeadId head, const PoolLayout& layout);

/// Codes [B (B + 1) / 2] of share, then of max, then [B] of share_without_first.
Bytes pool_bytes(const PooledMap& map);

/// A small picture of the whole map, at most `thumb_cells` a side: codes of shares [T (T + 1) / 2], then [T] without
/// the first token.
inline constexpr int64_t thumb_cells = 40;
int64_t thumb_merge(const PoolLayout& layout);  // blocks of the layout per cell
Bytes thumb_bytes(const PooledMap& map, const PoolLayout& layout, int64_t tokens);

/// Per token, five planes [N]: mean weight received as a key (log code), entropy as a row (linear code, 0 .. ln N),
/// weight on the strongest key (log code), the strongest key (low byte, high byte; a third plane above 65,536 tokens).
Bytes row_bytes(const Observation& observation, HeadId head);

Bytes q_bytes(const Observation& observation, HeadId head);  // Q [N, D] in planes, then LSE [N] f32
/// Of each key of an exact head: weight received [N] f32 and, where V was kept, the size of what it carries [N] f32.
Bytes key_bytes(const Observation& observation, HeadId head);
/// How alike a layer's heads are, f32: rows compared; JS [Hq, Hq]; where `outputs`, the cosine of what they write, too.
Bytes agreement_bytes(const Agreement& agreement, int layer, int heads, bool outputs);
Bytes k_bytes(const Observation& observation, int layer, int kv_head);  // K [N, D] in planes

}  // namespace bareattn::view
