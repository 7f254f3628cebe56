// How surprised a model is by a token: what perplexity, losses and diagnoses are made of.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

namespace bareattn::model {

/// -ln softmax(logits)[token]
inline double surprise(std::span<const float> logits, int32_t token) {
  const double peak = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - peak);
  return peak + std::log(sum) - static_cast<double>(logits[static_cast<size_t>(token)]);
}

}  // namespace bareattn::model
