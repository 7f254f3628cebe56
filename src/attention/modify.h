// What happens to a score between q.k and the softmax, in the order of the ONNX Attention operator: softcap, then
// additive terms (ALiBi, the span table, an additive mask), then what is masked becomes -inf whatever stood there, so
// that a key that is not seen never shows, not even as NaN.
#pragma once
#include <cstdint>
#include <span>

#include "bareattn/attention.h"

namespace bareattn::attend {

class Modifier {
 public:
  explicit Modifier(const ScoreTerms& terms) : terms_(terms) {}
  bool nothing() const;
  bool masks() const {
    return terms_.mask.kind != MaskView::Kind::none || terms_.bias != nullptr || terms_.window >= 0;
  }

  /// s[0, count): scores of query row `row` (of the call; at position `position` among the keys) of head `head`
  /// against keys key..key + count.
  struct Place {
    int64_t head, row, position, key;
  };
  void apply(const Place& place, float* s, int64_t count) const;
  /// Whether a mask or the table hides the key: what apply() sets to -inf.
  bool hides(const Place& place) const;
  /// The row's sink logit, or nullptr.
  const float* sink(int64_t head) const {
    return terms_.sinks.empty() ? nullptr : &terms_.sinks[static_cast<size_t>(head)];
  }

 private:
  ScoreTerms terms_;
};

}  // namespace bareattn::attend
