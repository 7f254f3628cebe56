// See faults.h. Where a fault has a size, NAME:NUMBER sets it; layers, heads and tokens come from the seed.
#include "bareattn/faults.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "bareattn/error.h"
#include "bareattn/steering.h"
#include "base/float_environment.h"
#include "base/random.h"
#include "diagnose/gather.h"

namespace bareattn {
namespace {

/// Choices by remainder: the measured matrix (docs/diagnosis.md) is of the faults that these draw.
class Random {
 public:
  explicit Random(uint64_t seed) : random_(seed) {}
  int64_t below(int64_t count) { return static_cast<int64_t>(random_.next() >> 11) % count; }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return *(values.begin() + below(static_cast<int64_t>(values.size())));
  }

 private:
  base::SplitMix64 random_;
};

struct Making {
  Random random;
  std::optional<double> number;
  const ModelConfig& config;
  const Model& model;
  BrokenRun run;
  Variant variant;

  double size(std::initializer_list<double> choices) { return number ? *number : random.one_of(choices); }
  int64_t tokens() const { return static_cast<int64_t>(run.tokens.size()); }
  int layer() { return static_cast<int>(random.below(config.layers)); }
  void biased(std::vector<Intervention> all) {
    variant.table = make_table(all, config, tokens());
    run.bias = std::move(all);
  }
  void meant(Variant variant_) { run.meant = std::make_shared<const Variant>(std::move(variant_)); }
};

Intervention on_keys(Intervention::Kind kind, double value, TokenSpan keys, std::vector<std::string> heads) {
  Intervention one;
  one.kind = kind;
  one.value = value;
  one.keys = {keys};
  one.heads = std::move(heads);
  return one;
}

std::string all_of(int layer) { return fmt::format("{}.*", layer); }

std::vector<std::string> every_head_of(const std::vector<int>& layers) {
  std::vector<std::string> heads;
  for (const int layer : layers) heads.push_back(all_of(layer));
  return heads;
}

// Three layers, so that a fault is neither everywhere nor a single head.
std::vector<int> some_layers(Making& m) {
  const int first = static_cast<int>(m.random.below(m.config.layers - 8));
  return {first, first + 3, first + 7};
}

/// What a model has to have, so that a fault changes something in it.
enum class Needs : uint8_t { nothing, rotation, neighbours, groups, nine_layers };

struct Entry {
  FaultInfo info;
  std::function<void(Making&)> make;
  Needs needs = Needs::nothing;
};

std::string why_not(Needs needs, const Architecture& a) {
  const bool rotary = needs == Needs::rotation || needs == Needs::neighbours;
  if (rotary && !diagnosing::rotates(a))
    return "this model rotates no queries and keys: it cannot have a fault of rotary positions";
  if (needs == Needs::neighbours && a.pairing != Pairing::neighbours)
    return "this model pairs dimensions half a head apart, as it should: that is no fault of it";
  if (needs == Needs::groups && (a.kv_heads == 1 || a.kv_heads == a.heads))
    return "this model has no groups of query heads: none can read another group's keys";
  if (needs == Needs::nine_layers && a.layers < 9)
    return "this fault is made in three layers of a model of at least 9; this one has " + std::to_string(a.layers);
  return {};
}

using Kind = Intervention::Kind;

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = {
      {{"future", "future-leak", "pytorch#103082: the causal mask let later keys through"},
       [](Making& m) {
         m.variant.future = static_cast<int64_t>(m.size({1, 2, 3}));
         m.run.what = fmt::format("rows see {} later tokens", m.variant.future);
       }},
      {{"scale", "wrong-scale", "1 / sqrt(D) forgotten or taken of another D in the attention call"},
       [](Making& m) {
         m.variant.score_scale = static_cast<float>(m.size({0.5, 0.7071, 1.4142, 2, 8}));
         m.run.what = fmt::format("scores times {}", m.variant.score_scale);
       }},
      {{"scale-weights", "wrong-scale",
        "optimum-intel PR#1877: a scaling factor of the file applied wrongly to the queries"},
       [](Making& m) {
         m.variant.query_scale = static_cast<float>(m.size({0.25, 4, 8}));
         m.run.what = fmt::format("queries times {}", m.variant.query_scale);
       }},
      {{"rope-base", "wrong-rope-base", "airllm#368: theta 10,000 for a model trained with another"},
       [](Making& m) {
         m.variant.rope_base = static_cast<float>(m.size({1000, 10000, 2000000}));
         m.run.what = fmt::format("rope base {:.0f}", m.variant.rope_base);
       },
       Needs::rotation},
      {{"rope-pairing", "wrong-rope-pairing",
        "shainet PR#111: halves paired where neighbours were meant (SmolLM2-135M itself)"},
       [](Making& m) {
         m.variant.q_reorder = m.variant.k_reorder = 1;
         m.run.what = "pairs half a head apart";
       },
       Needs::neighbours},
      {{"rope-limit", "rope-shift", "positions clipped at the length of a table (DEFault++ PTL)"},
       [](Making& m) {
         m.variant.position_limit = static_cast<int64_t>(m.size({32, 48}));
         m.run.what = fmt::format("positions stop at {}", m.variant.position_limit - 1);
       },
       Needs::rotation},
      {{"gqa-map", "wrong-gqa-map", "onnx PR#7274: keys tiled over the heads instead of repeated per group"},
       [](Making& m) {
         for (int h = 0; h < m.config.heads; ++h) m.variant.kv_of_head.push_back(h % m.config.kv_heads);
         m.run.what = "query head h reads key-value head h mod Hkv";
       },
       Needs::groups},
      {{"window", "wrong-window", "transformers#35896: a sliding window in layers that have none"},
       [](Making& m) {
         m.variant.window = static_cast<int64_t>(m.size({15, 31, 40}));
         m.variant.window_every = static_cast<int>(m.random.one_of({1, 2, 3}));
         m.run.what = fmt::format("window {} in every {}. layer", m.variant.window, m.variant.window_every);
       }},
      {{"window-off-by-one", "wrong-window", "transformers#39408: the window counted without the token itself"},
       [](Making& m) {
         m.run.options.expectations.window = static_cast<int64_t>(m.size({16, 24, 32}));
         m.variant.window = m.run.options.expectations.window - 1;
         Variant declared;
         declared.window = m.run.options.expectations.window;
         m.meant(std::move(declared));
         m.run.what =
             fmt::format("window {} where {} is declared", m.variant.window, m.run.options.expectations.window);
       }},
      {{"cache", "cache-inconsistent", "transformers#19045: positions off by one once there is a cache"},
       [](Making& m) {
         m.variant.late_shift = static_cast<int64_t>(m.size({1, 2}));
         m.run.what = fmt::format("keys after the first call are {} positions too far", m.variant.late_shift);
       },
       Needs::rotation},
      {{"bos-double", "bos-doubled", "llama.cpp PR#15086: template and tokenizer both add the begin-of-text token"},
       [](Making& m) {
         const int32_t bos = m.model.tokenizer().spec().bos_id;
         if (bos < 0) throw InputError("fault bos-double: the tokenizer has no begin-of-text token");
         m.run.tokens.insert(m.run.tokens.begin(), {bos, bos});
         m.run.meant_tokens.insert(m.run.meant_tokens.begin(), bos);
         m.run.what = "the begin-of-text token twice";
       }},
      {{"bos-missing", "bos-missing", "sglang PR#888: the begin-of-text token dropped"},
       [](Making& m) {
         const int32_t bos = m.model.tokenizer().spec().bos_id;
         if (bos < 0) throw InputError("fault bos-missing: the tokenizer has no begin-of-text token");
         m.run.options.expectations.begins_with_bos = true;
         m.run.meant_tokens.insert(m.run.meant_tokens.begin(), bos);
         m.run.what = "a text that should begin with the begin-of-text token and does not";
       }},
      {{"sink-masked", "sink-lost", "a sliding window that evicts the first tokens (StreamingLLM)"},
       [](Making& m) {
         m.biased({on_keys(Kind::knockout, 1, {0, static_cast<int64_t>(m.size({1, 2, 4}))}, {"*"})});
         m.run.what = "the first tokens are hidden";
       }},
      {{"keys-quantised", "sink-lost", "EdgeQAT: queries and keys quantised, and the first token's column disappears"},
       [](Making& m) {
         const double bits = m.size({2});
         if (!(bits >= 2 && bits <= 16 && bits == std::floor(bits)))
           throw InputError(fmt::format("fault keys-quantised: {} bits; a whole number from 2 to 16 is needed", bits));
         m.variant.key_bits = static_cast<int>(bits);
         m.run.needs_control = true;
         m.run.what = fmt::format("keys rounded to {} bits", m.variant.key_bits);
       }},
      {{"collapse", "entropy-collapse", "a query norm's weight applied twice in one layer"},
       [](Making& m) {
         m.variant.query_scale = static_cast<float>(m.size({30, 60}));
         m.variant.query_scale_layer = m.layer();
         m.run.what = fmt::format("queries of layer {} times {}", m.variant.query_scale_layer, m.variant.query_scale);
       }},
      {{"blow-up", "entropy-blow-up", "one layer's query projection all but zero after loading"},
       [](Making& m) {
         m.variant.query_scale = static_cast<float>(m.size({0.01, 0.0}));
         m.variant.query_scale_layer = m.layer();
         m.run.what = fmt::format("queries of layer {} times {}", m.variant.query_scale_layer, m.variant.query_scale);
       }},
      {{"head-dead", "dead-head", "a head's slice of the value projection left at zero"},
       [](Making& m) {
         Intervention one;
         one.kind = Kind::scale;
         one.value = 0;
         one.heads = {head_name({m.layer(), static_cast<int>(m.random.below(m.config.heads))})};
         m.run.what = "head " + one.heads[0] + " writes nothing";
         m.biased({one});
       }},
      {{"head-tied", "duplicate-heads", "DEFault++ QTH: two heads share a slice of the query projection"},
       [](Making& m) {
         const int layer = m.layer(), from = static_cast<int>(m.random.below(m.config.heads));
         const int to = (from + 1) % m.config.heads;
         m.variant.copied_head = {layer * m.config.heads + to, layer * m.config.heads + from};
         m.run.what = fmt::format("head {}.{} asks what {}.{} asks", layer, to, layer, from);
       }},
      {{"noise", "noise-as-signal", "a bias left over a span of the prompt"},
       [](Making& m) {
         const int64_t begin = 4 + m.random.below(m.tokens() / 2);
         const auto layers = some_layers(m);
         m.biased({on_keys(Kind::boost, m.size({8, 16}), {begin, begin + 6}, every_head_of(layers))});
         m.run.what = fmt::format("tokens {} to {} boosted in layers {}, {}, {}", begin, begin + 5, layers[0],
                                  layers[1], layers[2]);
       },
       Needs::nine_layers},
      {{"peripheral", "peripheral-made-central", "one key's score raised (a mask value of the wrong sign)"},
       [](Making& m) {
         const int64_t token = 3 + m.random.below(m.tokens() / 2);
         const auto layers = some_layers(m);
         m.biased({on_keys(Kind::boost, m.size({20, 100}), {token, token + 1}, every_head_of(layers))});
         m.run.what = fmt::format("token {} boosted in layers {}, {}, {}", token, layers[0], layers[1], layers[2]);
       },
       Needs::nine_layers},
      {{"contradiction", "heads-in-contradiction", "per-head biases laid out for another number of heads"},
       [](Making& m) {
         const int layer = m.layer();
         const int64_t a = 3 + m.random.below(m.tokens() / 4), b = a + 8 + m.random.below(m.tokens() / 4);
         std::vector<std::string> left, right;
         for (int h = 0; h < m.config.heads; ++h)
           (h < m.config.heads / 2 ? left : right).push_back(head_name({layer, h}));
         const double by = m.size({30, 100});
         m.biased({on_keys(Kind::boost, by, {a, a + 3}, left), on_keys(Kind::boost, by, {b, b + 3}, right)});
         m.run.what = fmt::format("heads of layer {} are pulled to tokens {} and {}", layer, a, b);
       }},
      {{"drift", "temperature-drift", "a length-dependent temperature (log n scaling) where none was trained"},
       [](Making& m) {
         m.variant.drift = m.size({0.8, 1.5, 2.5});
         m.run.what = fmt::format("scores shrink by {} per 512 tokens", m.variant.drift);
       }},
      {{"unavailable", "keys-unavailable", "a mask or an eviction that takes keys in the middle"},
       [](Making& m) {
         const int64_t begin = 5 + m.random.below(m.tokens() / 2);
         m.biased({on_keys(Kind::knockout, 1, {begin, begin + 8}, {"*"})});
         m.run.what = fmt::format("tokens {} to {} are hidden", begin, begin + 7);
       }},
      {{"documents", "cross-document-leak", "transformers#41184: packed documents without their boundaries"},
       [](Making& m) {
         const int64_t cut_at = m.tokens() / 3 + m.random.below(m.tokens() / 4);
         for (int64_t i = 0; i < m.tokens(); ++i) m.run.options.expectations.document.push_back(i < cut_at ? 0 : 1);
         Variant separate;
         Intervention cut = on_keys(Kind::knockout, 1, {0, cut_at}, {"*"});
         cut.rows = {{cut_at, -1}};
         separate.table = make_table({cut}, m.config, m.tokens());
         m.meant(std::move(separate));
         m.run.what = fmt::format("two documents, the second from token {} on, and no mask between them", cut_at);
       }},
      {{"padding", "padding-leak", "jax#23349: padding keys not masked"},
       [](Making& m) {
         const auto& spec = m.model.tokenizer().spec();
         const int32_t pad = spec.padding_id >= 0 ? spec.padding_id : spec.eos_id >= 0 ? spec.eos_id : 0;
         const auto count = static_cast<size_t>(m.size({4, 8, 12}));
         m.run.options.expectations.document.assign(count, -1);
         m.run.options.expectations.document.resize(count + m.run.tokens.size(), 0);
         m.run.tokens.insert(m.run.tokens.begin(), count, pad);
         m.run.what = fmt::format("{} tokens of padding before the text, not masked", count);
       }},
      {{"sink-logit", "extra-denominator", "an off-by-one softmax on a model trained without it"},
       [](Making& m) {
         Intervention one;
         one.kind = Kind::sink_logit;
         one.value = m.size({2, 3, 5});
         m.biased({one});
         m.run.what = fmt::format("a logit of {} joins the denominator", one.value);
       }},
  };
  return all;
}

}  // namespace

