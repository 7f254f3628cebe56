// Changing the weighting of a run: named interventions become one table of biases by spans, with per-head temperature,
// sinks and changes of a head's blend (score_table.h), which the attention pass applies while everything stays
// observable. Interventions are plain data: they can be written to a small JSON file and read back (docs/steering.md).
// Refuses heads, spans and values that do not fit. Next: SessionOptions::table and ObservationOptions::table.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "bareattn/observation.h"
#include "bareattn/score_table.h"

namespace bareattn {

/// Token positions [begin, end); end -1: to the end of the run, tokens generated later included.
struct TokenSpan {
  int64_t begin = 0;
  int64_t end = -1;
  friend bool operator==(const TokenSpan&, const TokenSpan&) = default;
};

struct Intervention {
  enum class Kind : int {
    boost,        // weights on `keys` are multiplied by value, then rows are made to sum to 1: s + ln value
    pasta,        // weights outside `keys` are multiplied by value: s + ln value there (Zhang et al. 2311.02262)
    bias,         // s + value on `keys`
    knockout,     // rows `rows` do not see `keys`; a row is never left without any key: its own stays
    temperature,  // scores are divided by value
    scale,        // the head's blend z is multiplied by value; 0 ablates the head
    mean,         // the head's blend is replaced by `mean` [heads given, D]
    sink_logit,   // a logit of this value joins the denominator; 0 is the off-by-one softmax
    window,       // rows see `value` keys before their own, and `keys`, a span from 0 on (or none); whole layers only
  };
  Kind kind = Kind::boost;
  std::vector<std::string> heads = {"*"};  // "5.3", "6.*", "*.0", "*"
  std::vector<TokenSpan> keys;             // what is boosted, kept, cut
  std::vector<TokenSpan> rows;             // which rows it holds for; empty: all. Of boost, pasta, bias and knockout
  double value = 1;
  std::vector<float> mean;  // of Kind::mean only
};
const char* intervention_name(Intervention::Kind kind);  // "boost", ... the name in files and on the command line
const char* intervention_help(Intervention::Kind kind);  // one sentence
inline constexpr int intervention_kinds = static_cast<int>(Intervention::Kind::window) + 1;

/// Heads that the patterns name, in order, each once. InputError where a pattern is none or names no head.
std::vector<HeadId> select_heads(const std::vector<std::string>& patterns, const ModelConfig& config);

/// The table of all interventions together: biases add up, scales multiply. At most 255 different spans of rows and of
/// keys can come of them; of two windows in a layer the last holds. InputError for what does not fit the model and for
/// rows that a window and a cut together leave without any key; `tokens` is how many positions will be run.
ScoreTable make_table(const std::vector<Intervention>& interventions, const ModelConfig& config, int64_t tokens);

/// The file: {"format": "bareattn-steering", "version": 1, "interventions": [...]}; docs/schema/steering.schema.json.
std::string steering_to_json(const std::vector<Intervention>& interventions);
/// InputError that says where and what for text that is none.
std::vector<Intervention> steering_from_json(const std::string& json);

/// Each head's mean blend over the rows of a run of these tokens: what Kind::mean puts in the heads' place.
Intervention mean_ablation(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens,
                           std::vector<std::string> heads, int threads = 0, const Progress& progress = {});
/// Temperature per head from its mean entropy H in this run: scores times max(1, poly(H)) where H > 0.5 nats
/// (Velickovic et al. 2410.01104, which does so per row). Heads that stay as they are get none.
std::vector<Intervention> adaptive_temperature(const Observation& observation);
/// Calibration by a control query (2406.16008): per head, biases that make the last row of `control` weigh the spans
/// in proportion to their lengths. `control` is a run over the same documents with a query that means nothing.
std::vector<Intervention> calibrate(const Observation& control, const std::vector<TokenSpan>& spans,
                                    const std::vector<std::string>& heads);

}  // namespace bareattn
