// A trace: one observed run in a safetensors file, from which every weight of every head can be recomputed exactly. It
// holds Q, K, each row's maximum and sum, the measures, the tokens and what they came from; docs/trace.md lists every
// tensor. It is written while the model runs, so that memory holds neither Q nor K, and appears whole or not at all.
// A Trace is an Observation: the page, the summaries and the diagnosis read a file like a run.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bareattn/length.h"
#include "bareattn/observation.h"

namespace bareattn {

/// What Q and K are kept as. f32: weights are those of the run, bit for bit. f16 (bf16): a score is within
/// 1.01 * 2^-10 (2^-7) * scale * sum_d |q_d k_d| of the run's, and a weight by that relative error.
enum class Store : uint8_t { f16, bf16, f32 };
const char* store_name(Store store);  // "f16", ...

struct TraceOptions {
  Store store = Store::f16;
  MeasureGroups measures = {};  // beside LSE, maximum and sum of each row, which are always kept
  int pool_block = 0;           // 0: chosen from the length; else 1, 2, 4, 8, or a multiple of 16
  std::string title = {};
  std::vector<NamedSpan> spans = {};             // go into the file, and the weight on them if measures.spans
  std::shared_ptr<const ScoreTable> table = {};  // steers the run (write_trace), and goes into the file
};

/// How a run went: into the file, for whoever reads it.
struct TraceRun {
  double seconds = 0;
  int threads = 1;
  Reach reach;
};

/// The Observer that writes. It takes a run of exactly the tokens announced, each layer's rows in order, chunk by chunk
/// or layer by layer. Memory: a chunk's statistics, and of each layer in progress 8 Hq N bytes of weight received and
/// 12 Hq b (b + 1) / 2 of pooled map.
class TraceWriter final : public Observer {
 public:
  /// InputError for tokens or spans that do not fit; OutputError where the file cannot be written.
  TraceWriter(const std::string& path, const Model& model, std::vector<int32_t> tokens,
              const TraceOptions& options = {});
  ~TraceWriter() override;  // without commit(): nothing is left
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  bool wants(Point point, int layer) override;
  void see(const Event& event) override;
  const AttentionStatistics* attention_statistics(int layer, int64_t first_row, int64_t rows) override;
  /// The file appears. std::invalid_argument if the run was not whole.
  void commit(const TraceRun& run);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// One run into a file, layer by layer unless it is steered. Errors as TraceWriter and run_by_layer (model.h).
void write_trace(const std::string& path, const std::shared_ptr<const Model>& model, std::vector<int32_t> tokens,
                 const TraceOptions& options = {}, const Reach& reach = {}, int threads = 0,
                 const Progress& progress = {});

using TraceRange = TokenRange;

class Trace final : public Observation {
 public:
  /// FileError, with the reason: no trace, of a newer version, cut short, or altered (pages are checked when they are
  /// first read).
  static std::shared_ptr<const Trace> open(const std::string& path);
  ~Trace() override;

  const std::string& path() const;
  Store store() const;
  const TraceRun& run() const;
  const std::string& engine_version() const;
  const std::string& title() const;
  const std::vector<NamedSpan>& spans() const;
  /// FileError unless the trace was made with the model file at `path`.
  void check_model_file(const std::string& path) const;
  /// Reads and checks all of it. FileError where something was altered.
  void verify() const;

  /// Weights [rows, keys] of a head, exact (see Store); 0 where a key is not seen. std::invalid_argument for ranges
  /// outside the text.
  std::vector<float> tile(HeadId head, TraceRange rows, TraceRange keys) const override;
  /// The same weights without holding them all: pieces of up to 24 rows and 512 keys, valid during the call; those that
  /// no row sees are left out. Several threads may call at once, one for any row, with keys in order.
  struct Piece {
    TraceRange rows, keys;
    const float* weights;  // [rows, stride]
    int64_t stride;
  };
  void visit(HeadId head, TraceRange rows, TraceRange keys, const std::function<void(const Piece&)>& see) const;
  /// The same cells before the softmax: scale q.k, -inf where a key is not seen.
  std::vector<float> scores(HeadId head, TraceRange rows, TraceRange keys) const override;

  /// Its configuration, precision and hash; it has no vocabulary, so tokenizer() is std::logic_error.
  const Model& model() const override;
  const std::vector<int32_t>& tokens() const override;
  const std::vector<std::string>& token_texts() const override;
  double seconds() const override;
  MeasureGroups measured() const override;
  std::vector<SpanSet> span_sets() const override;
  std::vector<float> span_mass(int set, HeadId head) const override;
  int threads() const override;
  /// InputError for measures that were not kept.
  double mean(Measure measure, HeadId head) const override;
  std::vector<float> rows(Measure measure, HeadId head) const override;
  std::vector<float> carried(HeadId head) const override;
  std::vector<float> output_cosine(int layer) const override;
  std::vector<double> received(HeadId head) const override;
  std::vector<int32_t> max_key(HeadId head) const override;
  int pool_block() const override;
  int64_t pool_blocks() const override;
  std::vector<double> pool_sum(HeadId head) const override;
  std::vector<float> pool_max(HeadId head) const override;
  std::vector<uint16_t> q_f16(HeadId head) const override;
  std::vector<uint16_t> k_f16(int layer, int kv_head) const override;
  ScoreRule score_rule(int layer) const override;
  const ScoreTable* table() const override;  // its changes of scores alone: what is recomputed here follows it
  Role role(HeadId head) const override;
  std::vector<float> row_weights(HeadId head, int64_t row) const override;  // as tile()
  std::vector<std::pair<int32_t, float>> top_keys(HeadId head, int64_t row, int count) const override;

 private:
  struct Impl;
  explicit Trace(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bareattn
