// Measures that need every weight of a row, made by a second look at them, tile by tile from Q, K and LSE: how many
// tokens hold most of the weight, what the scores before the softmax are like, weight by distance, weight on earlier
// copies. Paid only when asked for; of any observation that kept Q and K, a trace at any time. Long texts are looked at
// on some of their rows, and the result says on how many. Definitions: docs/measures.md, "By a second look".
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "bareattn/observation.h"

namespace bareattn {

enum class Swept : int {
  keys_90,           // fewest tokens that hold 90 % of the weight
  min_logit,         // smallest score
  logit_mean,        // of the row's scores, each key alike
  logit_deviation,   // standard deviation
  logit_skewness,    // third moment / deviation^3; NaN where all are alike
  logit_kurtosis,    // fourth moment / deviation^4 - 3
  weight_ceiling,    // the largest weight that so small a spread of scores allows
  log_self,          // ln of the weight on the token itself, nats
  duplicate_weight,  // on earlier copies of the token; NaN in rows that have none
  induction_weight,  // on the tokens after earlier copies; NaN in rows that have none
};
inline constexpr int swept_count = static_cast<int>(Swept::induction_weight) + 1;

struct SweepGroups {
  bool coverage = false;  // keys_90
  bool scores = false;    // min_logit to log_self
  bool repeats = false;   // duplicate_weight, induction_weight, templates
  bool offsets = false;   // distance_bins, stripe
  bool has(Swept measure) const;
  bool any() const { return coverage || scores || repeats || offsets; }
};

const MeasureInfo& swept_info(Swept measure);

/// How well the weights fit a pattern P of zeros and ones (TransformerLens' head detector): mul, the share of all
/// weight that lies on it; abs, 1 - sum |p - P| / rows.
struct TemplateMatch {
  double mul = 0, abs = 0;
};

struct HeadSweep {
  HeadId head;
  std::array<double, swept_count> means{};  // by Swept; over the rows where it is defined, NaN: none, or not asked for
  // Weight at distance 0, 1, 2-3, 4-7, 8-15, ... (mean over the rows; together 1). [1 + bits of N - 1]
  std::vector<double> distance_bins;
  int64_t stripe = -1;       // the distance >= 1 with the largest mean weight over the rows that reach so far, of those
  double stripe_weight = 0;  // that at least 16 rows and an eighth of all reach; -1: there is none
  // Mean weight at distance 0, 1, ... up to most_stripes, each over the rows that reach so far; NaN: none does.
  std::vector<double> stripes;
  TemplateMatch previous_token, duplicate_token, induction;  // group repeats
  // Value-weighted sweeps alone: the measures of observation.h made of the shares, by Measure (NaN: lse, max_logit,
  // which have no such form), and of its span sets mean_span_mass [sets] and span_flow [sets, sets].
  std::array<double, measure_count> of_shares{};
  std::vector<double> spans, flow;
};
inline constexpr int64_t most_stripes = 64;

struct Sweep {
  int64_t rows = 0;              // looked at, of the N - 1 after the first
  std::vector<HeadSweep> heads;  // [L Hq]
};

struct SweepOptions {
  SweepGroups groups = {.coverage = true, .scores = true, .repeats = true, .offsets = true};
  int64_t rows = 0;  // as AgreementOptions::rows
  int threads = 0;   // 0: all cores; the bits are the same for any number
  /// Measures value_shares (observation.h) instead of weights; needs the group `values`. There are no such scores: the
  /// group is std::invalid_argument.
  bool value_weighted = false;
};

/// Every head. std::invalid_argument where Q and K were not kept; a false from `progress` throws Cancelled.
Sweep sweep(const Observation& observation, const SweepOptions& options = {}, const Progress& progress = {});

/// One measure of every row of one head, [N]. Row 0 counts here: it sees itself.
std::vector<float> swept_rows(const Observation& observation, Swept measure, HeadId head);

/// Mean weight at distance 0, 1, ... `most` of one head, each over all rows i >= max(1, distance): [most + 1].
std::vector<double> stripes(const Observation& observation, HeadId head, int64_t most);

/// The eigenvalues of the attention Laplacian D - A, D_jj = received_j / (N - j), which is triangular: its diagonal,
/// largest first, the `count` first (2502.17598). Needs the groups columns and spans.
std::vector<double> laplacian_eigenvalues(const Observation& observation, HeadId head, int64_t count);

}  // namespace bareattn
