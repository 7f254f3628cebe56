// See run_observation.h.
#include "observe/run_observation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "bareattn/error.h"
#include "base/float_environment.h"
#include "base/thread_pool.h"
#include "kernels/convert.h"
#include "observe/exact_cells.h"
#include "observe/measures.h"
#include "observe/strongest.h"

namespace bareattn::observing {
namespace {

class RunObservation final : public Observation {
 public:
  RunObservation(std::shared_ptr<const Model> model, RunFacts facts, std::unique_ptr<Recorder> recorder)
      : model_(std::move(model)), facts_(std::move(facts)), recorder_(std::move(recorder)) {
    const int64_t heads = recorder_->heads(), all = recorder_->layers() * heads;
    means_.resize(static_cast<size_t>(all));
    base::ThreadPool(facts_.threads).run(all, [&](int64_t i, int) {
      means_[static_cast<size_t>(i)] = means_of({static_cast<int>(i / heads), static_cast<int>(i % heads)});
    });
  }

  const Model& model() const override { return *model_; }
  const std::vector<int32_t>& tokens() const override { return facts_.tokens; }
  const std::vector<std::string>& token_texts() const override { return facts_.texts; }
  MeasureGroups measured() const override { return recorder_->groups(); }
  std::vector<SpanSet> span_sets() const override { return recorder_->span_sets(); }
  std::vector<float> span_mass(int set, HeadId head) const override {
    const auto sets = static_cast<int>(recorder_->span_sets().size());
    if (set < 0 || set >= sets)
      throw std::invalid_argument("span set " + std::to_string(set) + ": " + std::to_string(sets) + " were measured");
    const AttentionStatistics s = statistics(head);
    const float* mass = s.column_sums + set * s.column_stride;
    return {mass, mass + length()};
  }
  double seconds() const override { return facts_.seconds; }
  const ScoreTable* table() const override { return recorder_->table(); }
  ScoreRule score_rule(int layer) const override { return recorder_->rules().layer(layer); }
  int threads() const override { return facts_.threads; }

  double mean(Measure measure, HeadId head) const override {
    kept(recorder_->groups().has(measure), measure_info(measure).id);
    return means(head)[static_cast<int>(measure)];
  }

  std::vector<float> rows(Measure measure, HeadId head) const override {
    const base::DefaultFloatEnvironment environment;
    kept(recorder_->groups().has(measure), measure_info(measure).id);
    const AttentionStatistics s = statistics(head);
    std::vector<float> values(length());
    for (int64_t i = 0; i < length(); ++i) values[i] = row_measure(measure, s, i, i);
    return values;
  }

  std::vector<float> carried(HeadId head) const override {
    check(head);
    kept(recorder_->groups().values, "values");
    const float* sizes = recorder_->carried(head);
    return {sizes, sizes + length()};
  }
  std::vector<float> output_cosine(int layer) const override {
    check({layer, 0});
    kept(recorder_->groups().agreement, "agreement");
    return recorder_->cosines(layer);
  }
  std::vector<float> tile(HeadId head, TokenRange rows, TokenRange keys) const override {
    return cells(ScoreStage::weight, head, rows, keys);
  }
  std::vector<float> scores(HeadId head, TokenRange rows, TokenRange keys) const override {
    return cells(ScoreStage::biased, head, rows, keys);
  }

  std::vector<double> received(HeadId head) const override {
    kept(recorder_->groups().columns, "weight received");
    return fixed(statistics(head).received, length());
  }
  std::vector<int32_t> max_key(HeadId head) const override {
    kept(recorder_->groups().rows, "max_key");
    const int32_t* keys = statistics(head).max_key;
    return {keys, keys + length()};
  }

