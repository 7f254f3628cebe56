// How a run departs from what the model file says: the faults that `bareattn break` injects, the probes by which
// diagnosis asks "would the model predict better if this were otherwise?", and the remedy a finding proposes. An empty
// Variant is the model as it is, bit for bit. Two kinds: what the file or the loader got wrong (Q and K themselves are
// other ones), and what the attention pass gets wrong (Q and K are right, the weights made of them are not).
#pragma once
#include <cstdint>
#include <vector>

#include "bareattn/score_table.h"

namespace bareattn {

struct Variant {
  // Of the file or the loader: seen in Q and K.
  float rope_base = 0;         // 0: the file's
  int rope_dim = 0;            // dimensions of a head that are rotated, even; 0: the file's
  double position_factor = 1;  // positions are multiplied by it, beyond what the file says
  // How often the converter's order of dimensions (from pairs half a head apart to neighbours) is still to be brought
  // about in Q and in K before they are rotated. 1: pair i is (x[i], x[i + rope_dim / 2]); -1: it was done twice.
  int q_reorder = 0, k_reorder = 0;
  int64_t position_shift = 0;    // added to every position (harmless: only differences of positions count)
  int64_t position_limit = 0;    // > 0: later positions stay at limit - 1, after the shift
  int64_t query_shift = 0;       // added to the positions of Q alone
  std::vector<int> kv_of_head;   // [Hq]: the key-value head that a query head reads; empty: head / (Hq / Hkv)
  float query_scale = 1;         // of Q before the scores: a lost or doubled 1 / sqrt(D) in the weights
  int query_scale_layer = -1;    // ... in this layer only; -1: in all
  int key_bits = 0;              // > 0: keys are rounded to so many bits before they are rotated, token by token
  std::vector<int> copied_head;  // pairs (layer Hq + to, layer Hq + from): head `to` gets the Q and z of `from`
  // Of the attention pass: not seen in Q and K.
  float score_scale = 1;   // of the scores
  double drift = 0;        // scores of row i are multiplied by 1 - drift i / 512 (at least 0.05)
  int64_t future = 0;      // keys past its own that a row sees
  int64_t window = -1;     // keys before its own that a row sees; -1: all
  int window_every = 1;    // ... in layers that it divides
  int64_t late_shift = 0;  // added to positions of keys that come in a second run() or later: a stale cache
  ScoreTable table;        // a bias nobody declared; no layers: none

  bool plain_cache() const { return kv_of_head.empty(); }
};

}  // namespace bareattn
