// The repeat test: [BOS] X X of random tokens, on which induction, duplicate-token and previous-token heads show, and
// the loss on its second half, which shows what induction heads are worth. Only the weights on three diagonals are
// computed. See recipes.h.
#include <algorithm>
#include <cmath>
#include <set>

#include "bareattn/attention.h"
#include "bareattn/error.h"
#include "bareattn/score_table.h"
#include "model/surprise.h"
#include "roles/recipes.h"

namespace bareattn::observing {
namespace {

constexpr uint64_t ablation_stream = 101, draw_stream = 102;

/// Keeps a run's rotated Q and, once K is there and the rows' LSE, adds up the diagonals. One chunk of rows.
class Diagonals final : public Observer {
 public:
  Diagonals(const Architecture& config, int64_t length)
      : config_(config),
        rules_(config, {}, nullptr, length),
        length_(length),
        lse_(static_cast<size_t>(config.heads * length)),
        previous_(lse_.size()),
        q_(static_cast<size_t>(config.heads * length * config.head_dim)),
        k_(static_cast<size_t>(config.kv_heads * length * config.head_dim)) {
    const auto all = static_cast<size_t>(config.layers * config.heads);
    scores.induction.resize(all), scores.duplicate.resize(all), scores.previous.resize(all);
    statistics_.row_stride = length;
    statistics_.lse = lse_.data();
    statistics_.previous_weight = previous_.data();
  }
  bool wants(Point point, int) override {
    return point == Point::rot_q || point == Point::rot_k || point == Point::attn_statistics;
  }
  const AttentionStatistics* attention_statistics(int, int64_t, int64_t) override { return &statistics_; }
  void see(const Event& event) override {
    if (event.point == Point::rot_q) copy(event.values, q_);
    if (event.point == Point::rot_k) copy(event.values, k_);
    if (event.point == Point::attn_statistics) finish(event.layer);
  }

  RepeatScores scores;

 private:
  void copy(TensorView<const float> from, std::vector<float>& to) const {  // [N, H, D] to [H, N, D]
    const int64_t dim = config_.head_dim;
    for (int64_t row = 0; row < length_; ++row)
      for (int64_t head = 0; head < from.shape[1]; ++head) {
        const float* at = from.data + row * from.stride[0] + head * from.stride[1];
        std::copy(at, at + dim, to.begin() + (head * length_ + row) * dim);
      }
  }
  double weight(const ScoreRule& rule, int64_t head, int64_t row, int64_t key) const {
    const int64_t dim = config_.head_dim, kv = head / (config_.heads / config_.kv_heads);
    const float *q = q_.data() + (head * length_ + row) * dim, *k = k_.data() + (kv * length_ + key) * dim;
    double dot = 0;
    for (int64_t d = 0; d < dim; ++d) dot += double{q[d]} * double{k[d]};
    return std::exp(rule.score(dot, row, key) - double{lse_[static_cast<size_t>(head * length_ + row)]});
  }
  void finish(int layer) {
    const int64_t half = (length_ - 1) / 2;  // tokens of X
    for (int64_t head = 0; head < config_.heads; ++head) {
      const ScoreRule rule = rules_.head(layer, static_cast<int>(head));
      double induction = 0, duplicate = 0, previous = 0;
      for (int64_t row = half + 1; row < length_; ++row) {
        induction += weight(rule, head, row, row - (half - 1));
        duplicate += weight(rule, head, row, row - half);
      }
      for (int64_t row = 1; row < length_; ++row)
        previous += double{previous_[static_cast<size_t>(head * length_ + row)]};
      const auto at = static_cast<size_t>(layer * config_.heads + head);
      scores.induction[at] = induction / static_cast<double>(half);
      scores.duplicate[at] = duplicate / static_cast<double>(half);
      scores.previous[at] = previous / static_cast<double>(length_ - 1);
    }
  }

