// The measures of a row's weights, made of its value-weighted shares (observation.h): as the attention pass makes them
// of the weights, but in double and from whole rows. Sums over rows, in order. Raw: a NaN share comes through.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "bareattn/sweep.h"

namespace bareattn::observing {

class ShareSums {
 public:
  ShareSums(std::vector<SpanSet> sets, int64_t length);
  void add(const float* shares, int64_t row);  // row >= 1
  /// of_shares, spans and flow.
  void finish(HeadSweep& head) const;

 private:
  void add_measures(const float* shares, int64_t row);
  void add_spans(const float* shares, int64_t row);

  std::vector<SpanSet> sets_;
  std::vector<std::vector<bool>> in_;  // [sets, N]: whether a token is in the set
  std::array<double, measure_count> sums_{};
  std::vector<double> mass_, flow_;          // [sets]; [sets, sets]
  std::vector<int64_t> seeing_, rows_from_;  // [sets]: rows that can see some of it; rows in it
  int64_t rows_ = 0;
};

}  // namespace bareattn::observing
