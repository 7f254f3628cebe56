// Which heads of a layer agree and which contradict each other: for every pair the Jensen-Shannon divergence between
// their weightings, the cosine between the weightings, and the cosine between what they write into the residual stream.
// Weights come tile by tile from Q, K and LSE (nothing N x N is held); long texts are compared on some of their rows,
// and the result says on how many. Raw: NaN comes through. Refuses observations that kept no Q and K. Definitions:
// docs/measures.md, "Agreement between heads".
#pragma once
#include <cstdint>
#include <vector>

#include "bareattn/observation.h"

namespace bareattn {

struct HeadPair {
  int layer = 0, a = 0, b = 0;  // a < b
  double js = 0;                // mean over the rows, nats: 0 alike, ln 2 nothing in common
  double weight_cosine = 0;     // of the rows' weights as one vector: 0 to 1
  double output_cosine = 0;     // Observation::output_cosine; NaN where it was not measured
};

struct Agreement {
  int64_t rows = 0;             // compared, of the N - 1 after the first
  std::vector<HeadPair> pairs;  // [L Hq (Hq - 1) / 2], by layer, then a, then b
};

struct AgreementOptions {
  int64_t rows = 0;  // at most as many, in runs of 16 (the last: of the rest) spread evenly over the text. 0: every row
                     // up to 1,449 tokens, else those that have a million weights together, at least 64
  int layer = -1;    // the pairs of this layer alone; -1: of every one
  int threads = 0;   // 0: all cores; the bits are the same for any number
  bool value_weighted = false;  // compares value_shares (observation.h) instead of weights; needs the group `values`
};

/// InputError where the layers asked for have more than 2^20 pairs of heads: more than 126 layers of 128 heads have.
/// Error of js: (2 (e_a + e_b) + 2^-20) nats for weights that are off by the relative e_a and e_b (see
/// Observation::tile). A false from `progress` (layers done, in all; asked within each row too) throws Cancelled.
Agreement head_agreement(const Observation& observation, const AgreementOptions& options = {},
                         const Progress& progress = {});

}  // namespace bareattn
