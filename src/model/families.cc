// See families.h.
#include "model/families.h"

#include <algorithm>

#include "files/gguf.h"
#include "model/limits.h"

namespace bareattn::model {
namespace {

struct Named {
  const char* name;
  Family make;
};
constexpr Named families[] = {
    {"llama", llama},     {"qwen2", qwen2},     {"qwen3", qwen3},     {"gpt2", gpt2},
    {"gptneox", gptneox}, {"gemma2", gemma2},   {"gemma3", gemma3},   {"phi3", phi3},
    {"olmo2", olmo2},     {"smollm3", smollm3}, {"granite", granite},
};

void check_heads(const Settings& s, const Architecture& a) {
  if (a.heads % a.kv_heads != 0) {
    s.fail("attention.head_count_kv", "is " + std::to_string(a.kv_heads) + ", which does not divide the " +
                                          std::to_string(a.heads) + " query heads");
  }
  if (const auto length = s.integer("attention.value_length"); length && *length != static_cast<uint64_t>(a.head_dim)) {
    s.fail("attention.value_length",
           "is " + std::to_string(*length) + "; it must equal the key length, " + std::to_string(a.head_dim));
  }
  if (a.rope_dim > a.head_dim || a.rope_dim % 2 != 0) {
    s.fail("rope.dimension_count",
           "is " + std::to_string(a.rope_dim) + "; an even number up to " + std::to_string(a.head_dim) + " is needed");
  }
}

// As readers of these files do it: a factor without a type is linear, and 0 is no factor.
RopeScaling read_scaling(const Settings& s, int context) {
  RopeScaling scaling;
  const std::string type(s.string("rope.scaling.type").value_or("linear"));
  if (type != "none" && type != "linear" && type != "yarn")
    s.fail("rope.scaling.type", "is " + quoted(type) + "; only 'none', 'linear' and 'yarn' can be run");
  scaling.attention_factor = s.positive_float("rope.scaling.attn_factor", 1.0, 1e3);
  if (type == "none") return scaling;
  const char* factor = s.number("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";  // its old name
  if (s.number(factor).value_or(0) != 0) scaling.factor = s.positive_float(factor, 1.0, 1e6);
  if (type == "linear") {
    if (scaling.factor != 1) scaling.type = RopeScaling::Type::linear;
    return scaling;
  }
  scaling.type = RopeScaling::Type::yarn;
  scaling.original_context =
      s.positive("rope.scaling.original_context_length", max_context, static_cast<uint64_t>(context));
  scaling.beta_fast = s.positive_float("rope.scaling.yarn_beta_fast", 32.0, 1e6);
  scaling.beta_slow = s.positive_float("rope.scaling.yarn_beta_slow", 1.0, 1e6);
  return scaling;
}

}  // namespace

Family find_family(std::string_view name) {
  const auto at =
      std::find_if(std::begin(families), std::end(families), [&](const Named& f) { return name == f.name; });
  return at == std::end(families) ? nullptr : at->make;
}

std::string family_names() {
  std::string names;
  for (const Named& family : families) names += (names.empty() ? "'" : ", '") + std::string(family.name) + "'";
  return names;
}

Architecture common(const Settings& s) {
  Architecture a;
  a.layers = s.positive("block_count", max_layers);
  a.context_length = s.positive("context_length", max_context);
  a.width = s.positive("embedding_length", max_width);
  a.mlp_width = s.positive("feed_forward_length", max_width);
  a.heads = s.positive("attention.head_count", max_heads);
  a.kv_heads = s.positive("attention.head_count_kv", max_heads, static_cast<uint64_t>(a.heads));
  if (a.width % a.heads != 0 && !s.integer("attention.key_length")) {
    s.fail("attention.head_count",
           "is " + std::to_string(a.heads) + ", which does not divide the width " + std::to_string(a.width));
  }
  a.head_dim =
      s.positive("attention.key_length", max_width, std::max<uint64_t>(1, static_cast<uint64_t>(a.width / a.heads)));
  a.rope_dim = s.positive("rope.dimension_count", max_width, static_cast<uint64_t>(a.head_dim));
  check_heads(s, a);
  a.rope_base = s.positive_float("rope.freq_base", 10000.0, 1e12);
  a.rope_scaling = read_scaling(s, a.context_length);
  a.tied = !s.has_tensor("output.weight");
  a.per_layer.resize(static_cast<size_t>(a.layers));
  return a;
}

Architecture common_gpt(const Settings& s) {
  Architecture a = common(s);
  a.norm = Norm::layer;
  a.norm_epsilon = s.needed_float("attention.layer_norm_epsilon", 1.0);
  a.norm_bias = a.qkv_bias = a.output_bias = a.mlp_bias = true;
  a.gated = false;
  return a;
}

void set_windows(const Settings& s, Architecture& a, const Windows& windows) {
  const char *keys = "attention.sliding_window", *which = "attention.sliding_window_pattern";
  const uint64_t seen = s.integer(keys).value_or(windows.keys);
  if (seen > max_context)
    s.fail(keys, "is " + std::to_string(seen) + "; up to " + std::to_string(max_context) + " can be run");
  for (const char* same : {"attention.key_length", "attention.value_length", "rope.dimension_count"}) {
    const std::string key = std::string(same) + "_swa";
    const auto length = s.integer(key);
    const int needed = std::string_view(same) == "rope.dimension_count" ? a.rope_dim : a.head_dim;
    if (length && *length != static_cast<uint64_t>(needed))
      s.fail(key, "is " + std::to_string(*length) + "; only " + std::to_string(needed) +
                      ", as in the layers without a window, can be run");
  }
  const float base = s.float_unless_zero("rope.freq_base_swa", windows.rope_base, 1e12);
  const auto listed = s.numbers(which);
  const bool each = listed && listed->size() != 1;
  if (each && listed->size() != a.per_layer.size())
    s.fail(which, "has " + std::to_string(listed->size()) + " entries; " + std::to_string(a.layers) + " are needed");
  const uint64_t period = each ? 0 : s.integer(which).value_or(windows.period);
  for (size_t i = 0; seen != 0 && i < a.per_layer.size(); ++i) {
    const bool has = each ? (*listed)[i] != 0 : period == 0 || i % period + 1 < period;
    if (!has) continue;
    a.per_layer[i].scores.left_window = static_cast<int64_t>(seen) - 1;
    a.per_layer[i].rope_base = base;
    a.per_layer[i].rope_scaled = windows.rope_scaled;
  }
}

void set_score_scale(const Settings& s, Architecture& a, float otherwise) {
  const float scale = s.float_unless_zero("attention.scale", otherwise);
  for (LayerArchitecture& layer : a.per_layer) layer.scores.scale = scale;
}

}  // namespace bareattn::model
