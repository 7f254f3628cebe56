// How far a run reaches: what happens past the length that a model was trained on, and which keys a row sees. Rotary
// models break quietly beyond their context, so nobody gets there without having chosen how.
#pragma once
#include <cstdint>
#include <string>

namespace bareattn {

struct ModelConfig;

enum class Beyond : uint8_t {
  refuse,       // more tokens than the model's context: InputError
  extrapolate,  // positions go on as they are
  scale,        // positions are squeezed into the context: all are divided by tokens / context (linear scaling)
};
const char* beyond_name(Beyond beyond);  // "refuse", ...

struct Reach {
  Beyond beyond = Beyond::refuse;
  // A row at position i sees the first `sinks` keys and keys [i - window, i]; -1: all up to i. (The first tokens are
  // kept because models rest attention there: a window without them breaks the model. Xiao et al. 2023, 2309.17453.)
  int64_t window = -1;
  int64_t sinks = 0;
};

/// What positions are divided by in a run of `tokens` tokens. InputError where there are more than the model's context
/// and `beyond` is refuse; the sentence names the choices.
double position_scale(const ModelConfig& config, int64_t tokens, Beyond beyond);
/// That InputError; `tokens` as in "the text is TOKENS tokens long".
[[noreturn]] void refuse_length(const ModelConfig& config, const std::string& tokens);

}  // namespace bareattn
