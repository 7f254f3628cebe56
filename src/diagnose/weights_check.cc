// The attention pass against its own Q and K. Over the keys that a row may see, exp(logit - LSE) must sum to one; where
// it does not, each hypothesis about what the pass did otherwise is fitted to all rows of all such heads together, and
// the one that leaves the least unexplained is named. Heads it explains are set aside and the rest is asked again.
// Q and K are binary16 here, so a healthy row is off by up to some percent; limits are in diagnosis.md.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "diagnose/gather.h"
#include "diagnose/hypothesis.h"

namespace bareattn {
namespace {

using diagnosing::Explanation;
using diagnosing::Group;

Finding finding_of(const Explanation& why, const Group& group, const Evidence& evidence) {
  Finding f;
  f.check = why.check;
  f.value = why.value;
  f.limit = diagnosing::row_limit;
  f.token = why.token;
  f.last = why.last;
  for (const HeadEvidence* head : group) f.heads.push_back(head->head);
  f.head =
      (*std::max_element(group.begin(), group.end(), [](auto* a, auto* b) { return a->mismatch < b->mismatch; }))->head;
  const auto& texts = evidence.observation->token_texts();
  const std::string token = why.token < 0 ? "" : texts[static_cast<size_t>(why.token)];
  f.sentence = fmt::format(fmt::runtime(why.sentence), fmt::arg("heads", diagnosing::counted(group.size(), "head")),
                           fmt::arg("token", token), fmt::arg("at", why.token), fmt::arg("value", why.value),
                           fmt::arg("last", why.last));
  f.advice = why.advice;
  return f;
}

Group explained_by(const Explanation& why, const Group& group) {
  Group explained;
  for (const HeadEvidence* head : group)
    if (diagnosing::explains(why.residual, *head)) explained.push_back(head);
  return explained;
}

// Where no one hypothesis fits the group, because its heads suffer from different things: the one that is fitted to a
// single head and explains the most heads, itself and at least one other.
Explanation explain_by_one(const Group& group, const Evidence& evidence) {
  constexpr size_t most_tried = 12;
  Explanation best;
  size_t most = 1;
  for (const HeadEvidence* head : diagnosing::spread(group, most_tried)) {
    Explanation why = diagnosing::explain({head}, evidence);
    const size_t count = explained_by(why, group).size();
    if (count > most) most = count, best = std::move(why);
  }
  return best;
}

// Heads of the named layers whose sums are within the tolerance but fit the hypothesis far better than none: a bias on
// a token that they hardly look at.
void add_touched(Finding& f, const Explanation& why, const Evidence& evidence) {
  for (const HeadEvidence& head : evidence.heads) {
    const auto of_layer =
        std::count_if(f.heads.begin(), f.heads.end(), [&](HeadId h) { return h.layer == head.head.layer; });
    if (of_layer == 0 || head.excess > 1) continue;
    double with = 0, without = 0;
    for (const RowEvidence& row : head.rows) {
      const double a = why.residual(head, row), b = diagnosing::row_sum(evidence, row);
      with += a * a;
      without += b * b;
    }
    if (4 * with < without) f.heads.push_back(head.head);
  }
  std::sort(f.heads.begin(), f.heads.end(),
            [](HeadId a, HeadId b) { return a.layer != b.layer ? a.layer < b.layer : a.head < b.head; });
}

// Two groups of one layer that favour different tokens.
void merge_contradictions(std::vector<Finding>& findings, const Evidence& evidence) {
  std::map<int, std::vector<size_t>> by_layer;
  for (size_t i = 0; i < findings.size(); ++i) {
    if (findings[i].check != "noise-as-signal" && findings[i].check != "peripheral-made-central") continue;
    std::set<int> layers;
    for (const HeadId head : findings[i].heads) layers.insert(head.layer);
    for (const int layer : layers) by_layer[layer].push_back(i);
  }
  for (const auto& [layer, which] : by_layer) {
    if (which.size() < 2) continue;
    Finding a = findings[which[0]], b = findings[which[1]];
    diagnosing::propose(a, evidence);
    diagnosing::propose(b, evidence);
    Finding f;
    f.remedy = std::move(a.remedy);
    f.remedy.what += ", and " + b.remedy.what;
    f.remedy.interventions.insert(f.remedy.interventions.end(), b.remedy.interventions.begin(),
                                  b.remedy.interventions.end());
    f.last = a.last;
    f.check = "heads-in-contradiction";
    f.head = a.head;
    f.heads = a.heads;
    f.heads.insert(f.heads.end(), b.heads.begin(), b.heads.end());
    f.token = a.token;
    f.value = std::min(a.value, b.value);
    f.limit = diagnosing::row_limit;
    f.sentence = fmt::format(
        "Heads of layer {} are pulled apart: weights are raised from token {} on in {}, from token {} on in {}.", layer,
        a.token, diagnosing::counted(a.heads.size(), "head"), b.token, diagnosing::counted(b.heads.size(), "head"));
    f.advice = "Remove the bias of the attention scores in this layer, or give all its heads the same one.";
    findings.erase(findings.begin() + static_cast<int64_t>(which[1]));  // the two are one finding now
    findings[which[0]] = std::move(f);
    return;
  }
}

struct Cause {
  Explanation why;
  Group heads;
};

// What a fit to each of two groups says with all but the same number is one fault.
bool same_fault(const Explanation& a, const Explanation& b) {
  return a.check == b.check && a.token == b.token && a.last == b.last &&
         std::abs(a.value - b.value) <= 0.02 * std::max(std::abs(a.value), std::abs(b.value));
}

void add_cause(std::vector<Cause>& causes, Cause&& cause) {
  for (Cause& known : causes) {
    if (!same_fault(known.why, cause.why)) continue;
    known.heads.insert(known.heads.end(), cause.heads.begin(), cause.heads.end());
    return;
  }
  causes.push_back(std::move(cause));
}

void take_out(Group& rest, const Group& explained) {
  std::erase_if(rest, [&](const HeadEvidence* head) {
    return std::find(explained.begin(), explained.end(), head) != explained.end();
  });
}

}  // namespace

std::vector<Finding> check_weights(const Evidence& evidence) {
  Group rest = diagnosing::at_odds(evidence);
  const size_t at_odds = rest.size();
  std::vector<Cause> causes;
  // Many small deviations are one scale only if nothing else is off: another fault leaves a slope of its own.
  if (diagnosing::FineScale fine = diagnosing::fine_scale(evidence); !fine.heads.empty()) {
    Group others = rest;
    take_out(others, fine.heads);
    if (others.empty()) {
      rest.clear();
      causes.push_back({std::move(fine.why), std::move(fine.heads)});
    }
  }
  for (int round = 0; round < 4 && !rest.empty(); ++round) {
    Explanation why = diagnosing::explain(rest, evidence);
    Group explained = explained_by(why, rest);
    if (2 * explained.size() < rest.size()) {
      Explanation other = explain_by_one(rest, evidence);
      Group by_other = explained_by(other, rest);
      if (by_other.size() > explained.size()) why = std::move(other), explained = std::move(by_other);
    }
    if (explained.empty()) break;
    take_out(rest, explained);
    add_cause(causes, {std::move(why), std::move(explained)});
  }
  std::vector<Finding> findings;
  for (const Cause& cause : causes) {
    findings.push_back(finding_of(cause.why, cause.heads, evidence));
    if (cause.heads.size() < at_odds)
      findings.back().sentence += fmt::format(
          " This fits {} of the {} heads whose weights are not those of their Q and K.", cause.heads.size(), at_odds);
    if (cause.why.token >= 0) add_touched(findings.back(), cause.why, evidence);
  }
  const bool most = 2 * rest.size() > at_odds;
  if (!rest.empty() && (most || findings.empty() || rest.size() > evidence.heads.size() / 20)) {
    Explanation why;
    why.check = "row-sum";
    why.value = 0;
    for (const HeadEvidence* head : rest) why.value = std::max(why.value, head->mismatch);
    why.sentence =
        "In {heads} the weights that Q, K and LSE give do not sum to one (off by a factor of e^{value:.2f}), and "
        "nothing known explains it.";
    why.advice = "Compare the attention kernel with a reference on the same Q and K.";
    findings.push_back(finding_of(why, rest, evidence));
    if (rest.size() < at_odds)
      findings.back().sentence += fmt::format(" They are {} of the {} heads that are off.", rest.size(), at_odds);
    findings.back().leads = most;
  }
  merge_contradictions(findings, evidence);
  return findings;
}

}  // namespace bareattn
