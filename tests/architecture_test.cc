// Every field of an Architecture is run: a tiny model is changed in each field alone, and in many at once, and its
// logits are those of a slow forward pass in f64 written out below, and not those of the model before the change. The
// list of fields is read from the headers: a field that is added and not listed here fails.
#include "bareattn/architecture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "gguf_builder.h"
#include "model/loaded_model.h"

namespace bareattn {
namespace {

using Vector = std::vector<double>;

constexpr int layers = 2, width = 64, heads = 4, kv_heads = 2, dim = 16, mlp = 100, vocabulary = 260, length = 12;

/// The tensors that an architecture calls for, beside those of a llama.
void complete(test::GgufBuilder& g, const Architecture& a) {
  uint32_t seed = 100;
  const auto replace = [&](const std::string& name, std::vector<uint64_t> shape, float scale) {
    std::erase_if(g.tensors, [&](const auto& t) { return t.name == name; });
    uint64_t count = 1;
    for (const uint64_t side : shape) count *= side;
    g.tensors.push_back({name, shape, 0, test::random_weights(count, seed++, scale)});
  };
  const auto drop = [&](const std::string& name) {
    std::erase_if(g.tensors, [&](const auto& t) { return t.name == name; });
  };
  const auto norm = [&](bool wanted, const std::string& name, uint64_t size = width) {
    if (!wanted) return drop(name + ".weight");
    replace(name + ".weight", {size}, 1);
    if (a.norm_bias && size == width) replace(name + ".bias", {size}, 0.5F);
  };
  const bool sum = a.norm_place == NormPlace::sum, both = a.norm_place == NormPlace::both;
  const bool before = a.norm_place == NormPlace::before || both, after = a.norm_place == NormPlace::after || both;
  if (a.learned_positions) replace("position_embd.weight", {width, 2048}, 1);
  if (a.token_type) replace("token_types.weight", {width, 2}, 1);
  if (a.embedding_norm) norm(true, "token_embd_norm");
  norm(!sum, "output_norm");
  if (!a.tied) replace("output.weight", {width, vocabulary}, 1);
  for (int layer = 0; layer < layers; ++layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    norm(before, blk + "attn_norm");
    norm(before, blk + "ffn_norm");
    if (after) norm(true, blk + "post_attention_norm");
    if (after) norm(true, blk + "post_ffw_norm");
    if (sum) norm(true, blk + "attn_output_norm");
    if (sum) norm(true, blk + "layer_output_norm");
    if (a.qk_norm != QkNorm::none) {
      const bool each = a.qk_norm == QkNorm::per_head;
      norm(true, blk + "attn_q_norm", each ? dim : heads * dim);
      norm(true, blk + "attn_k_norm", each ? dim : kv_heads * dim);
    }
    if (a.qkv_bias) {
      replace(blk + "attn_q.bias", {heads * dim}, 1);
      replace(blk + "attn_k.bias", {kv_heads * dim}, 1);
      replace(blk + "attn_v.bias", {kv_heads * dim}, 1);
    }
    if (a.output_bias) replace(blk + "attn_output.bias", {width}, 1);
    if (!a.gated) drop(blk + "ffn_gate.weight");
    if (a.mlp_bias && a.gated) replace(blk + "ffn_gate.bias", {mlp}, 1);
    if (a.mlp_bias) replace(blk + "ffn_up.bias", {mlp}, 1);
    if (a.mlp_bias) replace(blk + "ffn_down.bias", {width}, 1);
  }
}

/// The forward pass, written out.
class Slow {
 public:
  Slow(const test::GgufBuilder& g, const Architecture& a) : a_(a) {
    for (const auto& t : g.tensors) {
      std::vector<float> values(t.data.size() / 4);
      std::memcpy(values.data(), t.data.data(), t.data.size());
      tensors_[t.name] = {values.begin(), values.end()};
    }
  }

