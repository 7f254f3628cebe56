// Where the last token looks: its weights averaged over all heads, and the single heads that point hardest at one
// earlier token. Exact weights (Observation::row_weights of the last row).
#pragma once
#include <vector>

#include "bareattn/observation.h"

namespace bareattn::cli {

struct KeyWeight {
  int32_t key;
  double weight;
};

struct HeadLook {
  HeadId head;
  int32_t key;
  double weight;
};

struct LastLook {
  std::vector<double> mean;     // [N], averaged over all heads; sums to 1
  std::vector<KeyWeight> keys;  // strongest first
  double rest = 0;              // what all other keys get
  std::vector<HeadLook> heads;  // strongest first, one per key; not the first token, itself or the one before
};

/// The weight on one named span: means over all heads, and the head with the most of it.
struct SpanLook {
  SpanSet set;
  double mean = 0, last = 0, most = 0;  // NaN: nobody sees it
  HeadId strongest{-1, -1};
};
std::vector<SpanLook> span_looks(const Observation& observation);

/// At most `count` keys and as many heads.
/// `value_weighted`: shares of the size of what all heads write for the last token, each weight times what its key
/// carries; heads: shares of what the head writes.
LastLook last_look(const Observation& observation, int count, bool value_weighted = false);

}  // namespace bareattn::cli
