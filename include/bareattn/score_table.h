// What a run does to the scores and blends of its heads: one bias by spans per layer, b[layer, head, query span, key
// span], with per-head temperature, sink logits, and what happens to a head's blend. Plain data, made by steering.h;
// nothing here decides anything. A layer that has nothing costs one branch, and a table of zeros changes no bit.
#pragma once
#include <cstdint>
#include <vector>

namespace bareattn {

struct LayerTable {
  std::vector<float> value;         // [Hq, row_spans, key_spans], added to the scores; -inf cuts; empty: nothing
  std::vector<float> head_scale;    // [Hq]: multiplies a head's scores (1 / temperature); empty: 1
  std::vector<float> sinks;         // [Hq]: a logit in the denominator only; -inf: none; empty: none
  std::vector<float> output_scale;  // [Hq]: multiplies a head's blend z; empty: 1
  std::vector<float> output_mean;   // [Hq, D]: takes the place of a head's blend, unless its first value is NaN
  int64_t window = -1;              // keys before its own that a row sees, in all heads; -1: all
  int64_t leading_keys = 0;         // ... and so many at the beginning
};

/// Positions past the end of row_span and key_span belong to span 0.
struct ScoreTable {
  int row_spans = 1, key_spans = 1;
  std::vector<uint8_t> row_span, key_span;  // span of each absolute position
  std::vector<LayerTable> layers;           // [L]
  int heads = 0, head_dim = 0;              // Hq and D of the model it was made for
};

/// Whether rows of some layer see a window only. Traces and pages, which hold the rest of a table, refuse those.
inline bool has_window(const ScoreTable& table) {
  for (const LayerTable& layer : table.layers)
    if (layer.window >= 0) return true;
  return false;
}

}  // namespace bareattn