  Vector logits(const std::vector<int32_t>& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      Vector x(width);
      for (size_t w = 0; w < width; ++w) {
        x[w] = tensor("token_embd.weight")[static_cast<size_t>(tokens[i]) * width + w] * double{a_.embedding_scale};
        if (a_.learned_positions) x[w] += tensor("position_embd.weight")[i * width + w];
        if (a_.token_type) x[w] += tensor("token_types.weight")[w];
      }
      x_.push_back(a_.embedding_norm ? norm(x, "token_embd_norm") : x);
    }
    for (int layer = 0; layer < layers; ++layer) run(layer);
    const Vector last = a_.norm_place == NormPlace::sum ? x_.back() : norm(x_.back(), "output_norm");
    Vector out = product(a_.tied ? "token_embd" : "output", last, vocabulary);
    for (double& logit : out) {
      logit *= double{a_.logit_multiplier};
      if (a_.logit_softcap != 0) logit = double{a_.logit_softcap} * std::tanh(logit / double{a_.logit_softcap});
    }
    return out;
  }

 private:
  const Vector& tensor(const std::string& name) const { return tensors_.at(name); }

  Vector product(const std::string& name, const Vector& x, size_t rows) const {
    const Vector& w = tensor(name + ".weight");
    Vector y(rows);
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < x.size(); ++c) y[r] += w[r * x.size() + c] * x[c];
    if (const auto bias = tensors_.find(name + ".bias"); bias != tensors_.end())
      for (size_t r = 0; r < rows; ++r) y[r] += bias->second[r];
    return y;
  }

  Vector norm(Vector x, const std::string& name, Norm kind) const {
    double mean = 0, square = 0;
    const auto n = static_cast<double>(x.size());
    if (kind == Norm::layer)
      for (const double v : x) mean += v / n;
    for (double& v : x) v -= mean;
    for (const double v : x) square += v * v / n;
    const Vector& w = tensor(name + ".weight");
    const auto bias = tensors_.find(name + ".bias");
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = x[i] / std::sqrt(square + double{a_.norm_epsilon}) * w[i];
      if (bias != tensors_.end()) x[i] += bias->second[i];
    }
    return x;
  }
  Vector norm(const Vector& x, const std::string& name) const { return norm(x, name, a_.norm); }

  void rotate(int layer, double* head, size_t position) const {
    const LayerArchitecture& of = a_.layer(layer);
    if (!of.rotary) return;
    const double base = of.rope_base > 0 ? double{of.rope_base} : double{a_.rope_base};
    const int half = a_.rope_dim / 2;
    for (int i = 0; i < half; ++i) {
      double angle = static_cast<double>(position) * std::pow(base, -2.0 * i / a_.rope_dim);
      if (a_.rope_scaling.type == RopeScaling::Type::linear && of.rope_scaled) angle /= double{a_.rope_scaling.factor};
      const bool halves = a_.pairing == Pairing::halves;
      double &even = head[halves ? i : 2 * i], &odd = head[halves ? i + half : 2 * i + 1];
      const double x = even, y = odd;
      even = x * std::cos(angle) - y * std::sin(angle);
      odd = y * std::cos(angle) + x * std::sin(angle);
    }
  }

  Vector part(const Vector& all, int64_t head) const {
    return {all.begin() + head * dim, all.begin() + (head + 1) * dim};
  }

  std::vector<Vector> attention(int layer, const std::vector<Vector>& in) const {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    std::vector<Vector> q, k, v, out;
    for (size_t i = 0; i < in.size(); ++i) {
      q.push_back(product(blk + "attn_q", in[i], heads * dim));
      k.push_back(product(blk + "attn_k", in[i], kv_heads * dim));
      v.push_back(product(blk + "attn_v", in[i], kv_heads * dim));
      for (auto* of : {&q.back(), &k.back()}) {
        const std::string name = blk + (of == &q.back() ? "attn_q_norm" : "attn_k_norm");
        if (a_.qk_norm == QkNorm::whole) *of = norm(*of, name, Norm::rms);
        for (size_t h = 0; h < of->size() / dim; ++h) {
          if (a_.qk_norm == QkNorm::per_head) {
            const Vector one = norm(part(*of, static_cast<int64_t>(h)), name, Norm::rms);
            std::copy(one.begin(), one.end(), of->begin() + static_cast<int64_t>(h) * dim);
          }
          rotate(layer, of->data() + h * dim, i);
        }
      }
    }
    const ScoreRule& rule = a_.layer(layer).scores;
    for (size_t i = 0; i < in.size(); ++i) {
      Vector z;
      for (int64_t h = 0; h < heads; ++h) {
        double sum = rule.sinks.empty() ? 0 : std::exp(double{rule.sinks[static_cast<size_t>(h)]});
        Vector blend(dim);
        for (size_t j = 0; j < in.size(); ++j) {
          const auto apart = static_cast<int64_t>(i) - static_cast<int64_t>(j);
          if (rule.right_window >= 0 && -apart > rule.right_window) continue;
          if (rule.left_window >= 0 && apart > rule.left_window && static_cast<int64_t>(j) >= rule.leading_keys)
            continue;
          double s = 0;
          for (int64_t d = 0; d < dim; ++d)
            s += q[i][static_cast<size_t>(h * dim + d)] * k[j][static_cast<size_t>(h / 2 * dim + d)];
          s *= rule.scale == 0.0F ? 1 / std::sqrt(double{dim}) : double{rule.scale};
          if (rule.softcap != 0.0F) s = double{rule.softcap} * std::tanh(s / double{rule.softcap});
          if (!rule.alibi_slopes.empty())
            s -= double{rule.alibi_slopes[static_cast<size_t>(h)]} * static_cast<double>(apart);
          sum += std::exp(s);
          for (int64_t d = 0; d < dim; ++d)
            blend[static_cast<size_t>(d)] += std::exp(s) * v[j][static_cast<size_t>(h / 2 * dim + d)];
        }
        for (const double x : blend) z.push_back(x / sum);
      }
      out.push_back(product(blk + "attn_output", z, width));
    }
    return out;
  }

  double activated(double x) const {
    if (a_.activation == Nonlinearity::silu) return x / (1 + std::exp(-x));
    if (a_.activation == Nonlinearity::gelu) return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
  }

  std::vector<Vector> feed_forward(int layer, const std::vector<Vector>& in) const {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    std::vector<Vector> out;
    for (const Vector& row : in) {
      Vector up = product(blk + "ffn_up", row, mlp);
      const Vector gate = a_.gated ? product(blk + "ffn_gate", row, mlp) : up;
      for (size_t f = 0; f < mlp; ++f) up[f] = activated(gate[f]) * (a_.gated ? up[f] : 1);
      out.push_back(product(blk + "ffn_down", up, width));
    }
    return out;
  }

  std::vector<Vector> entry(const std::string& name) const {
    std::vector<Vector> in = x_;
    if (a_.norm_place == NormPlace::before || a_.norm_place == NormPlace::both)
      for (Vector& row : in) row = norm(row, name);
    return in;
  }
  void add(const std::vector<Vector>& branch, const std::string& after, const std::string& sum) {
    for (size_t i = 0; i < x_.size(); ++i) {
      const bool normed = a_.norm_place == NormPlace::after || a_.norm_place == NormPlace::both;
      const Vector row = normed ? norm(branch[i], after) : branch[i];
      for (size_t w = 0; w < width; ++w) x_[i][w] += row[w] * double{a_.residual_multiplier};
      if (a_.norm_place == NormPlace::sum) x_[i] = norm(x_[i], sum);
    }
  }
  void run(int layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    const auto second = entry(blk + "ffn_norm");
    add(attention(layer, entry(blk + "attn_norm")), blk + "post_attention_norm", blk + "attn_output_norm");
    add(feed_forward(layer, a_.parallel ? second : entry(blk + "ffn_norm")), blk + "post_ffw_norm",
        blk + "layer_output_norm");
  }

  Architecture a_;
  std::map<std::string, Vector> tensors_;
  std::vector<Vector> x_;
};

