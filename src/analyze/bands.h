// Which rows a measure that needs every weight looks at: all of a short text, of a long one runs of 16 rows spread
// evenly, so that the cost stays where it is. Row 0 only ever sees itself and is never among them.
#pragma once
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "bareattn/observation.h"

namespace bareattn::observing {

inline constexpr int64_t band_rows = 16;
inline constexpr int64_t weights_wanted = int64_t{1} << 20, least_rows = 64;

/// 0: those that hold a million weights of a head together, at least 64, in whole bands, which is every row up to 1,449
/// tokens.
inline int64_t rows_wanted(int64_t asked, int64_t length) {
  if (asked < 0) throw std::invalid_argument("rows: needs 0 or more, got " + std::to_string(asked));
  if (asked != 0) return asked;
  const int64_t rows = std::max(least_rows, 2 * weights_wanted / std::max<int64_t>(1, length));
  return (rows + band_rows - 1) / band_rows * band_rows;
}

/// Rows [1, length) in bands of 16 (the last may be shorter), or as many of them as hold `most` rows, evenly; the last
/// of those is cut, so that there are never more.
inline std::vector<TokenRange> bands_of(int64_t length, int64_t most) {
  std::vector<TokenRange> bands;
  const int64_t all = (length - 1 + band_rows - 1) / band_rows;
  const int64_t taken = std::min(most / band_rows + (most % band_rows != 0 ? 1 : 0), all);
  for (int64_t t = 0; t < taken; ++t) {
    const int64_t begin = 1 + (2 * t + 1) * all / (2 * taken) * band_rows;  // the middle of each of `taken` parts
    bands.push_back({begin, std::min(length, begin + std::min(band_rows, most - t * band_rows))});
  }
  return bands;
}

inline int64_t rows_of(const std::vector<TokenRange>& bands) {
  int64_t rows = 0;
  for (const TokenRange& band : bands) rows += band.end - band.begin;
  return rows;
}

}  // namespace bareattn::observing
