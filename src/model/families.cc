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
    {"llama", llama},
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
  return a;
}

}  // namespace bareattn::model