using Edit = std::function<void(Architecture&)>;

LayerArchitecture& second_layer(Architecture& a) {
  if (a.per_layer.empty()) a.per_layer.resize(layers);
  return a.per_layer[1];
}

/// A change of each field alone.
const std::vector<std::pair<std::string, Edit>>& edits() {
  static const std::vector<std::pair<std::string, Edit>> all = {
      {"scale", [](Architecture& a) { second_layer(a).scores.scale = 0.7F; }},
      {"softcap", [](Architecture& a) { second_layer(a).scores.softcap = 1.5F; }},
      {"left_window", [](Architecture& a) { second_layer(a).scores.left_window = 3; }},
      {"leading_keys",
       [](Architecture& a) { second_layer(a).scores.left_window = 3, second_layer(a).scores.leading_keys = 2; }},
      {"right_window", [](Architecture& a) { second_layer(a).scores.right_window = 2; }},
      {"alibi_slopes",
       [](Architecture& a) {
         second_layer(a).scores.alibi_slopes = {0.5F, 0.25F, 0.125F, 1};
       }},
      {"sinks",
       [](Architecture& a) {
         second_layer(a).scores.sinks = {1, 2, 0, -1};
       }},
      {"rotary", [](Architecture& a) { second_layer(a).rotary = false; }},
      {"rope_base", [](Architecture& a) { second_layer(a).rope_base = 50; }},
      {"rope_scaled",
       [](Architecture& a) {
         a.rope_scaling = {.type = RopeScaling::Type::linear, .factor = 3};
         second_layer(a).rope_scaled = false;
       }},
      {"norm_epsilon", [](Architecture& a) { a.norm_epsilon = 0.5F; }},
      {"rope_dim", [](Architecture& a) { a.rope_dim = 8; }},
      {"rope_scaling", [](Architecture& a) { a.rope_scaling = {.type = RopeScaling::Type::linear, .factor = 3}; }},
      {"embedding_scale", [](Architecture& a) { a.embedding_scale = 0.1F; }},
      {"learned_positions", [](Architecture& a) { a.learned_positions = true; }},
      {"token_type", [](Architecture& a) { a.token_type = true; }},
      {"embedding_norm", [](Architecture& a) { a.embedding_norm = true; }},
      {"norm", [](Architecture& a) { a.norm = Norm::layer; }},
      {"norm_bias", [](Architecture& a) { a.norm_bias = true; }},
      {"norm_place", [](Architecture& a) { a.norm_place = NormPlace::both; }},
      {"norm_place after", [](Architecture& a) { a.norm_place = NormPlace::after; }},
      {"norm_place sum", [](Architecture& a) { a.norm_place = NormPlace::sum, a.norm = Norm::layer; }},
      {"pairing", [](Architecture& a) { a.pairing = Pairing::halves; }},
      {"pairing of a part", [](Architecture& a) { a.pairing = Pairing::halves, a.rope_dim = 8; }},
      {"qk_norm", [](Architecture& a) { a.qk_norm = QkNorm::per_head; }},
      {"qk_norm whole", [](Architecture& a) { a.qk_norm = QkNorm::whole; }},
      {"qkv_bias", [](Architecture& a) { a.qkv_bias = true; }},
      {"output_bias", [](Architecture& a) { a.output_bias = true; }},
      {"mlp_bias", [](Architecture& a) { a.mlp_bias = true; }},
      {"activation", [](Architecture& a) { a.activation = Nonlinearity::gelu; }},
      {"activation tanh", [](Architecture& a) { a.activation = Nonlinearity::gelu_tanh; }},
      {"gated", [](Architecture& a) { a.gated = false; }},
      {"parallel", [](Architecture& a) { a.parallel = true; }},
      {"residual_multiplier", [](Architecture& a) { a.residual_multiplier = 0.3F; }},
      {"logit_multiplier", [](Architecture& a) { a.logit_multiplier = 0.25F; }},
      {"logit_softcap", [](Architecture& a) { a.logit_softcap = 3; }},
      {"tied", [](Architecture& a) { a.tied = false; }},
  };
  return all;
}

