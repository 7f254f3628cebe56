// See page_lesson.h.
#include "view/page_lesson.h"

#include <charconv>
#include <cmath>
#include <string>

namespace bareattn::view {
namespace {

using nlohmann::json;

/// The double with the fewest digits that reads as this f32.
json number(float value) {
  if (!std::isfinite(value)) return nullptr;
  std::string digits(32, '\0');
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  double read = 0;
  std::from_chars(digits.data(), end, read);
  return read;
}

json rows_of(const std::vector<float>& values, int64_t dim) {
  json rows = json::array();
  for (size_t at = 0; at < values.size(); at += static_cast<size_t>(dim)) {
    json row = json::array();
    for (int64_t d = 0; d < dim; ++d) row.push_back(number(values[at + static_cast<size_t>(d)]));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

json page_lesson(const Lesson& lesson) {
  json weights = rows_of(lesson.weights, static_cast<int64_t>(lesson.tokens.size()));
  for (size_t row = 0; row < weights.size(); ++row)
    weights[row].get_ref<json::array_t&>().resize(row + 1);  // the rest is above the diagonal
  return {{"tokens", lesson.tokens},
          {"layer", lesson.head.layer},
          {"head", lesson.head.head},
          {"row", lesson.row},
          {"key", lesson.key},
          {"width", lesson.width},
          {"scale", number(lesson.scale)},
          {"q", rows_of(lesson.q, lesson.dim)},
          {"k", rows_of(lesson.k, lesson.dim)},
          {"v", rows_of(lesson.v, lesson.dim)},
          {"weights", std::move(weights)}};
}

}  // namespace bareattn::view