  int pool_block() const override {
    kept(recorder_->groups().map, "pooled map");
    return recorder_->pool_block();
  }
  int64_t pool_blocks() const override { return recorder_->pool_blocks(); }
  std::vector<double> pool_sum(HeadId head) const override {
    kept(recorder_->groups().map, "pooled map");
    return fixed(statistics(head).pool_sum, cells());
  }
  std::vector<float> pool_max(HeadId head) const override {
    kept(recorder_->groups().map, "pooled map");
    const float* values = statistics(head).pool_max;
    return {values, values + cells()};
  }

  std::vector<uint16_t> q_f16(HeadId head) const override {
    check(head);
    if (!recorder_->keeps_qk()) return {};
    const uint16_t* q = recorder_->q(head);
    return {q, q + length() * recorder_->head_dim()};
  }
  std::vector<uint16_t> k_f16(int layer, int kv_head) const override {
    check_kv(layer, kv_head);
    return recorder_->keeps_qk() ? kept(recorder_->k(layer, kv_head)) : std::vector<uint16_t>();
  }
  std::vector<uint16_t> v_f16(int layer, int kv_head) const override {
    check_kv(layer, kv_head);
    return recorder_->keeps_v() ? kept(recorder_->v(layer, kv_head)) : std::vector<uint16_t>();
  }

  Role role(HeadId head) const override {
    const base::DefaultFloatEnvironment environment;
    kept(recorder_->groups().for_roles(), "role");
    return role_of(means(head), length());
  }

  std::vector<float> row_weights(HeadId head, int64_t row) const override {
    const base::DefaultFloatEnvironment environment;
    check(head);
    if (row < 0 || row >= length()) {
      throw std::invalid_argument("row " + std::to_string(row) + ": the text has " + std::to_string(length()) +
                                  " tokens");
    }
    if (!recorder_->keeps_qk()) throw std::invalid_argument("row_weights: Q and K were not kept (keep_qk is off)");
    if (row == length() - 1) {
      const float* last = recorder_->last_row(head);
      return {last, last + length()};
    }
    std::vector<float> weights = logits(head, row);
    const float lse = statistics(head).lse[row];
    for (float& w : weights) w = std::exp(w - lse);
    return weights;
  }

  std::vector<std::pair<int32_t, float>> top_keys(HeadId head, int64_t row, int count) const override {
    return strongest(row_weights(head, row), count);
  }

 private:
  int64_t length() const { return recorder_->tokens(); }

  // Of the kept f16, with what steering did: [row + 1].
  std::vector<float> logits(HeadId head, int64_t row) const {
    const int dim = recorder_->head_dim();
    std::vector<float> q(dim), logits(row + 1);
    kernels::f32_from_f16(recorder_->q(head) + row * dim, q.data(), dim);
    row_dots(q.data(), recorder_->k(head.layer, kv_head(head)), nullptr, dim, logits);
    recorder_->rules().head(head.layer, head.head).score_row(row, logits);
    return logits;
  }
  int kv_head(HeadId head) const { return head.head / (recorder_->heads() / recorder_->kv_heads()); }

