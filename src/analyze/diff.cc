// Two traces compared (diff.h): heads are tasks; a task takes bands of rows, makes the scores of both runs for the keys
// the band can see, and everything else in f64 from those. LSE is made anew from the scores, so that both distributions
// sum to one whatever Q and K were stored as; the shift of LSE is that of the runs themselves.
#include "bareattn/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "attention/shared_pool.h"
#include "bareattn/error.h"
#include "base/float_environment.h"
#include "observe/strongest.h"

namespace bareattn {
namespace {

constexpr int64_t band_rows = 64;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// One row's distribution from its scores: [count].
struct Distribution {
  std::vector<float> score;
  std::vector<double> weight;  // not yet divided by sum
  double max = 0, sum = 0, lse = 0, entropy = 0;
  std::vector<int32_t> top;  // ascending keys

  void make(const float* from, int64_t count, int keys) {
    score.assign(from, from + count);
    weight.resize(score.size());
    max = -std::numeric_limits<double>::infinity();
    for (const float s : score) max = std::isnan(s) ? nan : std::max(max, static_cast<double>(s));
    sum = 0;
    for (size_t j = 0; j < score.size(); ++j) sum += weight[j] = std::exp(static_cast<double>(score[j]) - max);
    lse = max + std::log(sum);
    double mean = 0;
    for (size_t j = 0; j < score.size(); ++j) mean += weight[j] != 0 ? weight[j] * static_cast<double>(score[j]) : 0.0;
    entropy = lse - mean / sum;
    top.clear();
    for (const auto& [key, value] : observing::strongest(score, keys))
      if (value != -std::numeric_limits<float>::infinity()) top.push_back(key);
    std::sort(top.begin(), top.end());
  }
};

struct RowDiff {
  double kl = 0, js = 0, overlap = 0;
};

RowDiff compare(const Distribution& a, const Distribution& b) {
  RowDiff row;
  for (size_t j = 0; j < a.score.size(); ++j) {
    const double p = a.weight[j] / a.sum, q = b.weight[j] / b.sum;
    if (p == 0 && q == 0) continue;
    const double log_p = static_cast<double>(a.score[j]) - a.lse, log_q = static_cast<double>(b.score[j]) - b.lse;
    const double log_mean = std::log((p + q) / 2);
    if (p != 0) row.kl += p * (log_p - log_q);
    row.js += (p != 0 ? p * (log_p - log_mean) : 0.0) / 2 + (q != 0 ? q * (log_q - log_mean) : 0.0) / 2;
  }
  if (row.kl < 0) row.kl = 0;  // of rounding; NaN stays
  if (row.js < 0) row.js = 0;
  std::vector<int32_t> both;
  std::set_intersection(a.top.begin(), a.top.end(), b.top.begin(), b.top.end(), std::back_inserter(both));
  const size_t either = a.top.size() + b.top.size() - both.size();
  row.overlap = either == 0 ? 1.0 : static_cast<double>(both.size()) / static_cast<double>(either);
  return row;
}

// Scores of the rows [begin, end). Value-weighted: with ln |v_j W_O| added, whose softmax is the value-weighted shares.
std::vector<float> scores_of(const Trace& trace, HeadId head, TokenRange rows, const std::vector<float>& carried) {
  std::vector<float> scores = trace.scores(head, rows, {0, rows.end});
  if (carried.empty()) return scores;
  for (size_t at = 0; at < scores.size(); ++at) scores[at] += std::log(carried[at % static_cast<size_t>(rows.end)]);
  return scores;
}

// Head `head` of both; `token_js` [N] receives the JS of each row.
HeadDiff diff_head(const Trace& a, const Trace& b, HeadId head, const DiffOptions& options, double* token_js) {
  HeadDiff all;
  all.head = head;
  all.output_cosine = nan;
  const auto length = static_cast<int64_t>(a.tokens().size());
  const std::vector<float> lse_a = a.rows(Measure::lse, head), lse_b = b.rows(Measure::lse, head);
  const bool weighted = options.value_weighted;
  const std::vector<float> carried_a = weighted ? a.carried(head) : std::vector<float>(),
                           carried_b = weighted ? b.carried(head) : std::vector<float>();
  Distribution da, db;
  for (int64_t begin = 0; begin < length; begin += band_rows) {
    const int64_t end = std::min(length, begin + band_rows);
    const auto sa = scores_of(a, head, {begin, end}, carried_a), sb = scores_of(b, head, {begin, end}, carried_b);
    for (int64_t i = std::max<int64_t>(1, begin); i < end; ++i) {
      da.make(sa.data() + (i - begin) * end, i + 1, options.top);
      db.make(sb.data() + (i - begin) * end, i + 1, options.top);
      const RowDiff row = compare(da, db);
      const double shift = static_cast<double>(lse_b[static_cast<size_t>(i)]) - lse_a[static_cast<size_t>(i)];
      all.kl += row.kl;
      all.js += row.js;
      all.lse_shift += shift;
      all.lse_change += std::abs(shift);
      all.entropy_shift += db.entropy - da.entropy;
      all.top_overlap += row.overlap;
      all.first_mass_shift += db.weight[0] / db.sum - da.weight[0] / da.sum;
      if (row.js > all.worst_js) all.worst_js = row.js, all.worst_row = i;
      token_js[i] = row.js;
    }
  }
  for (double* sum :
       {&all.kl, &all.js, &all.lse_shift, &all.lse_change, &all.entropy_shift, &all.top_overlap, &all.first_mass_shift})
    *sum = length > 1 ? *sum / static_cast<double>(length - 1) : nan;
  return all;
}

void check_same(const Trace& a, const Trace& b) {
  const ModelConfig &m = a.model().config(), &n = b.model().config();
  if (m.layers != n.layers || m.heads != n.heads) {
    throw InputError(fmt::format("{} has {} layers of {} heads, {} has {} of {}: heads can only be compared one by one",
                                 a.path(), m.layers, m.heads, b.path(), n.layers, n.heads));
  }
  const auto &s = a.tokens(), &t = b.tokens();
  const auto at = std::mismatch(s.begin(), s.end(), t.begin(), t.end());
  if (at.first == s.end() && at.second == t.end()) return;
  const auto place = at.first - s.begin();
  const auto id = [&](const std::vector<int32_t>& tokens) {
    return static_cast<size_t>(place) < tokens.size() ? fmt::format("is {}", tokens[static_cast<size_t>(place)])
                                                      : std::string("is not there");
  };
  throw InputError(
      fmt::format("the runs are not over the same tokens: {} has {}, {} has {}; token {} {} in the first and {} "
                  "in the second",
                  a.path(), s.size(), b.path(), t.size(), place, id(s), id(t)));
}

}  // namespace

RunDiff diff(const Trace& a, const Trace& b, const DiffOptions& options, const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  if (options.top < 1) throw std::invalid_argument("diff: top needs 1 or more");
  check_same(a, b);
  const ModelConfig& config = a.model().config();
  const size_t length = a.tokens().size();
  RunDiff all;
  all.heads.resize(static_cast<size_t>(config.layers) * static_cast<size_t>(config.heads));
  all.token_js.assign(length, 0.0);
  const attend::PoolLease lease(options.threads);
  std::vector<double> js(length * static_cast<size_t>(config.heads));  // [Hq, N], of one layer
  for (int layer = 0; layer < config.layers; ++layer) {
    std::fill(js.begin(), js.end(), 0.0);
    lease.pool().run(config.heads, [&](int64_t head, int) {
      all.heads[static_cast<size_t>(layer * config.heads + head)] =
          diff_head(a, b, {layer, static_cast<int>(head)}, options, js.data() + static_cast<size_t>(head) * length);
    });
    for (size_t at = 0; at < js.size(); ++at)
      all.token_js[at % length] += js[at] / static_cast<double>(all.heads.size());
    if (progress && !progress(layer + 1, config.layers)) throw Cancelled{};
  }
  return all;
}

}  // namespace bareattn
