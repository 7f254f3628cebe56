// See bareattn/length.h.
#include "bareattn/length.h"

#include "bareattn/error.h"
#include "bareattn/model.h"
#include "base/float_environment.h"

namespace bareattn {

const char* beyond_name(Beyond beyond) {
  return beyond == Beyond::scale ? "scale" : beyond == Beyond::extrapolate ? "extrapolate" : "refuse";
}

double position_scale(const ModelConfig& config, int64_t tokens, Beyond beyond) {
  const base::DefaultFloatEnvironment environment;
  if (tokens <= config.context_length || beyond == Beyond::extrapolate) return 1;
  if (beyond == Beyond::scale) return static_cast<double>(tokens) / config.context_length;
  refuse_length(config, std::to_string(tokens));
}

void refuse_length(const ModelConfig& config, const std::string& tokens) {
  throw InputError(
      "the text is " + tokens + " tokens long; this model's context holds " + std::to_string(config.context_length) +
      ". What it does past that is not what it was trained for: beyond 'extrapolate' lets positions go on, "
      "'scale' squeezes them into the context");
}

}  // namespace bareattn
