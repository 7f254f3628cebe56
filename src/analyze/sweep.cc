// sweep(): a task is a head; it takes its bands of 16 rows one after the other. One row's arithmetic is row_sweep.h;
// sums over rows are in double, in order. See sweep.h.
#include "bareattn/sweep.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "analyze/bands.h"
#include "analyze/row_sweep.h"
#include "analyze/share_sums.h"
#include "attention/shared_pool.h"
#include "bareattn/error.h"
#include "base/float_environment.h"

namespace bareattn {
namespace {

using namespace observing;  // NOLINT: this file is that floor's

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

size_t bin_of(int64_t distance) { return static_cast<size_t>(std::bit_width(static_cast<uint64_t>(distance))); }

struct OffsetSums {
  std::vector<double> weight;  // [N], by distance
  explicit OffsetSums(int64_t length) : weight(static_cast<size_t>(length)) {}
  void add(const float* weights, int64_t row) {
    for (int64_t j = 0; j <= row; ++j) weight[static_cast<size_t>(row - j)] += static_cast<double>(weights[j]);
  }
};

// How many of the rows reach each distance: those at or after it.
std::vector<int64_t> rows_reaching(const std::vector<TokenRange>& bands, int64_t length) {
  std::vector<int64_t> rows(static_cast<size_t>(length));
  for (const TokenRange& band : bands)
    for (int64_t i = band.begin; i < band.end; ++i) ++rows[static_cast<size_t>(i)];
  for (size_t i = rows.size(); i-- > 1;) rows[i - 1] += rows[i];
  return rows;
}

void finish_offsets(const OffsetSums& sums, const std::vector<int64_t>& reaching, HeadSweep& head) {
  const auto length = static_cast<int64_t>(sums.weight.size());
  const double rows = static_cast<double>(reaching[0]);
  head.distance_bins.assign(bin_of(length - 1) + 1, 0.0);
  for (int64_t o = 0; o < length; ++o) {
    const auto at = static_cast<size_t>(o);
    head.distance_bins[bin_of(o)] += sums.weight[at] / rows;
    if (o <= most_stripes)
      head.stripes.push_back(reaching[at] == 0 ? nan : sums.weight[at] / static_cast<double>(reaching[at]));
    if (o == 0 || reaching[at] < std::max<int64_t>(16, reaching[0] / 8)) continue;
    const double mean = sums.weight[at] / static_cast<double>(reaching[at]);
    if (head.stripe < 0 || mean > head.stripe_weight) head.stripe = o, head.stripe_weight = mean;
  }
}

// Of a pattern with `cells` ones: the weight on it, all weight, and how many rows there are.
TemplateMatch match_of(double on, double all, double cells, double rows) {
  // Where P is 0, |p - P| = p; where it is 1, 1 - p.
  return {on / all, 1 - (all - on + cells - on) / rows};
}

HeadSweep sweep_head(const Observation& observation, HeadId id, const SweepOptions& options,
                     const std::vector<TokenRange>& bands, const Repeats& repeats) {
  const SweepGroups& groups = options.groups;
  HeadSweep head;
  head.head = id;
  std::array<double, swept_count> sums{};
  std::array<int64_t, swept_count> counts{};
  const auto length = static_cast<int64_t>(observation.tokens().size());
  OffsetSums offsets(groups.offsets ? length : 0);
  double all = 0, previous = 0, cells_duplicate = 0, cells_induction = 0;
  const std::vector<float> lse = groups.scores ? observation.rows(Measure::lse, id) : std::vector<float>();
  const bool shares = options.value_weighted;
  ShareSums of_shares(shares ? observation.span_sets() : std::vector<SpanSet>(), length);
  const bool weighted = groups.coverage || groups.repeats || groups.offsets || shares;
  RowSweep sweep;
  for (const TokenRange& band : bands) {
    const auto weights = !weighted ? std::vector<float>()
                         : shares  ? value_shares(observation, id, band)
                                   : observation.tile(id, band, {0, band.end});
    const auto scores = groups.scores ? observation.scores(id, band, {0, band.end}) : std::vector<float>();
    for (int64_t i = band.begin; i < band.end; ++i) {
      const float* p = weighted ? weights.data() + (i - band.begin) * band.end : nullptr;
      sweep.clear();
      if (groups.coverage) sweep.coverage(p, i);
      if (groups.scores)
        sweep.scores(scores.data() + (i - band.begin) * band.end, i, static_cast<double>(lse[static_cast<size_t>(i)]));
      if (groups.repeats) sweep.repeats(p, i, repeats);
      if (groups.offsets) offsets.add(p, i);
      if (shares) of_shares.add(p, i);
      for (int m = 0; m < swept_count; ++m) {
        const auto at = static_cast<size_t>(m);
        if (!sweep.defined[at]) continue;
        sums[at] += sweep.value[at];
        ++counts[at];
      }
      if (!groups.repeats) continue;
      for (int64_t j = 0; j <= i; ++j) all += static_cast<double>(p[j]);
      previous += static_cast<double>(p[i - 1]);
      cells_duplicate += static_cast<double>(repeats.duplicates(i).size());
      cells_induction += static_cast<double>(repeats.followers(i).size());
    }
  }
  for (int m = 0; m < swept_count; ++m) {
    const auto at = static_cast<size_t>(m);
    head.means[at] = counts[at] == 0 ? nan : sums[at] / static_cast<double>(counts[at]);
  }
  if (shares) of_shares.finish(head);
  const auto rows = static_cast<double>(rows_of(bands));
  if (groups.offsets && rows > 0) finish_offsets(offsets, rows_reaching(bands, length), head);
  if (groups.repeats) {
    head.previous_token = match_of(previous, all, rows, rows);
    head.duplicate_token = match_of(sums[static_cast<size_t>(Swept::duplicate_weight)], all, cells_duplicate, rows);
    head.induction = match_of(sums[static_cast<size_t>(Swept::induction_weight)], all, cells_induction, rows);
  }
  return head;
}

}  // namespace

Sweep sweep(const Observation& observation, const SweepOptions& options, const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  const ModelConfig& config = observation.model().config();
  const auto length = static_cast<int64_t>(observation.tokens().size());
  const auto bands = bands_of(length, rows_wanted(options.rows, length));
  if (options.value_weighted && options.groups.scores)
    throw std::invalid_argument("groups: scores have no value-weighted form");
  if (options.value_weighted) static_cast<void>(observation.carried({0, 0}));  // refuses
  const Repeats repeats(observation.tokens());
  Sweep all;
  all.rows = rows_of(bands);
  all.heads.resize(static_cast<size_t>(config.layers) * static_cast<size_t>(config.heads));
  const attend::PoolLease lease(options.threads);
  for (int layer = 0; layer < config.layers; ++layer) {
    lease.pool().run(config.heads, [&](int64_t head, int) {
      all.heads[static_cast<size_t>(layer * config.heads + head)] =
          sweep_head(observation, {layer, static_cast<int>(head)}, options, bands, repeats);
    });
    if (progress && !progress(layer + 1, config.layers)) throw Cancelled{};
  }
  return all;
}

std::vector<float> swept_rows(const Observation& observation, Swept measure, HeadId head) {
  const base::DefaultFloatEnvironment environment;
  const int index = static_cast<int>(measure);
  swept_info(measure);  // refuses
  const auto length = static_cast<int64_t>(observation.tokens().size());
  const Repeats repeats(observation.tokens());
  const std::vector<float> lse = observation.rows(Measure::lse, head);
  const SweepGroups scores{.scores = true};
  std::vector<float> rows(static_cast<size_t>(length));
  RowSweep sweep;
  for (int64_t begin = 0; begin < length; begin += band_rows) {
    const TokenRange band{begin, std::min(length, begin + band_rows)}, keys{0, band.end};
    const auto cells = scores.has(measure) ? observation.scores(head, band, keys) : observation.tile(head, band, keys);
    for (int64_t i = band.begin; i < band.end; ++i) {
      const float* row = cells.data() + (i - begin) * band.end;
      sweep.clear();
      if (scores.has(measure))
        sweep.scores(row, i, static_cast<double>(lse[static_cast<size_t>(i)]));
      else if (measure == Swept::keys_90)
        sweep.coverage(row, i);
      else
        sweep.repeats(row, i, repeats);
      const auto at = static_cast<size_t>(index);
      rows[static_cast<size_t>(i)] = static_cast<float>(sweep.defined[at] ? sweep.value[at] : nan);
    }
  }
  return rows;
}

std::vector<double> stripes(const Observation& observation, HeadId head, int64_t most) {
  const base::DefaultFloatEnvironment environment;
  const auto length = static_cast<int64_t>(observation.tokens().size());
  if (most < 0 || most >= length) {
    throw std::invalid_argument("most: distances 0 to " + std::to_string(length - 1) + " there are, got " +
                                std::to_string(most));
  }
  std::vector<double> means(static_cast<size_t>(most + 1));
  for (int64_t begin = 1; begin < length; begin += band_rows) {
    const TokenRange band{begin, std::min(length, begin + band_rows)},
        keys{std::max<int64_t>(0, begin - most), band.end};
    const auto weights = observation.tile(head, band, keys);
    for (int64_t i = band.begin; i < band.end; ++i)
      for (int64_t j = std::max(keys.begin, i - most); j <= i; ++j)
        means[static_cast<size_t>(i - j)] +=
            static_cast<double>(weights[static_cast<size_t>((i - begin) * (keys.end - keys.begin) + j - keys.begin)]);
  }
  for (int64_t o = 0; o <= most; ++o)
    means[static_cast<size_t>(o)] /= static_cast<double>(length - std::max<int64_t>(1, o));
  return means;
}

std::vector<double> laplacian_eigenvalues(const Observation& observation, HeadId head, int64_t count) {
  const base::DefaultFloatEnvironment environment;
  if (count < 0) throw std::invalid_argument("count: needs 0 or more, got " + std::to_string(count));
  std::vector<double> values = observation.received(head);
  const std::vector<float> self = observation.rows(Measure::self_weight, head);
  for (size_t j = 0; j < values.size(); ++j)
    values[j] = values[j] / static_cast<double>(values.size() - j) - static_cast<double>(self[j]);
  std::sort(values.begin(), values.end(), std::greater<>());
  values.resize(std::min(values.size(), static_cast<size_t>(count)));
  return values;
}

}  // namespace bareattn
