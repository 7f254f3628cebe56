// See settings.h.
#include "model/settings.h"

namespace bareattn::model {

int Settings::positive(const std::string& key, uint64_t limit, uint64_t fallback) const {
  const auto value = integer(key);
  if (!value && fallback == 0) fail(key, "is missing; the model cannot be run without it");
  const uint64_t number = value.value_or(fallback);
  if (number < 1 || number > limit)
    fail(key, "is " + std::to_string(number) + "; 1 to " + std::to_string(limit) + " is needed");
  return static_cast<int>(number);
}

float Settings::positive_float(const std::string& key, double fallback, double limit) const {
  const double value = number(key).value_or(fallback);
  if (!(value > 0) || value > limit)
    fail(key, "is " + std::to_string(value) + "; a number over 0 and up to " + std::to_string(limit) + " is needed");
  return static_cast<float>(value);
}

float Settings::needed_float(const std::string& key, double limit) const {
  if (!number(key)) fail(key, "is missing; the model cannot be run without it");
  return positive_float(key, 0, limit);
}

float Settings::float_unless_zero(const std::string& key, double fallback, double limit) const {
  return number(key).value_or(0) == 0 ? static_cast<float>(fallback) : positive_float(key, fallback, limit);
}

}  // namespace bareattn::model
