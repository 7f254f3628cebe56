// One rule makes every score (scores.h): on a tiny model that uses all of it at once (scale, softcap, two windows in
// turn, sink logits, ALiBi), in a run with a window of its own and steering, the weights of the pass, of a trace's
// tiles, pieces, rows, of an observation and of attention() agree; and so they do with the definition written out.
#include "bareattn/scores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "bareattn/trace.h"
#include "every_rule.h"
#include "folder.h"
#include "golden_json.h"

namespace bareattn {
namespace {

constexpr int64_t n = 700;  // more than a block of 512 keys
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr double tiniest = std::numeric_limits<float>::min();  // what a float holds with all its digits

std::shared_ptr<const Model> tiny() { return test::every_rule_model(); }

/// Q, K, V and blends of every layer.
class Keeper final : public Observer {
 public:
  bool wants(Point point, int) override {
    return point == Point::rot_q || point == Point::rot_k || point == Point::v || point == Point::z;
  }
  void see(const Event& event) override {
    auto& to = of[event.layer][static_cast<int>(event.point)];
    for (int64_t i = 0; i < event.values.shape[0]; ++i)
      for (int64_t h = 0; h < event.values.shape[1]; ++h)
        for (int64_t d = 0; d < event.values.shape[2]; ++d) to.push_back(event.values.at(i, h, d));
  }
  std::span<const float> row(int layer, Point point, int64_t heads, int64_t head, int64_t i) const {
    const int64_t dim = tiny()->config().head_dim;
    return std::span(of[layer][static_cast<int>(point)])
        .subspan(static_cast<size_t>((i * heads + head) * dim), static_cast<size_t>(dim));
  }

 private:
  std::vector<float> of[2][point_count];
};

std::shared_ptr<const ScoreTable> steering() {
  auto made = std::make_shared<ScoreTable>();
  const ModelConfig& config = tiny()->config();
  made->heads = config.heads;
  made->head_dim = config.head_dim;
  made->row_spans = made->key_spans = 2;
  for (int64_t i = 0; i < n / 2; ++i) {  // shorter than the text
    made->row_span.push_back(i > 100);
    made->key_span.push_back(i % 5 == 2);
  }
  made->layers.resize(2);
  for (int h = 0; h < config.heads; ++h) {
    for (const float value : {0.0F, 0.5F, 0.0F, h == 1 ? -infinity : 1.0F}) made->layers[1].value.push_back(value);
    made->layers[1].head_scale.push_back(h == 2 ? 0.5F : 1.0F);
  }
  return made;
}

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t d = 0; d < a.size(); ++d) sum += double{a[d]} * double{b[d]};
  return sum;
}

/// The definition, written out: the weights of a row.
std::vector<double> written_out(const Keeper& run, const ScoreTable* table, int64_t window, HeadId id, int64_t i) {
  const ScoreRule own = tiny()->architecture().layer(id.layer).scores;
  const auto h = static_cast<size_t>(id.head);
  int64_t left = own.left_window, leading = 0;
  if (window >= 0 && window < left) left = window, leading = 3;
  std::vector<double> weights(static_cast<size_t>(i + 1));
  double sum = std::exp(double{own.sinks[h]});
  for (int64_t j = 0; j <= i; ++j) {
    if (j < i - left && j >= leading) continue;
    double s = dot(run.row(id.layer, Point::rot_q, 4, id.head, i), run.row(id.layer, Point::rot_k, 2, id.head / 2, j)) *
               double{own.scale};
    const bool changed = table != nullptr && id.layer == 1;
    if (changed) s *= double{table->layers[1].head_scale[h]};
    s = double{own.softcap} * std::tanh(s / double{own.softcap}) + double{own.alibi_slopes[h]} * double(j - i);
    if (changed) {
      const size_t row = i < n / 2 && i > 100, key = j < n / 2 && j % 5 == 2;
      s += double{table->layers[1].value[h * 4 + row * 2 + key]};
    }
    sum += weights[static_cast<size_t>(j)] = std::exp(s);
  }
  for (double& w : weights) w /= sum;
  return weights;
}

struct Case {
  bool steered;
  int64_t window;
};

class OneRule : public ::testing::TestWithParam<Case> {};