const std::vector<FaultInfo>& faults() {
  static const std::vector<FaultInfo> all = [] {
    std::vector<FaultInfo> infos;
    for (const Entry& entry : entries()) infos.push_back(entry.info);
    return infos;
  }();
  return all;
}

std::string why_no_fault(const FaultInfo& fault, const Model& model) {
  for (const Entry& entry : entries())
    if (std::string_view(fault.name) == entry.info.name) return why_not(entry.needs, model.architecture());
  return {};
}

BrokenRun break_run(const std::string& fault, uint64_t seed, const Model& model, std::vector<int32_t> tokens) {
  const base::DefaultFloatEnvironment environment;
  const size_t colon = fault.find(':');
  const std::string wanted = fault.substr(0, colon);
  std::optional<double> number;
  if (colon != std::string::npos) {
    const std::string text = fault.substr(colon + 1);
    char* end = nullptr;
    number = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !std::isfinite(*number) || *number < 0 || *number > 1e9)
      throw InputError("fault '" + fault + "': '" + text + "' is no number from 0 to 1e9");
  }
  if (tokens.size() < 48)
    throw InputError("the text is " + std::to_string(tokens.size()) + " tokens long; a fault needs 48");
  for (const Entry& entry : entries()) {
    if (wanted != entry.info.name) continue;
    if (const std::string why = why_not(entry.needs, model.architecture()); !why.empty()) throw InputError(why);
    Making making{Random(seed), number, model.config(), model, {}, {}};
    making.run.meant_tokens = tokens;
    making.run.tokens = std::move(tokens);
    entry.make(making);
    making.run.options.variant = std::make_shared<const Variant>(std::move(making.variant));
    return std::move(making.run);
  }
  std::string names;
  for (const FaultInfo& info : faults()) names += (names.empty() ? "" : ", ") + std::string(info.name);
  throw InputError("there is no fault '" + wanted + "'; there are " + names);
}

}  // namespace bareattn
