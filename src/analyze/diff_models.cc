// Two models over one text (diff.h): each run is traced into a temporary file while its blends go past; A's are kept,
// B's are compared with them as they come. The files are gone when this returns, whatever happened.
#include <cmath>

#include "bareattn/diff.h"
#include "bareattn/error.h"
#include "base/float_environment.h"
#include "base/temporary_folder.h"

namespace bareattn {
namespace {

// Hands a run to the writer, and the blends to a function.
class WithBlends final : public Observer {
 public:
  WithBlends(TraceWriter& writer, std::function<void(const Event&)> blends)
      : writer_(writer), blends_(std::move(blends)) {}
  bool wants(Point point, int layer) override { return point == Point::z || writer_.wants(point, layer); }
  void see(const Event& event) override { event.point == Point::z ? blends_(event) : writer_.see(event); }
  const AttentionStatistics* attention_statistics(int layer, int64_t first_row, int64_t rows) override {
    return writer_.attention_statistics(layer, first_row, rows);
  }

 private:
  TraceWriter& writer_;
  std::function<void(const Event&)> blends_;
};

void trace(const std::string& path, const std::shared_ptr<const Model>& model, const std::vector<int32_t>& tokens,
           const DiffOptions& how, const Progress& progress, std::function<void(const Event&)> blends) {
  TraceOptions kept;
  kept.store = Store::f32;
  kept.measures = {.rows = false, .distance = false, .spans = false, .columns = false, .map = false, .spread = false};
  kept.measures.values = how.value_weighted;
  position_scale(model->config(), static_cast<int64_t>(tokens.size()), Beyond::refuse);
  TraceWriter writer(path, *model, tokens, kept);
  WithBlends observer(writer, std::move(blends));
  SessionOptions options;
  options.threads = how.threads;
  run_by_layer(model, tokens, observer, options, progress);
  writer.commit({});
}

}  // namespace

RunDiff diff(const std::shared_ptr<const Model>& a, const std::shared_ptr<const Model>& b,
             const std::vector<int32_t>& tokens, const DiffOptions& options, const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  if (a == nullptr || b == nullptr) throw std::invalid_argument("diff: a model is null");
  const ModelConfig &m = a->config(), &n = b->config();
  if (m.layers != n.layers || m.heads != n.heads || m.head_dim != n.head_dim || m.vocab_size != n.vocab_size) {
    throw InputError(
        a->path() + " and " + b->path() +
        " differ in layers, heads, head dimension or vocabulary: only models of one shape can be compared");
  }
  const base::TemporaryFolder scratch;
  const auto length = static_cast<int64_t>(tokens.size()), line = int64_t{m.heads} * m.head_dim;
  std::vector<float> first(static_cast<size_t>(m.layers * length * line));  // [L, N, Hq, D]
  std::vector<double> cosines(static_cast<size_t>(m.layers * m.heads));     // sums over the rows from 1 on
  const auto at = [&](const Event& event, int64_t row, int64_t head) {
    return first.data() + ((event.layer * length + event.first_row + row) * line + head * m.head_dim);
  };
  trace(scratch.file("a"), a, tokens, options, progress, [&](const Event& event) {
    for (int64_t i = 0; i < event.values.shape[0]; ++i)
      for (int64_t h = 0; h < m.heads; ++h)
        for (int64_t d = 0; d < m.head_dim; ++d) at(event, i, h)[d] = event.values.at(i, h, d);
  });
  trace(scratch.file("b"), b, tokens, options, progress, [&](const Event& event) {
    for (int64_t i = 0; i < event.values.shape[0]; ++i) {
      if (event.first_row + i == 0) continue;
      for (int64_t h = 0; h < m.heads; ++h) {
        const float* x = at(event, i, h);
        double xy = 0, xx = 0, yy = 0;
        for (int64_t d = 0; d < m.head_dim; ++d) {
          const double p = x[d], q = event.values.at(i, h, d);
          xy += p * q, xx += p * p, yy += q * q;
        }
        cosines[static_cast<size_t>(event.layer * m.heads + h)] += xy / std::sqrt(xx * yy);
      }
    }
  });
  RunDiff all = diff(*Trace::open(scratch.file("a")), *Trace::open(scratch.file("b")), options, progress);
  for (size_t i = 0; i < all.heads.size(); ++i)
    all.heads[i].output_cosine = length > 1 ? cosines[i] / static_cast<double>(length - 1) : std::nan("");
  return all;
}

}  // namespace bareattn