std::vector<double> logits_of(const test::GgufBuilder& g, const Edit& edit) {
  const test::TemporaryFile file(g.build());
  const auto model = std::make_shared<const model::LoadedModel>(file.path(), LoadOptions{.threads = 2}, edit);
  const std::vector<int32_t> tokens = test::byte_tokens(length);
  // Future keys are seen only if they are there: one chunk.
  Session session(model, {.threads = 2, .max_tokens = length});
  const auto logits = session.run(tokens, Logits::last);
  return {logits.data, logits.data + logits.shape[1]};
}

double apart(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i)
    most = std::isnan(a[i] - b[i]) ? INFINITY : std::max(most, std::abs(a[i] - b[i]));
  return most;
}

Architecture edited(const Edit& edit) {
  Architecture a;
  const test::TemporaryFile file(test::tiny_llama().build());
  a = model::LoadedModel(file.path(), {.threads = 1}).architecture();
  edit(a);
  return a;
}

void expect_as_written_out(const std::string& name, const Edit& edit) {
  test::GgufBuilder g = test::tiny_llama();
  const Architecture a = edited(edit);
  complete(g, a);
  const auto fast = logits_of(g, edit);
  const auto slow = Slow(g, a).logits(test::byte_tokens(length));
  double largest = 0;
  for (const double x : slow) largest = std::max(largest, std::abs(x));
  EXPECT_LT(apart(fast, slow), 1e-4 * largest) << name;
}

