// One row's part of a sweep (bareattn/sweep.h): from its weights or its scores to the measures, and which earlier
// tokens are copies of the row's own. Raw: a NaN in the row makes its measures NaN.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "bareattn/sweep.h"

namespace bareattn::observing {

/// For each token of a text, the earlier tokens that are the same, and those that follow one of them.
class Repeats {
 public:
  explicit Repeats(const std::vector<int32_t>& tokens);
  /// Positions j < row with the row's token, ascending.
  std::span<const int32_t> duplicates(int64_t row) const;
  /// Positions j <= row whose token before is the row's, ascending: duplicates + 1.
  std::vector<int32_t> followers(int64_t row) const;

 private:
  std::vector<int32_t> places_;  // of each token in turn, ascending
  std::vector<int32_t> begin_;   // [N]: where the places of the row's token begin
  std::vector<int32_t> rank_;    // [N]: how many of them are before the row
};

class RowSweep {
 public:
  std::array<double, swept_count> value{};
  std::array<bool, swept_count> defined{};

  void clear() { defined = {}; }
  void coverage(const float* weights, int64_t row);
  void scores(const float* scores, int64_t row, double lse);
  void repeats(const float* weights, int64_t row, const Repeats& repeats);

 private:
  void put(Swept measure, double x) {
    value[static_cast<size_t>(measure)] = x;
    defined[static_cast<size_t>(measure)] = true;
  }
  std::vector<float> scratch_;
};

}  // namespace bareattn::observing
