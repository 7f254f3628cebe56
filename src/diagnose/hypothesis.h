// Hypotheses about what an attention pass did otherwise than Q and K say, fitted to rows. See weights_check.cc.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "bareattn/diagnosis.h"

namespace bareattn::diagnosing {

/// A row whose |log sum of weights| is more than this, and more than rounding explains (RowEvidence::tolerance), is not
/// explained. Healthy rows: docs/diagnosis.md.
inline constexpr double row_limit = 0.02;

using Group = std::vector<const HeadEvidence*>;
/// log of the sum of weights of a row if the hypothesis held; 0 where it explains the row.
using Residual = std::function<double(const HeadEvidence&, const RowEvidence&)>;

struct Explanation {
  std::string check, sentence, advice;  // sentence: {heads} ("12 heads"), {token}, {at}, {value}, {last}
  int64_t token = -1, last = -1;
  double value = 0;
  double cost = 1e300;
  Residual residual;
};

/// Keys that a row may see, as a flag per key.
bool may_see(const Expectations& expectations, int64_t row, int64_t key);
/// log sum exp of scale * logit - lse over the keys that may be seen.
double row_sum(const Evidence& evidence, const RowEvidence& row, double scale = 1);
/// Whether what is left over in every row is within its tolerance.
bool explains(const Residual& residual, const HeadEvidence& head);
/// Heads of which a row is off by more than rounding explains.
Group at_odds(const Evidence& evidence);
/// The best of all hypotheses over these heads.
Explanation explain(const Group& group, const Evidence& evidence);
/// A span of keys whose weights were multiplied by one factor: the best over all spans. hypothesis_span.cc.
Explanation explain_span(const Group& group, const Evidence& evidence);

/// Keys that are hidden from some row on; capped scores; and the scores' scale: hypothesis_more.cc, hypothesis.cc.
Explanation explain_evicted(const Group& group, const Evidence& evidence);
Explanation explain_softcap(const Group& group, const Evidence& evidence);
Explanation explain_scale(double scale, const Evidence& evidence);
/// A scale near one, of whole layers, that single rows need not show. No heads: none.
struct FineScale {
  Explanation why;
  Group heads;
};
FineScale fine_scale(const Evidence& evidence);

/// Where the cost is least: tried from `from` to `to` in steps of `step`, then around the best with the step halved as
/// long as it is more than `finest`.
double least_of(double from, double to, double step, double finest, const std::function<double(double)>& cost);

/// At most `most` of the heads, evenly spread over the group.
Group spread(const Group& group, size_t most);
/// So many take part in a fit.
inline constexpr size_t most_fitted = 40;
/// Mean of min(r^2, 1) over all rows of the heads that are fitted.
double cost_of(const Group& group, const Residual& residual);

}  // namespace bareattn::diagnosing