TEST(Architecture, EveryFieldIsRun) {
  const auto plain = logits_of(test::tiny_llama(), {});
  expect_as_written_out("llama", [](Architecture&) {});
  for (const auto& [name, edit] : edits()) {
    expect_as_written_out(name, edit);
    test::GgufBuilder g = test::tiny_llama();
    complete(g, edited(edit));
    EXPECT_GT(apart(logits_of(g, edit), plain), 1e-3) << name << " changes nothing";
  }
}

// Some converters write Q, K and V, and gate and up, as one tensor each.
TEST(Architecture, TensorsThatAreJoinedAreTheSame) {
  test::GgufBuilder joined = test::tiny_llama();
  for (int layer = 0; layer < layers; ++layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    const auto join = [&](const std::vector<std::string>& parts, const std::string& to) {
      test::GgufBuilder::Tensor whole{blk + to, {width, 0}, {}, {}};
      for (const std::string& part : parts) {
        const auto at = std::find_if(joined.tensors.begin(), joined.tensors.end(),
                                     [&](const auto& tensor) { return tensor.name == blk + part; });
        whole.shape[1] += at->shape[1];
        whole.data += at->data;
        joined.tensors.erase(at);
      }
      joined.tensors.push_back(whole);
    };
    join({"attn_q.weight", "attn_k.weight", "attn_v.weight"}, "attn_qkv.weight");
    join({"ffn_gate.weight", "ffn_up.weight"}, "ffn_up.weight");
  }
  EXPECT_EQ(logits_of(joined, {}), logits_of(test::tiny_llama(), {}));
}

// Families take several together.
TEST(Architecture, FieldsGoTogether) {
  const auto several = [](std::vector<std::string> names) {
    return [names](Architecture& a) {
      for (const auto& [name, edit] : edits())
        if (std::find(names.begin(), names.end(), name) != names.end()) edit(a);
    };
  };
  expect_as_written_out("GPT-2", several({"norm", "norm_bias", "learned_positions", "rotary", "qkv_bias", "output_bias",
                                          "mlp_bias", "gated", "activation tanh"}));
  expect_as_written_out("Gemma", several({"embedding_scale", "norm_place", "activation tanh", "left_window", "softcap",
                                          "logit_softcap", "pairing", "scale", "rope_base"}));
  expect_as_written_out("Pythia", several({"norm", "norm_bias", "parallel", "qkv_bias", "output_bias", "mlp_bias",
                                           "gated", "activation", "pairing of a part", "tied"}));
  expect_as_written_out("BERT", several({"norm_place sum", "norm_bias", "token_type", "embedding_norm", "qkv_bias",
                                         "output_bias", "mlp_bias", "gated", "activation", "right_window"}));
  expect_as_written_out("Granite", several({"embedding_scale", "residual_multiplier", "logit_multiplier", "scale"}));
  expect_as_written_out("OLMo 2", several({"norm_place after", "qk_norm whole", "pairing", "tied"}));
}

TEST(Architecture, EveryFieldIsListed) {
  std::set<std::string> listed = {"bias", "per_layer", "scores"};  // steering's; what holds the others
  for (const auto& [name, edit] : edits()) listed.insert(name);
  const auto fields = [&](const std::string& header, const std::string& name) {
    std::ifstream file(BAREATTN_SOURCE_DIR "/include/bareattn/" + header);
    bool within = false;
    int count = 0;
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("struct " + name)) within = true;
      if (line.starts_with("};")) within = false;
      static const std::regex field(R"(^  [\w:<>]+ ((\w+( = [^,;()]+)?(, )?)+);.*)"),
          one(R"((\w+)( = [^,;()]+)?(, |$))");
      std::smatch found;
      if (!within || !std::regex_match(line, found, field)) continue;
      const std::string declared = found[1];
      for (std::sregex_iterator at(declared.begin(), declared.end(), one), end; at != end; ++at, ++count)
        EXPECT_TRUE(listed.contains((*at)[1])) << header << ": " << (*at)[1] << " is not in edits()";
    }
    return count;
  };
  EXPECT_GE(fields("architecture.h", "Architecture"), 20);
  EXPECT_GE(fields("architecture.h", "LayerArchitecture"), 4);
  EXPECT_GE(fields("scores.h", "ScoreRule"), 8);
}

}  // namespace
}  // namespace bareattn
