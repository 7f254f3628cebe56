// See steer_row.h.
#include "observe/steer_row.h"

#include <algorithm>
#include <limits>

namespace bareattn::observing {

void steer_row(const ScoreTable& table, HeadId head, int64_t row, std::vector<float>& logits) {
  const LayerTable& layer = table.layers[static_cast<size_t>(head.layer)];
  const auto h = static_cast<size_t>(head.head);
  if (!layer.head_scale.empty())
    for (float& logit : logits) logit *= layer.head_scale[h];
  if (layer.window >= 0) {
    const int64_t begin = row - layer.window, end = static_cast<int64_t>(logits.size());
    for (int64_t j = layer.leading_keys; j < std::min(begin, end); ++j)
      logits[static_cast<size_t>(j)] = -std::numeric_limits<float>::infinity();
  }
  if (layer.value.empty()) return;
  const auto span = [](const std::vector<uint8_t>& spans, size_t at) { return at < spans.size() ? spans[at] : 0; };
  const size_t row_span = span(table.row_span, static_cast<size_t>(row));
  const auto keys = static_cast<size_t>(table.key_spans);
  const float* value = layer.value.data() + (h * static_cast<size_t>(table.row_spans) + row_span) * keys;
  for (size_t j = 0; j < logits.size(); ++j) logits[j] += value[span(table.key_span, j)];
}

}  // namespace bareattn::observing
