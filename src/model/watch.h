// Who watches a run, asked once: a table of which points the observer wants, so that an unwatched point costs one
// branch.
#pragma once
#include <cstdint>
#include <vector>

#include "bareattn/points.h"

namespace bareattn::model {

class Watch {
 public:
  Watch(Observer* observer, int layers);

  bool wants(Point point, int layer) const {
    return observer_ != nullptr && ((wanted_[static_cast<size_t>(layer + 1)] >> static_cast<int>(point)) & 1U) != 0;
  }
  void see(Point point, int layer, int64_t first_row, TensorView<const float> values) const {
    if (wants(point, layer)) observer_->see({point, layer, first_row, values});
  }
  const AttentionStatistics* statistics(int layer, int64_t first_row, int64_t rows) const {
    return observer_ == nullptr ? nullptr : observer_->attention_statistics(layer, first_row, rows);
  }

 private:
  Observer* observer_;
  std::vector<uint32_t> wanted_;  // [1 + layers], a bit per point; entry 0: the points outside the layers
};

}  // namespace bareattn::model