  std::vector<float> cells(ScoreStage stage, HeadId head, TokenRange rows, TokenRange keys) const {
    const base::DefaultFloatEnvironment environment;
    check(head);
    check_ranges(rows, keys, length());
    if (!recorder_->keeps_qk()) throw std::invalid_argument("tile: Q and K were not kept (keep_qk is off)");
    const int64_t columns = keys.end - keys.begin;
    std::vector<float> out((rows.end - rows.begin) * columns);
    if (recorder_->table() != nullptr) {  // steered: row by row
      const bool weights = stage == ScoreStage::weight;
      std::fill(out.begin(), out.end(), weights ? 0.0F : -std::numeric_limits<float>::infinity());
      for (int64_t i = rows.begin; i < rows.end; ++i) {
        const std::vector<float> row = logits(head, i);
        const float lse = statistics(head).lse[i];
        for (int64_t j = keys.begin; j < std::min(keys.end, i + 1); ++j)
          out[(i - rows.begin) * columns + j - keys.begin] = weights ? std::exp(row[j] - lse) : row[j];
      }
      return out;
    }
    const AttentionStatistics s = statistics(head);
    const int64_t dim = recorder_->head_dim();
    const auto part = [dim](const uint16_t* from, int64_t begin, int64_t end) {
      return std::as_bytes(std::span(from + begin * dim, static_cast<size_t>((end - begin) * dim)));
    };
    const auto of_rows = [](const float* from, int64_t begin, int64_t end) {
      return std::span(from + begin, static_cast<size_t>(end - begin));
    };
    CellSource source;
    source.compute = compute_of(model().attention());
    source.tokens = length();
    source.dim = dim;
    source.rule = recorder_->rules().head(head.layer, head.head);
    source.q = [&](int64_t begin, int64_t end) { return part(recorder_->q(head), begin, end); };
    source.k = [&](int64_t begin, int64_t end) { return part(recorder_->k(head.layer, kv_head(head)), begin, end); };
    source.max_logit = [&](int64_t begin, int64_t end) { return of_rows(s.max_logit, begin, end); };
    source.row_sum = [&](int64_t begin, int64_t end) { return of_rows(s.row_sum, begin, end); };
    exact_cells(source, stage, rows, keys, out.data());
    return out;
  }

  int64_t cells() const { return pool_blocks() * (pool_blocks() + 1) / 2; }

  std::vector<uint16_t> kept(const uint16_t* values) const {
    return {values, values + length() * recorder_->head_dim()};
  }
  void check_kv(int layer, int kv_head) const {
    if (layer < 0 || layer >= recorder_->layers() || kv_head < 0 || kv_head >= recorder_->kv_heads()) {
      throw std::invalid_argument("key-value head " + std::to_string(layer) + "." + std::to_string(kv_head) +
                                  ": the model has " + std::to_string(recorder_->layers()) + " layers of " +
                                  std::to_string(recorder_->kv_heads()));
    }
  }
  void check(HeadId head) const {
    if (head.layer < 0 || head.layer >= recorder_->layers() || head.head < 0 || head.head >= recorder_->heads()) {
      throw std::invalid_argument("head " + std::to_string(head.layer) + "." + std::to_string(head.head) +
                                  ": the model has " + std::to_string(recorder_->layers()) + " layers of " +
                                  std::to_string(recorder_->heads()) + " heads, both counted from 0");
    }
  }
  static void kept(bool yes, const std::string& what) {
    if (!yes) throw InputError("'" + what + "' was not measured in this run");
  }
  AttentionStatistics statistics(HeadId head) const {
    check(head);
    return recorder_->head_statistics(head);
  }
  const Means& means(HeadId head) const {
    check(head);
    return means_[static_cast<size_t>(head.layer) * recorder_->heads() + head.head];
  }

  static std::vector<double> fixed(const uint64_t* sums, int64_t count) {
    std::vector<double> values(count);
    for (int64_t i = 0; i < count; ++i) values[i] = from_fixed(sums[i]);
    return values;
  }

  Means means_of(HeadId head) const {
    const AttentionStatistics s = recorder_->head_statistics(head);
    Means means{};
    for (int m = 0; m < measure_count; ++m) {
      double sum = 0;
      if (!recorder_->groups().has(static_cast<Measure>(m))) continue;
      for (int64_t i = 1; i < length(); ++i) sum += row_measure(static_cast<Measure>(m), s, i, i);
      means[m] = length() > 1 ? sum / static_cast<double>(length() - 1) : std::numeric_limits<double>::quiet_NaN();
    }
    return means;
  }

  std::shared_ptr<const Model> model_;
  RunFacts facts_;
  std::unique_ptr<Recorder> recorder_;
  std::vector<Means> means_;  // [L Hq]
};

}  // namespace

std::unique_ptr<Observation> make_observation(std::shared_ptr<const Model> model, RunFacts facts,
                                              std::unique_ptr<Recorder> recorder) {
  return std::make_unique<RunObservation>(std::move(model), std::move(facts), std::move(recorder));
}

}  // namespace bareattn::observing