TEST_P(OneRule, MakesEveryWeight) {
  const auto table = GetParam().steered ? steering() : nullptr;
  const Reach reach{.window = GetParam().window, .sinks = GetParam().window >= 0 ? 3 : 0};
  const auto tokens = test::byte_tokens(n);
  const test::Folder folder;
  write_trace(folder / "a", tiny(), tokens, {.store = Store::f32, .table = table}, reach, 2);
  const auto trace = Trace::open(folder / "a");
  Keeper run;
  Session(tiny(), {.threads = 2, .max_tokens = n, .reach = reach, .table = table}).run(tokens, Logits::none, &run);
  const auto observation = observe(tiny(), tokens, {.table = table}, 2);  // knows no window of the run
  const int64_t dim = tiny()->config().head_dim;
  for (int layer = 0; layer < 2; ++layer) {
    for (int head = 0; head < 4; ++head) {
      const HeadId id{layer, head};
      const auto all = trace->tile(id, {0, n}, {0, n});
      const auto shown = observation->tile(id, {0, n}, {0, n});
      const auto scores = trace->scores(id, {0, n}, {0, n});
      std::vector<float> pieces(all.size());
      trace->visit(id, {0, n}, {0, n}, [&](const Trace::Piece& piece) {
        for (int64_t i = piece.rows.begin; i < piece.rows.end; ++i)
          for (int64_t j = piece.keys.begin; j < piece.keys.end; ++j)
            pieces[static_cast<size_t>(i * n + j)] =
                piece.weights[(i - piece.rows.begin) * piece.stride + j - piece.keys.begin];
      });
      EXPECT_EQ(pieces, all);
      const ScoreRule rule = trace->score_rule(layer).of_head(head);
      for (const int64_t i : {0, 1, 41, 99, 350, 511, 512, 640, 699}) {
        const auto row = trace->row_weights(id, i);
        const auto want = written_out(run, table.get(), GetParam().window, id, i);
        std::vector<double> z(static_cast<size_t>(dim));
        for (int64_t j = 0; j <= i; ++j) {
          const auto at = static_cast<size_t>(i * n + j);
          ASSERT_EQ(row[static_cast<size_t>(j)], all[at]) << layer << "." << head << " " << i << " " << j;
          const double w = want[static_cast<size_t>(j)];
          ASSERT_NEAR(double{all[at]}, w, 2e-5 * w + tiniest) << layer << "." << head << " " << i << " " << j;
          ASSERT_EQ(std::isinf(scores[at]), w == 0);
          ASSERT_EQ(rule.sees(i, j), w != 0);
          const auto v = run.row(layer, Point::v, 2, head / 2, j);
          for (size_t d = 0; d < z.size(); ++d) z[d] += double{all[at]} * double{v[d]};
          if (GetParam().window < 0) {
            ASSERT_NEAR(double{shown[at]}, w, 0.03 * w + tiniest) << layer << "." << head << " " << i;
          }
        }
        const auto blend = run.row(layer, Point::z, 4, head, i);  // the weights shown are those that made the output
        for (size_t d = 0; d < z.size(); ++d) ASSERT_NEAR(z[d], double{blend[d]}, 2e-6) << layer << "." << head;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Scores, OneRule,
                         ::testing::Values(Case{false, -1}, Case{true, -1}, Case{false, 25}, Case{true, 550}));

TEST(Scores, ARowIsItsCells) {
  const ScoreRules rules(tiny()->architecture(), {}, steering().get(), n);
  for (int layer = 0; layer < 2; ++layer) {
    const ScoreRule rule = rules.head(layer, 2);
    std::vector<float> row(600);
    for (size_t j = 0; j < row.size(); ++j) row[j] = static_cast<float>(j % 13) - 6;
    const std::vector<float> dots = row;
    rule.score_row(599, row);
    for (int64_t j = 0; j < 600; ++j) {
      const double want = rule.score(double{dots[static_cast<size_t>(j)]}, 599, j);
      if (std::isinf(want)) {
        ASSERT_EQ(double{row[static_cast<size_t>(j)]}, want);
      } else {
        ASSERT_NEAR(double{row[static_cast<size_t>(j)]}, want, 1e-5 * (1 + std::abs(want)));
      }
    }
  }
}

TEST(Scores, LeadingKeysAreSeenBesideTheWindow) {
  const ScoreRule rule{.scale = 1, .left_window = 2, .leading_keys = 3};
  std::string seen;
  for (int64_t j = 0; j < 10; ++j) seen += rule.sees(8, j) ? '1' : '0';
  EXPECT_EQ(seen, "1110001110");
  seen.clear();
  for (int64_t j = 0; j < 8; ++j) seen += rule.from(2).sees(6, j) ? '1' : '0';  // the same counted from key 2
  EXPECT_EQ(seen, "10001110");
}

// The operator's leading keys are the mask that says the same, bit for bit, and the oracle knows them.
TEST(Scores, LeadingKeysOfTheOperator) {
  constexpr int64_t rows = 600, d = 16;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> q(rows * d), k(rows * d), v(rows * d), by_window(rows * d), by_mask(rows * d), oracle(rows * d);
  for (auto* values : {&q, &k, &v})
    for (float& x : *values) x = normal(random);
  std::vector<uint8_t> seen;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < rows; ++j) seen.push_back(j < 5 || j >= i - 30);
  const auto in = [&](const std::vector<float>& x) {
    return ConstTensor(TensorView<const float>(x.data(), {1, 1, rows, d}));
  };
  const auto out = [&](std::vector<float>& x) { return MutableTensor(TensorView<float>(x.data(), {1, 1, rows, d})); };
  AttentionParams params;
  params.is_causal = true;
  AttentionParams masked = params;
  masked.attn_mask = ConstTensor(TensorView<const uint8_t>(seen.data(), {1, 1, rows, rows}));
  params.left_window = 30;
  params.leading_keys = 5;
  attention(in(q), in(k), in(v), out(by_window), params);
  attention(in(q), in(k), in(v), out(by_mask), masked);
  reference_attention(in(q), in(k), in(v), out(oracle), params);
  EXPECT_EQ(by_window, by_mask);
  for (size_t i = 0; i < oracle.size(); ++i) ASSERT_NEAR(by_window[i], oracle[i], 1e-5);
  params.leading_keys = -1;
  EXPECT_THROW(attention(in(q), in(k), in(v), out(by_window), params), std::invalid_argument);
}

// A small trace of this model and the weights of its pass, for those who read traces by other ways: the command and
// Python. BAREATTN_WRITE_GOLDEN=1 writes both anew.
TEST(Scores, TheStoredTraceIsRead) {
  const std::string golden = BAREATTN_SOURCE_DIR "/tests/golden/";
  if (std::getenv("BAREATTN_WRITE_GOLDEN") != nullptr) {
    write_trace(golden + "every_rule.safetensors", tiny(), test::byte_tokens(64), {.store = Store::f32}, {}, 2);
    nlohmann::json weights;
    const auto trace = Trace::open(golden + "every_rule.safetensors");
    for (int layer = 0; layer < 2; ++layer)
      for (int head = 0; head < 4; ++head)
        weights[std::to_string(layer) + "." + std::to_string(head)] = trace->row_weights({layer, head}, 63);
    std::ofstream(golden + "every_rule.json") << weights.dump() << "\n";
  }
  const auto stored = Trace::open(golden + "every_rule.safetensors");
  const auto rows = test::golden_json("every_rule.json");
  const test::Folder folder;
  write_trace(folder / "a", tiny(), test::byte_tokens(64), {.store = Store::f32}, {}, 2);
  const auto fresh = Trace::open(folder / "a");
  for (int layer = 0; layer < 2; ++layer) {
    for (int head = 0; head < 4; ++head) {
      EXPECT_EQ(stored->tile({layer, head}, {0, 64}, {0, 64}), fresh->tile({layer, head}, {0, 64}, {0, 64}));
      const auto& row = rows[std::to_string(layer) + "." + std::to_string(head)];
      EXPECT_EQ(fresh->row_weights({layer, head}, 63), row.get<std::vector<float>>());
    }
  }
}

// The scale stands in one place, for the engine and for the page.
TEST(Scores, NobodyElseScales) {
  const std::string root = BAREATTN_SOURCE_DIR;
  for (const char* folder : {"/src", "/cli", "/viewer/src", "/python"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root + folder)) {
      const std::string name = entry.path().extension();
      if (name != ".cc" && name != ".h" && name != ".ts" && name != ".tsx" && name != ".py") continue;
      if (entry.path().string().find("node_modules") != std::string::npos ||
          entry.path().string().find("/tests/") != std::string::npos || entry.path().filename() == "call.cc")
        continue;
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) {
        if (const auto comment = line.find("//"); comment != std::string::npos) line.resize(comment);
        for (const char* root_of : {"sqrt(dim", "sqrt(static_cast<double>(dim", "sqrt(static_cast<float>(dim",
                                    "sqrt(d)", "sqrt(head_dim", "sqrt(static_cast<double>(d))", "sqrt(q.length)"})
          EXPECT_EQ(line.find(root_of), std::string::npos) << entry.path() << ": " << line;
      }
    }
  }
}

}  // namespace
}  // namespace bareattn
