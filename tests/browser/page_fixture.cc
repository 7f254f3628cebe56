// Makes the pages that the browser tests open, and what they must find in them: page_fixture OUTPUT_DIR [MODEL TEXT].
//   long.html     2,000 tokens, 270 heads, within the default budget: some heads exact, the others pooled
//   hostile.html  120 tokens with hostile texts, 12 heads, all exact; one damaged; made-up roles by recipes (head L.H
//   has
//                 L / 4 + H / 100 for induction, 1.2 none) and likenesses (heads a and b of layer L: L / 10 + |a - b| /
//                 100)
//   real.html     where MODEL and TEXT (a file) are given: the text's first 400 tokens, run by the engine
//   windowed.html the same through a window of 40 tokens and the first 4, from a trace
//   ruled.html    400 bytes, run by a tiny model whose scores use every field of a ScoreRule
//   expected.json tokens and the engine's weights of some rows, and by how much the page's may differ
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bareattn/page.h"
#include "bareattn/trace.h"
#include "every_rule.h"
#include "kernels/gemm.h"
#include "model/loaded_model.h"
#include "page_synthetic-inl.h"

namespace {

using namespace bareattn;
using bareattn::testing::from_half;
using bareattn::testing::SyntheticObservation;

/// The engine's weights of some rows, and per key the bound on |ln(page's weight / engine's weight)|: rounding q and k
/// to binary16 moves each by at most 2^-11 of itself, so a logit by at most scale * sum |q k| (2^-10 + 2^-21); 1e-4
/// more for the f32 sums of the engine and its log-sum-exp.
nlohmann::json expected(const Observation& observation, HeadId head, const std::vector<int64_t>& rows) {
  const ModelConfig& config = observation.model().config();
  const std::vector<uint16_t> q = observation.q_f16(head);
  const std::vector<uint16_t> k = observation.k_f16(head.layer, head.head / (config.heads / config.kv_heads));
  const auto at = [&](const std::vector<uint16_t>& values, int64_t row, int d) {
    return std::fabs(static_cast<double>(from_half(values[static_cast<size_t>(row * config.head_dim + d)])));
  };
  nlohmann::json out{{"tokens", observation.token_texts()}, {"head", {head.layer, head.head}}};
  for (const int64_t row : rows) {
    nlohmann::json slack = nlohmann::json::array();
    for (int64_t j = 0; j <= row; ++j) {
      double sum = 0;
      for (int d = 0; d < config.head_dim; ++d) sum += at(q, row, d) * at(k, j, d);
      slack.push_back(sum * static_cast<double>(observation.score_rule(head.layer).scale) * (0x1p-10 + 0x1p-21) + 1e-4);
    }
    out["rows"][std::to_string(row)] = {{"weights", observation.row_weights(head, row)}, {"slack", slack}};
  }
  return out;
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error("could not write " + path.string());
}

/// |W_O^h v| of each key, straight through the projection: another way than the page's, which uses its Gram matrix.
nlohmann::json sizes(const Model& model, int layer, int head, const std::vector<uint16_t>& values) {
  const auto& output = dynamic_cast<const model::LoadedModel&>(model).weights().layers[layer].output;
  const int dim = model.config().head_dim;
  nlohmann::json out = nlohmann::json::array();
  for (size_t at = 0; at < values.size(); at += static_cast<size_t>(dim)) {
    std::vector<float> x(static_cast<size_t>(output.k)), y(static_cast<size_t>(output.n));
    for (int d = 0; d < dim; ++d)
      x[static_cast<size_t>(head * dim + d)] = from_half(values[at + static_cast<size_t>(d)]);
    kernels::gemm(x.data(), output.k, 1, output, 0, output.n, y.data(), output.n);
    double square = 0;
    for (const float v : y) square += static_cast<double>(v) * static_cast<double>(v);
    out.push_back(std::sqrt(square));
  }
  return out;
}

/// The same text through a window, from a trace: what the page recomputes must keep to the window.
nlohmann::json windowed_page(const std::filesystem::path& dir, const std::shared_ptr<const Model>& model,
                             const std::vector<int32_t>& tokens) {
  Reach reach;
  reach.window = 40, reach.sinks = 4;
  const std::string path = (dir / "windowed.safetensors").string();
  write_trace(path, model, tokens, {}, reach);
  const auto trace = Trace::open(path);
  PageOptions options;
  options.title = "A real text through a window";
  options.exact = {{11, 2}};
  write(dir / "windowed.html", render_page(*trace, options));
  return expected(*trace, {11, 2}, {1, 200, 399});
}

/// As the table at the top says.
void add_made_up(PageOptions& options, int layers, int heads) {
  HeadRoles roles;
  roles.layers = layers, roles.heads = heads, roles.of_head.resize(static_cast<size_t>(layers) * heads);
  Agreement agreement;
  agreement.rows = 119;
  for (int l = 0; l < layers; ++l)
    for (int a = 0; a < heads; ++a) {
      roles.of_head[static_cast<size_t>(l) * heads + a].scores[0].mean = l == 1 && a == 2 ? NAN : l * 0.25 + a * 0.01;
      for (int b = a + 1; b < heads; ++b) agreement.pairs.push_back({l, a, b, l * 0.1 + (b - a) * 0.01});
    }
  options.recipe_roles = std::make_shared<HeadRoles>(roles);
  options.agreement = std::make_shared<Agreement>(agreement);
}

nlohmann::json real_page(const std::filesystem::path& dir, const char* model_path, const char* text_path) {
  std::ifstream file(text_path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  const auto model = Model::load(model_path);
  std::vector<int32_t> tokens = model->tokenizer().encode(text.str());
  if (tokens.size() < 400) throw std::runtime_error(std::string(text_path) + " has fewer than 400 tokens");
  tokens.resize(400);
  ObservationOptions how;
  how.keep_v = true;
  const auto observation = observe(model, tokens, how);
  PageOptions options;
  options.title = "A real text";
  options.exact = {{11, 2}};
  options.telling = options.exact;
  options.lesson = make_lesson(model, Lesson::sentence);
  write(dir / "real.html", render_page(*observation, options));
  nlohmann::json out = expected(*observation, {11, 2}, {1, 200, 399});
  out["sizes"] = sizes(*model, 11, 2, observation->v_f16(11, 2 / (model->config().heads / model->config().kv_heads)));
  return {{"real", out}, {"windowed", windowed_page(dir, model, tokens)}};
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2 && argc != 4) {
    std::cerr << "usage: page_fixture OUTPUT_DIR [MODEL TEXT]\n";
    return 2;
  }
  const std::filesystem::path dir = argv[1];
  std::filesystem::create_directories(dir);
  nlohmann::json out;

  const SyntheticObservation big({});
  PageOptions options;
  options.title = "A made-up text of 2,000 tokens";
  options.telling = {{1, 1}, {0, 0}};
  write(dir / "long.html", render_page(big, options));
  out["long"] = expected(big, {1, 1}, {0, 1, 812, 1999});

  bareattn::testing::SyntheticOptions small;
  small.layers = 4, small.heads = 3, small.kv_heads = 1, small.tokens = 120, small.hostile = true;
  SyntheticObservation bad(small);
  bad.damage({2, 1});
  PageOptions hostile;
  hostile.title = "</title><script>alert(1)</script> \xE2\x80\xAE title";
  add_made_up(hostile, small.layers, small.heads);
  write(dir / "hostile.html", render_page(bad, hostile));
  out["hostile"] = expected(bad, {0, 1}, {0, 5, 119});

  const auto ruled = observe(test::every_rule_model(), test::byte_tokens(400));
  PageOptions every;
  every.title = "Every rule";
  every.exact = {{0, 1}, {1, 2}};
  write(dir / "ruled.html", render_page(*ruled, every));
  out["ruled"] = expected(*ruled, {0, 1}, {1, 41, 200, 399});
  out["ruled2"] = expected(*ruled, {1, 2}, {1, 399});

  if (argc == 4) out.update(real_page(dir, argv[2], argv[3]));
  write(dir / "expected.json", out.dump());
  return 0;
} catch (const std::exception& e) {
  std::cerr << "page_fixture: " << e.what() << "\n";
  return 1;
}
