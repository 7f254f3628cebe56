// What happens to the residual stream, layer by layer, over one text: massive activations and rank collapse, by their
// published definitions (docs/measures.md, "Of the residual stream"). One more run of the model; memory is one layer's
// stream. Refuses what run_by_layer refuses. Next: observation.h, which measures the heads.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bareattn/model.h"

namespace bareattn {

struct Activation {
  int64_t token = 0, dimension = 0;
  float value = 0;
};

/// The stream after one layer, X [N, W].
struct StreamLayer {
  Activation largest;           // by magnitude; the first on a tie
  double median = 0;            // of |x| over all of X
  int64_t massive = 0;          // activations with |x| > 100 and |x| > 1000 median
  std::vector<int64_t> tokens;  // that have one, ascending
  double rank_residual = 0;     // ||X - 1 m^T|| / ||X||, Frobenius, m the mean row: 0 is rank one with equal rows
};
inline constexpr double massive_magnitude = 100, massive_ratio = 1000;

/// [L]. NaN and infinities are values like others: they show as such.
std::vector<StreamLayer> measure_stream(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens,
                                        int threads = 0, const Progress& progress = {});

}  // namespace bareattn
