// Value-weighted attention (observation.h): a weight times the size of what its key carries.
#include <algorithm>
#include <numeric>
#include <span>

#include "bareattn/observation.h"
#include "base/float_environment.h"
#include "observe/strongest.h"

namespace bareattn {

std::vector<float> value_weighted(const Observation& observation, HeadId head, TokenRange rows, TokenRange keys) {
  const base::DefaultFloatEnvironment environment;
  const std::vector<float> sizes = observation.carried(head);
  std::vector<float> cells = observation.tile(head, rows, keys);
  const int64_t columns = keys.end - keys.begin;
  for (int64_t i = rows.begin; i < rows.end; ++i)
    for (int64_t j = keys.begin; j < std::min(keys.end, i + 1); ++j)  // what is not seen stays 0, whatever it carries
      cells[static_cast<size_t>((i - rows.begin) * columns + j - keys.begin)] *= sizes[static_cast<size_t>(j)];
  return cells;
}

std::vector<float> value_shares(const Observation& observation, HeadId head, TokenRange rows) {
  const base::DefaultFloatEnvironment environment;
  std::vector<float> cells = value_weighted(observation, head, rows, {0, rows.end});
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const auto row =
        std::span(cells).subspan(static_cast<size_t>((i - rows.begin) * rows.end), static_cast<size_t>(i + 1));
    const double all = std::accumulate(row.begin(), row.end(), 0.0);
    for (float& cell : row) cell = static_cast<float>(static_cast<double>(cell) / all);
  }
  return cells;
}

std::vector<std::pair<int32_t, float>> top_value_weighted(const Observation& observation, HeadId head, int64_t row,
                                                          int count) {
  const base::DefaultFloatEnvironment environment;
  std::vector<float> weights = observation.row_weights(head, row);
  const std::vector<float> sizes = observation.carried(head);
  for (size_t j = 0; j < weights.size(); ++j) weights[j] *= sizes[j];
  return observing::strongest(weights, count);
}

}  // namespace bareattn