  const ModelConfig& config_;
  ScoreRules rules_;
  int64_t length_;
  std::vector<float> lse_, previous_;  // [Hq, N]
  std::vector<float> q_, k_;           // [Hq, N, D], [Hkv, N, D]
  AttentionStatistics statistics_;
};

struct Loss {
  double first = 0, repeat = 0;  // nats per token
};

Loss mean_loss(const RecipeRun& run, const std::vector<std::vector<int32_t>>& texts,
               std::shared_ptr<const ScoreTable> table) {
  SessionOptions options;
  options.threads = run.threads;
  options.max_tokens = 2 * repeat_length + 1;
  options.table = std::move(table);
  Session session(run.model, options);
  Loss sum;
  for (const auto& tokens : texts) {
    session.truncate(0);
    const auto logits = session.run(tokens, Logits::all);
    const auto vocabulary = static_cast<size_t>(logits.shape[1]);
    for (int64_t row = 0; row + 1 < logits.shape[0]; ++row) {
      const double loss = model::surprise({&logits.at(row), vocabulary}, tokens[static_cast<size_t>(row + 1)]);
      if (row < repeat_length) sum.first += loss;
      if (row > repeat_length) sum.repeat += loss;  // row `repeat_length` is to say where X begins again: it cannot
    }
    run.advance(static_cast<int64_t>(tokens.size()));
  }
  const auto count = static_cast<double>(texts.size());
  return {sum.first / count / repeat_length, sum.repeat / count / (repeat_length - 1)};
}

std::shared_ptr<const ScoreTable> without(const ModelConfig& config, const std::vector<HeadId>& heads) {
  auto table = std::make_shared<ScoreTable>();
  table->heads = config.heads;
  table->head_dim = config.head_dim;
  table->layers.resize(static_cast<size_t>(config.layers));
  for (const HeadId id : heads) {
    auto& scale = table->layers[static_cast<size_t>(id.layer)].output_scale;
    scale.resize(static_cast<size_t>(config.heads), 1.0F);
    scale[static_cast<size_t>(id.head)] = 0;
  }
  return table;
}

/// For each of `heads` another head of its layer, none of them and none twice; where a layer has too few others, fewer.
std::vector<HeadId> others(const ModelConfig& config, const std::vector<HeadId>& heads, base::SplitMix64& random) {
  std::vector<HeadId> drawn;
  for (int layer = 0; layer < config.layers; ++layer) {
    std::vector<HeadId> rest;
    size_t wanted = 0;
    for (int head = 0; head < config.heads; ++head) {
      const HeadId id{layer, head};
      if (std::find(heads.begin(), heads.end(), id) == heads.end()) {
        rest.push_back(id);
      } else {
        ++wanted;
      }
    }
    random.shuffle(rest);
    rest.resize(std::min(rest.size(), wanted));
    drawn.insert(drawn.end(), rest.begin(), rest.end());
  }
  return drawn;
}

}  // namespace

int32_t first_token(const Tokenizer& tokenizer) {
  const TokenizerSpec& spec = tokenizer.spec();
  return spec.bos_id >= 0 ? spec.bos_id : std::max(spec.eos_id, 0);
}

std::vector<int32_t> repeat_tokens(const RecipeRun& run, uint64_t stream, int sample) {
  const Tokenizer& tokenizer = run.model->tokenizer();
  base::SplitMix64 random(run.seed, {stream, static_cast<uint64_t>(sample)});
  std::set<int32_t> used;
  std::vector<int32_t> tokens{first_token(tokenizer)};
  for (int64_t tries = 0; static_cast<int>(used.size()) < repeat_length; ++tries) {
    if (tries > int64_t{1000} * repeat_length) {
      throw InputError("the model's vocabulary has fewer than " + std::to_string(repeat_length) +
                       " ordinary tokens, which the repeat test needs");
    }
    const auto id = static_cast<int32_t>(random.below(tokenizer.size()));
    if (tokenizer.is_special(id) || tokenizer.piece(id).empty() || !used.insert(id).second) continue;
    tokens.push_back(id);
  }
  tokens.insert(tokens.end(), tokens.begin() + 1, tokens.begin() + 1 + repeat_length);
  return tokens;
}

RepeatScores score_repeat(const RecipeRun& run, std::span<const int32_t> tokens) {
  const auto length = static_cast<int64_t>(tokens.size());
  SessionOptions options;
  options.threads = run.threads;
  options.max_tokens = options.chunk = length;
  Session session(run.model, options);
  Diagonals diagonals(run.model->architecture(), length);
  session.run(tokens, Logits::none, &diagonals);
  run.advance(length);
  return std::move(diagonals.scores);
}

AblationCheck check_ablation(const RecipeRun& run, std::vector<HeadId> heads, int draws) {
  const ModelConfig& config = run.model->config();
  std::vector<std::vector<int32_t>> texts;
  for (int k = 0; k < ablation_samples; ++k) texts.push_back(repeat_tokens(run, ablation_stream, k));
  AblationCheck check;
  const Loss whole = mean_loss(run, texts, nullptr), ablated = mean_loss(run, texts, without(config, heads));
  check.first = whole.first, check.repeat = whole.repeat;
  check.first_ablated = ablated.first, check.repeat_ablated = ablated.repeat;
  for (int draw = 0; draw < draws; ++draw) {
    base::SplitMix64 random(run.seed, {draw_stream, static_cast<uint64_t>(draw)});
    check.repeat_random.push_back(mean_loss(run, texts, without(config, others(config, heads, random))).repeat);
  }
  check.heads = std::move(heads);
  return check;
}

}  // namespace bareattn::observing
