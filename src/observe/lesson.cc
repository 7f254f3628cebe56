// make_lesson: one run of a short sentence with Q, K and V of every layer kept as f32 (16 tokens of a model of 30
// layers and 9 heads: 0.3 million numbers), and every weight of it. Refuses sentences that are too long for a screen.
#include "bareattn/lesson.h"

#include <algorithm>
#include <string_view>

#include "bareattn/error.h"
#include "bareattn/weights.h"
#include "base/float_environment.h"
#include "kernels/convert.h"
#include "observe/exact_cells.h"
#include "observe/token_texts.h"

namespace bareattn {
namespace {

/// Keeps Q, K (both rotated) and V of every layer.
class Keeper final : public Observer {
 public:
  struct Layer {
    std::vector<float> q, k, v;  // [n, Hq, D], [n, Hkv, D], [n, Hkv, D]
  };
  Keeper(int layers, bool rounded) : layers_(static_cast<size_t>(layers)), rounded_(rounded) {}
  bool wants(Point point, int /*layer*/) override {
    return point == Point::rot_q || point == Point::rot_k || point == Point::v;
  }
  void see(const Event& event) override {
    Layer& layer = layers_[static_cast<size_t>(event.layer)];
    std::vector<float>& to = event.point == Point::rot_q ? layer.q : event.point == Point::rot_k ? layer.k : layer.v;
    const TensorView<const float>& from = event.values;
    for (int64_t row = 0; row < from.shape[0]; ++row) {
      for (int64_t head = 0; head < from.shape[1]; ++head) {
        for (int64_t d = 0; d < from.shape[2]; ++d) to.push_back(kept(from.at(row, head, d)));
      }
    }
  }
  const Layer& layer(int at) const { return layers_[static_cast<size_t>(at)]; }

 private:
  // Attention in bf16 sees them rounded.
  float kept(float value) const { return rounded_ ? kernels::f32_from_bf16(kernels::bf16_from_f32(value)) : value; }
  std::vector<Layer> layers_;
  bool rounded_;
};

ConstTensor heads_first(const std::vector<float>& values, int64_t n, int64_t heads, int64_t dim) {
  return ConstTensor(TensorView<const float>(values.data(), {1, heads, n, dim}, {0, dim, heads * dim, 1}));
}

/// The weights of all heads of a layer, [Hq, n, n].
std::vector<float> layer_weights(const Model& model, const ScoreRule& rule, const Keeper::Layer& layer, int64_t n) {
  const ModelConfig& config = model.config();
  std::vector<float> out(static_cast<size_t>(config.heads * n * n));
  AttentionParams params = attention_params(rule);
  params.compute = observing::compute_of(model.attention());
  weights(heads_first(layer.q, n, config.heads, config.head_dim),
          heads_first(layer.k, n, config.kv_heads, config.head_dim),
          MutableTensor(TensorView<float>(out.data(), {1, config.heads, n, n})), {}, params);
  return out;
}

int64_t find_token(const std::vector<std::string>& tokens, std::string_view word) {
  const auto at = std::find_if(tokens.begin(), tokens.end(), [&](std::string_view token) {
    token.remove_prefix(std::min(token.find_first_not_of(' '), token.size()));
    return token == word;
  });
  return at == tokens.end() ? -1 : at - tokens.begin();
}

/// Row `head` of values [n, heads, D].
std::vector<float> of_head(const std::vector<float>& values, int64_t head, int64_t heads, int64_t dim) {
  std::vector<float> out;
  for (size_t at = static_cast<size_t>(head * dim); at < values.size(); at += static_cast<size_t>(heads * dim))
    out.insert(out.end(), values.begin() + static_cast<int64_t>(at), values.begin() + static_cast<int64_t>(at) + dim);
  return out;
}

/// The tour tells of 1 / sqrt(D), causal mask and softmax. Where a layer does otherwise, its numbers would not fit.
bool is_told(const ScoreRule& rule, int dim, int64_t n) {
  return rule.scale == default_scale(dim) && rule.softcap == 0.0F && rule.alibi_slopes.empty() && rule.sinks.empty() &&
         rule.right_window == 0 && (rule.left_window < 0 || rule.left_window >= n);
}

/// Chooses head, row and key, and keeps that head's weights. False where no weight is a number.
bool choose(const Model& model, const Keeper& keeper, Lesson& lesson) {
  const auto n = static_cast<int64_t>(lesson.tokens.size());
  const ScoreRules rules(model.architecture(), {}, nullptr, n);
  const int64_t it = find_token(lesson.tokens, "it"), cat = find_token(lesson.tokens, "cat");
  const bool told = cat > 0 && it > cat;
  float best = -1;
  for (int layer = 0; layer < model.config().layers; ++layer) {
    const ScoreRule& rule = rules.layer(layer);
    if (!is_told(rule, model.config().head_dim, n)) continue;
    const std::vector<float> all = layer_weights(model, rule, keeper.layer(layer), n);
    for (int head = 0; head < model.config().heads; ++head) {
      const auto of = all.begin() + head * n * n;
      const float before = best;
      for (int64_t row = told ? it : 3; row < (told ? it + 1 : n); ++row) {
        for (int64_t key = told ? cat : 1; key <= (told ? cat : row - 2); ++key) {
          const float weight = of[row * n + key];
          if (!(weight > best)) continue;  // NaN is never heavier
          best = weight;
          lesson.head = {layer, head};
          lesson.scale = rule.scale;
          lesson.row = row;
          lesson.key = key;
        }
      }
      if (best > before) lesson.weights.assign(of, of + n * n);
    }
  }
  return best >= 0;
}

}  // namespace

std::shared_ptr<const Lesson> make_lesson(const std::shared_ptr<const Model>& model, const std::string& sentence,
                                          int threads) {
  const base::DefaultFloatEnvironment environment;
  const Tokenizer& tokenizer = model->tokenizer();
  const std::vector<int32_t> tokens = tokenizer.encode(sentence, false, tokenizer.spec().add_bos);
  const auto n = static_cast<int64_t>(tokens.size());
  if (n > Lesson::most_tokens)
    throw InputError("the tour's sentence has " + std::to_string(n) + " tokens, at most " +
                     std::to_string(Lesson::most_tokens) + " fit on a screen");
  if (n < 4) return nullptr;
  const ModelConfig& config = model->config();
  Keeper keeper(config.layers, model->attention() == Precision::bf16);
  SessionOptions options;
  options.threads = threads;
  run_by_layer(model, tokens, keeper, options);

  auto lesson = std::make_shared<Lesson>();
  std::vector<std::string_view> pieces;
  for (const int32_t token : tokens) pieces.push_back(tokenizer.piece(token));
  lesson->tokens = observing::token_texts(pieces);
  if (!choose(*model, keeper, *lesson)) return nullptr;
  lesson->width = config.width;
  lesson->dim = config.head_dim;
  const Keeper::Layer& layer = keeper.layer(lesson->head.layer);
  const int kv_head = lesson->head.head / (config.heads / config.kv_heads);
  lesson->q = of_head(layer.q, lesson->head.head, config.heads, config.head_dim);
  lesson->k = of_head(layer.k, kv_head, config.kv_heads, config.head_dim);
  lesson->v = of_head(layer.v, kv_head, config.kv_heads, config.head_dim);
  return lesson;
}

}  // namespace bareattn
