// Each family that can be run, on a tiny random model whose logits and eager attention weights come from transformers
// in double (golden/make_families_golden.py): the pass, the weights that are shown, decoding in steps, and a trace.
//
// Bounds. A logit, relative to the row's largest: 2 L branches add to the stream, each errs like its longest product,
// of k = max(F, W) terms in f32, as in model_oracle_test.cc: sqrt(2 L k) 2^-24. Norms after a branch, and those of
// queries and keys, divide by what may be small, and drawn weights spread scores wider than trained ones: that is
// allowed for by one factor, `spread`, for all families. A score errs by the same share of the largest |q k| scale of
// its row, and that error is the relative error of the weight; the weights of `tile` and `row_weights` have beside it
// what observation.h states: 1.01 2^-10 of scale sum |q k|, 2 D 2^-24 in the last row.
#include "model/families.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <map>
#include <sstream>

#include "bareattn/error.h"
#include "bareattn/observation.h"
#include "bareattn/scores.h"
#include "bareattn/trace.h"
#include "folder.h"
#include "gguf_builder.h"
#include "golden_json.h"
#include "model/layer.h"
#include "model/loaded_model.h"
#include "observe_dense.h"

namespace bareattn {
namespace {

constexpr double spread = 2;

/// A file of tests/golden/families, unpacked.
std::string unzip(const std::string& name) {
  std::string out;
  gzFile file = gzopen((BAREATTN_SOURCE_DIR "/tests/golden/families/" + name).c_str(), "rb");
  if (file == nullptr) throw std::runtime_error("cannot open " + name);
  char buffer[1 << 16];
  for (int n; (n = gzread(file, buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(n));
  gzclose(file);
  return out;
}

struct Case {
  test::TemporaryFile file;
  std::shared_ptr<const Model> model;
  nlohmann::json golden;
  std::vector<int32_t> tokens;
  test::QkRecorder run;
  std::vector<float> logits;  // [N, V]
  double bound;               // of a logit, relative

  explicit Case(const std::string& family)
      : file(unzip(family + ".gguf.gz")),
        model(Model::load(file.path(), {.threads = 2})),
        golden(test::golden_json("families/" + family + ".json")),
        tokens(golden["tokens"].get<std::vector<int32_t>>()) {
    const Architecture& a = model->architecture();
    bound = spread * std::sqrt(2.0 * a.layers * std::max(a.mlp_width, a.width)) * 0x1p-24;
    Session session(model, {.threads = 2});
    const auto all = session.run(tokens, Logits::all, &run);
    logits.assign(all.data, all.data + all.shape[0] * all.shape[1]);
  }
  static Case& of(const std::string& family) {
    static std::map<std::string, std::unique_ptr<Case>> cases;
    auto& made = cases[family];
    if (made == nullptr) made = std::make_unique<Case>(family);
    return *made;
  }
  int kv_head(int head) const { return head / (model->architecture().heads / model->architecture().kv_heads); }
  /// The largest scale sum |q k| of a row.
  double size(int layer, int head, int64_t row) {
    const int dim = model->architecture().head_dim;
    const double scale = double{ScoreRules(model->architecture(), {}, nullptr, 0).layer(layer).scale};
    const auto &q = run.q.at({layer, head}), &k = run.k.at({layer, kv_head(head)});
    double most = 0;
    for (int64_t key = 0; key <= row; ++key) {
      double sum = 0;
      for (int d = 0; d < dim; ++d)
        sum += std::abs(double{q[static_cast<size_t>(row * dim + d)]} * k[static_cast<size_t>(key * dim + d)]);
      most = std::max(most, sum * scale);
    }
    return most;
  }
};

class OfFamily : public testing::TestWithParam<std::string> {};

TEST_P(OfFamily, LogitsAreThoseOfTransformers) {
  Case& c = Case::of(GetParam());
  EXPECT_TRUE(c.model->warnings().empty()) << c.model->warnings().front();
  const auto vocabulary = static_cast<size_t>(c.model->architecture().vocab_size);
  double worst = 0;
  for (size_t r = 0; r < c.golden["rows"].size(); ++r) {
    const auto theirs = c.golden["logits"][r].get<std::vector<double>>();
    ASSERT_EQ(theirs.size(), vocabulary);
    double largest = 0, difference = 0;
    for (size_t i = 0; i < vocabulary; ++i) {
      largest = std::max(largest, std::abs(theirs[i]));
      const double ours = double{c.logits[c.golden["rows"][r].get<size_t>() * vocabulary + i]};
      ASSERT_TRUE(std::isfinite(ours));
      difference = std::max(difference, std::abs(ours - theirs[i]));
    }
    worst = std::max(worst, difference / largest);
  }
  EXPECT_LT(worst, c.bound);
  std::printf("| `%s` | %.1e | %.1e |\n", GetParam().c_str(), worst, c.bound);
}

TEST_P(OfFamily, WeightsAreTheEagerOnes) {
  Case& c = Case::of(GetParam());
  const auto observed = observe(c.model, c.tokens, {}, 2);
  const double unit = 1.01 * 0x1p-10, last_unit = 2.0 * c.model->architecture().head_dim * 0x1p-24;
  double worst = 0;
  size_t hidden = 0;
  for (const auto& entry : c.golden["weights"]) {
    const HeadId head{entry["layer"], entry["head"]};
    const int64_t row = entry["row"];
    const auto theirs = entry["values"].get<std::vector<double>>();
    const auto tile = observed->tile(head, {row, row + 1}, {0, row + 1});
    const auto whole = observed->row_weights(head, row);
    ASSERT_EQ(tile.size(), theirs.size());
    ASSERT_EQ(whole.size(), theirs.size());
    const bool last = row + 1 == static_cast<int64_t>(c.tokens.size());
    const double size = c.size(head.layer, head.head, row);
    for (size_t key = 0; key < theirs.size(); ++key) {
      if (theirs[key] == 0) ++hidden;
      // What is seen and what is not is the same, exactly.
      EXPECT_EQ(tile[key] == 0, theirs[key] == 0) << head.layer << '.' << head.head << " row " << row << " key " << key;
      const auto within = [&](double ours, double kept) {
        const double allowed = std::expm1(2 * size * (c.bound + kept)) * theirs[key] + 1e-12;
        EXPECT_LE(std::abs(ours - theirs[key]), allowed)
            << head.layer << '.' << head.head << " row " << row << " key " << key;
        worst = std::max(worst, std::abs(ours - theirs[key]));
      };
      within(double{tile[key]}, unit);
      within(double{whole[key]}, last ? last_unit : unit);
    }
  }
  bool windows = false;
  for (const LayerArchitecture& layer : c.model->architecture().per_layer) windows |= layer.scores.left_window >= 0;
  EXPECT_EQ(hidden > 0, windows);  // a window is in the numbers, or there is none
  std::printf("%s: weights differ by up to %.1e\n", GetParam().c_str(), worst);
}

TEST_P(OfFamily, DecodingHasTheBitsOfPrefill) {
  Case& c = Case::of(GetParam());
  Session session(c.model, {.threads = 1});
  const auto vocabulary = static_cast<int64_t>(c.model->architecture().vocab_size);
  std::vector<float> stepped;
  for (size_t first = 0; first < c.tokens.size();) {
    const size_t count = std::min<size_t>(first < 20 ? 7 : 1, c.tokens.size() - first);  // pieces, then one by one
    const auto logits = session.run(std::span(c.tokens).subspan(first, count), Logits::all);
    stepped.insert(stepped.end(), logits.data, logits.data + static_cast<int64_t>(count) * vocabulary);
    first += count;
  }
  EXPECT_EQ(stepped, c.logits);
}

TEST_P(OfFamily, ATraceGivesTheSameCells) {
  Case& c = Case::of(GetParam());
  const test::Folder folder;
  write_trace(folder / "run", c.model, c.tokens, {.store = Store::f16}, {}, 2);
  const auto trace = Trace::open(folder / "run");
  const auto observed = observe(c.model, c.tokens, {}, 2);
  const auto rows = static_cast<int64_t>(c.tokens.size());
  for (int layer = 0; layer < c.model->architecture().layers; ++layer) {
    const HeadId head{layer, layer % c.model->architecture().heads};
    EXPECT_EQ(trace->tile(head, {0, rows}, {0, rows}), observed->tile(head, {0, rows}, {0, rows})) << layer;
    EXPECT_EQ(trace->rows(Measure::entropy, head), observed->rows(Measure::entropy, head)) << layer;
  }
}

/// All that are known but llama, which model_oracle_test.cc holds against its oracles: one that is added needs a
/// golden.
std::vector<std::string> families() {
  std::vector<std::string> names;
  std::istringstream all(model::family_names());  // 'llama', 'qwen2'
  for (std::string name; std::getline(all, name, '\'');)
    if (name.find_first_of(", ") == std::string::npos && !name.empty() && name != "llama") names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Each, OfFamily, testing::ValuesIn(families()), [](const auto& of) { return of.param; });

TEST(Families, ThereAreTen) { EXPECT_EQ(families().size(), 10U); }

// Where a norm follows attention, its weights are part of what a head writes: of that divided by them, the root mean
// square is one.
TEST(Families, WhatAHeadWritesHasPassedTheNormAfterAttention) {
  const auto model = std::dynamic_pointer_cast<const model::LoadedModel>(Case::of("gemma2").model);
  const Architecture& a = model->architecture();
  base::ThreadPool pool(1);
  const model::RopeTables no_rope;
  const model::Watch nobody(nullptr, a.layers);
  const model::AttentionSteps steps;
  const ScoreRules no_scores;
  const model::Pass pass{a, model->weights(), no_rope, nobody, pool, no_scores, steps};
  model::HeadWrites writes(pass, 1);
  model::Rows x(1, a.width);
  for (int i = 0; i < a.width; ++i) x.row(0)[i] = std::sin(static_cast<float>(i));
  writes.take(1, x, 1);
  const model::Rows& written = writes.of(0);
  for (int head = 0; head < a.heads; ++head) {
    double square = 0;
    for (int i = 0; i < a.width; ++i)
      square += std::pow(double{written.row(head)[i]} / model->weights().layers[1].attention_post_norm.weight[i], 2);
    EXPECT_NEAR(square / a.width, 1, 1e-3) << head;
  }
}

/// Why the file cannot be run after `key` was overwritten.
std::string refusal(std::string file, const std::string& key, const std::string& with) {
  const size_t found = file.find(key);
  EXPECT_NE(found, std::string::npos) << key;
  file.replace(found, with.size(), with);
  const test::TemporaryFile changed(file);
  try {
    (void)Model::load(changed.path(), {.threads = 1});
  } catch (const FileError& error) {
    return error.what();
  }
  return "";
}

TEST(Families, WhatIsMissingOrNotUsedIsRefusedByName) {
  EXPECT_NE(refusal(unzip("qwen3.gguf.gz"), "blk.1.attn_q_norm.weight", "blk.1.attn_q_nurm")
                .find("tensor 'blk.1.attn_q_norm.weight' is missing"),
            std::string::npos);
  // Another family's tensors: a Qwen 3 that says it were a Qwen 2 has norms that nobody asked for.
  std::string other = unzip("qwen3.gguf.gz");
  for (size_t at = 0; (at = other.find("qwen3", at)) != std::string::npos;) other.replace(at, 5, "qwen2");
  EXPECT_NE(refusal(other, "GGUF", "GGUF").find("_norm.weight' is not known for architecture 'qwen2'"),
            std::string::npos);
  EXPECT_NE(refusal(unzip("gptneox.gguf.gz"), "gptneox.use_parallel_residual", "gptneox.use_parallel_residuum")
                .find("'gptneox.use_parallel_residual' is missing"),
            std::string::npos);
  EXPECT_NE(refusal(unzip("granite.gguf.gz"), "granite.logit_scale", "granite.logit_skale").find("is missing"),
            std::string::npos);
}

// A window of a layer in a file that lists them wrongly; a key of layers with windows that would change their shape.
TEST(Families, WindowsAreChecked) {
  const auto tiny = [](const char* key, const std::function<void(test::GgufBuilder&)>& edit) {
    test::GgufBuilder g = test::tiny_llama();
    for (auto& value : g.values)
      if (value.key.starts_with("llama.")) value.key.replace(0, 5, "phi3");
    g.string("general.architecture", "phi3");
    edit(g);
    const test::TemporaryFile file(g.build());
    try {
      return std::pair{std::string(), Model::load(file.path(), {.threads = 1})->architecture()};
    } catch (const FileError& error) {
      EXPECT_NE(std::string(error.what()).find(key), std::string::npos) << error.what();
      return std::pair{std::string(error.what()), Architecture()};
    }
  };
  const char *window = "phi3.attention.sliding_window", *pattern = "phi3.attention.sliding_window_pattern";
  EXPECT_EQ(tiny("", [](auto&) {}).second.layer(1).scores.left_window, -1);
  EXPECT_EQ(tiny("", [&](auto& g) { g.u32(window, 0); }).second.layer(1).scores.left_window, -1);
  const auto all = tiny("", [&](auto& g) { g.u32(window, 9); }).second;
  EXPECT_EQ(all.layer(0).scores.left_window, 8);
  EXPECT_EQ(all.layer(1).scores.left_window, 8);
  const auto half = tiny("", [&](auto& g) { g.u32(window, 9).u32(pattern, 2); }).second;
  EXPECT_EQ(half.layer(0).scores.left_window, 8);
  EXPECT_EQ(half.layer(1).scores.left_window, -1);
  const auto second = tiny("", [&](auto& g) { g.u32(window, 9).template array<uint8_t>(pattern, 7, {0, 1}); }).second;
  EXPECT_EQ(second.layer(0).scores.left_window, -1);
  EXPECT_EQ(second.layer(1).scores.left_window, 8);
  EXPECT_NE(tiny(pattern,
                 [&](auto& g) {
                   g.u32(window, 9).template array<uint8_t>(pattern, 7, {0, 1, 1});
                 })
                .first.find("3 entries; 2 are needed"),
            std::string::npos);
  EXPECT_NE(
      tiny("phi3.rope.dimension_count_swa", [&](auto& g) { g.u32(window, 9).u32("phi3.rope.dimension_count_swa", 8); })
          .first.find("is 8; only 16"),
      std::string::npos);
}

}  // namespace
}  // namespace bareattn
