// Checks that compare two finished runs over the same tokens: a control, and the run that is in question (after
// quantisation, another engine, another setting). Nothing is known of how they were made, so only what both measured
// is used: weight on the first token and weight received, per head. Limits: docs/diagnosis.md, "Two runs".
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bareattn/diagnosis.h"
#include "bareattn/error.h"
#include "diagnose/gather.h"

namespace bareattn {
namespace {

constexpr double least_difference = 0.01;  // of an LSE, in the first layer that differs,
constexpr double least_jump = 20;          // ... and so many times that of the layers before
constexpr double first_layer = 2;          // with no layer before it: quantised weights differ from the first layer on
constexpr double rests = 0.3;              // mean weight on the first token: a sink (Gu et al. 2410.10781)
constexpr double kept_of_sink = 0.5;       // of that weight; below it the head's sink is lost
constexpr double most_lost = 0.1;          // of the heads that rest on the first token
constexpr double received_gain = 0.15;     // of a key's mean received weight, over the rows that see it
constexpr double token_gain = 0.05;        // ... of each key of a span
constexpr double received_ratio = 3;       // ... and against the control
constexpr int64_t fewest_rows = 16;        // that see a key: the mean of fewer says little
constexpr size_t most_places = 3;          // more raised places are a scattered weighting, no single one is meant
constexpr size_t fewest_heads = 3;         // one or two heads may change their minds

std::vector<HeadId> all_heads(const ModelConfig& config) {
  std::vector<HeadId> heads;
  for (int layer = 0; layer < config.layers; ++layer)
    for (int head = 0; head < config.heads; ++head) heads.push_back({layer, head});
  return heads;
}

/// Tokens [begin, end) that got more than in the control, in these heads.
struct Raised {
  int64_t begin = 0, end = 0;
  std::vector<HeadId> heads;
  HeadId most{-1, -1};
  double before = 0, after = 0;  // mean received weight of the span in `most`, over the rows that see its first token
};

Finding finding_of(const Raised& raised, const Observation& run, bool declared) {
  const bool one = raised.end - raised.begin == 1 && !declared;
  Finding f;
  f.check = one ? "peripheral-made-central" : "noise-as-signal";
  f.head = raised.most;
  f.heads = raised.heads;
  f.token = raised.begin;
  f.last = raised.end - 1;
  f.value = raised.after - raised.before;
  f.limit = received_gain;
  const std::string where =
      one ? fmt::format("Token {} (“{}”)", raised.begin, run.token_texts()[static_cast<size_t>(raised.begin)])
          : fmt::format("Tokens {} to {}{}", raised.begin, raised.end - 1, declared ? ", said to be irrelevant," : "");
  f.sentence = fmt::format(
      "{} {} weight in {} that {} not have in the control: {:.1f} % of head {}.{}, {:.1f} % "
      "there.",
      where, one ? "has" : "have", diagnosing::counted(raised.heads.size(), "head"), one ? "it does" : "they do",
      100 * raised.after, raised.most.layer, raised.most.head, 100 * raised.before);
  f.advice = "Something between the two runs raises these keys: compare masks, biases and the keys themselves.";
  return f;
}

// So many tokens are raised that none is meant: weight lies elsewhere as a whole.
Finding scattered(const std::vector<Raised>& of_token, const Observation& run) {
  const Raised* most = &of_token[0];
  std::vector<HeadId> heads;
  for (const HeadId head : all_heads(run.model().config()))
    for (const Raised& token : of_token) {
      if (std::find(token.heads.begin(), token.heads.end(), head) == token.heads.end()) continue;
      heads.push_back(head);
      break;
    }
  for (const Raised& token : of_token)
    if (token.after - token.before > most->after - most->before) most = &token;
  Finding f = finding_of(*most, run, false);
  f.check = "noise-as-signal";
  f.token = -1;
  f.heads = std::move(heads);
  const auto count = std::count_if(of_token.begin(), of_token.end(),
                                   [](const Raised& token) { return token.heads.size() >= fewest_heads; });
  f.sentence = fmt::format(
      "Weight is scattered: {} of {} tokens have weight in some of {} that they do not have in "
      "the control; most of all token {} (“{}”), {:.1f} % of head {}.{}, {:.1f} % there.",
      count, run.tokens().size(), diagnosing::counted(f.heads.size(), "head"), most->begin,
      run.token_texts()[static_cast<size_t>(most->begin)], 100 * most->after, most->most.layer, most->most.head,
      100 * most->before);
  f.advice =
      "The two runs weigh the whole text otherwise: look for what is wrong in all layers, such as their precision.";
  return f;
}

// Mean weight that each of the keys received together, over the rows that see the first of them.
double mean_received(const std::vector<double>& received, int64_t begin, int64_t end) {
  double sum = 0;
  for (int64_t j = begin; j < end; ++j) sum += received[static_cast<size_t>(j)];
  return sum / static_cast<double>(static_cast<int64_t>(received.size()) - begin);
}

void consider(Raised& raised, HeadId head, double before, double after, double gain = received_gain) {
  if (!(after - before > gain && after > received_ratio * before)) return;
  raised.heads.push_back(head);
  if (raised.most.layer >= 0 && after - before <= raised.after - raised.before) return;
  raised.most = head;
  raised.before = before;
  raised.after = after;
}

}  // namespace

std::vector<Finding> check_sink_against(const Observation& control, const Observation& run) {
  std::vector<HeadId> lost;
  double before = 0, after = 0, most = 0;
  HeadId worst{-1, -1};
  size_t resting = 0;
  for (const HeadId head : all_heads(run.model().config())) {
    const double a = control.mean(Measure::first_mass, head), b = run.mean(Measure::first_mass, head);
    if (!(a >= rests)) continue;
    ++resting;
    before += a;
    after += b;
    if (b >= kept_of_sink * a) continue;
    lost.push_back(head);
    if (a - b > most) most = a - b, worst = head;
  }
  const double share = resting == 0 ? 0 : static_cast<double>(lost.size()) / static_cast<double>(resting);
  if (!(share > most_lost)) return {};
  const auto count = static_cast<double>(resting);
  Finding f;
  f.check = "sink-lost";
  f.head = worst;
  f.heads = lost;
  f.token = 0;
  f.value = share;
  f.limit = most_lost;
  f.sentence = fmt::format(
      "{} of the {} heads that rest on the first token in the control have lost it: those {} gave it {:.1f} % of their "
      "weight and give it {:.1f} %.",
      lost.size(), resting, resting, 100 * before / count, 100 * after / count);
  f.advice =
      "Keep the first tokens' keys in sight and in full precision: quantisation, eviction or a window took them.";
  return {f};
}

std::vector<Finding> check_received_against(const Observation& control, const Observation& run,
                                            const std::vector<TokenSpan>& irrelevant) {
  const auto n = static_cast<int64_t>(run.tokens().size());
  std::vector<Raised> of_token(static_cast<size_t>(n)), of_span(irrelevant.size());
  for (int64_t j = 0; j < n; ++j)
    of_token[static_cast<size_t>(j)].begin = j, of_token[static_cast<size_t>(j)].end = j + 1;
  for (size_t s = 0; s < irrelevant.size(); ++s) {
    of_span[s].begin = irrelevant[s].begin;
    of_span[s].end = irrelevant[s].end < 0 ? n : irrelevant[s].end;
    if (of_span[s].begin < 0 || of_span[s].begin >= of_span[s].end || of_span[s].end > n)
      throw InputError(
          fmt::format("irrelevant tokens {} to {}: the runs have {}", irrelevant[s].begin, irrelevant[s].end, n));
  }
  for (const HeadId head : all_heads(run.model().config())) {
    const auto before = control.received(head), after = run.received(head);
    for (int64_t j = 1; j + fewest_rows <= n; ++j)  // the first token is nobody's periphery
      consider(of_token[static_cast<size_t>(j)], head, mean_received(before, j, j + 1), mean_received(after, j, j + 1),
               token_gain);
    for (Raised& span : of_span)
      consider(span, head, mean_received(before, span.begin, span.end), mean_received(after, span.begin, span.end));
  }
  std::vector<Finding> findings;
  size_t declared = 0;
  std::vector<char> named(static_cast<size_t>(n), 0);
  for (const Raised& span : of_span) {
    if (span.heads.size() < fewest_heads) continue;
    findings.push_back(finding_of(span, run, true));
    ++declared;
    std::fill(named.begin() + span.begin, named.begin() + span.end, 1);
  }
  for (int64_t j = 1; j < n; ++j) {
    const auto raised = [&](int64_t at) {
      return at < n && named[static_cast<size_t>(at)] == 0 &&
             of_token[static_cast<size_t>(at)].heads.size() >= fewest_heads;
    };
    if (!raised(j)) continue;
    Raised whole;  // what neighbouring tokens received together
    whole.begin = j;
    while (raised(j + 1)) ++j;
    whole.end = j + 1;
    for (const HeadId head : all_heads(run.model().config()))
      consider(whole, head, mean_received(control.received(head), whole.begin, whole.end),
               mean_received(run.received(head), whole.begin, whole.end));
    if (whole.heads.size() >= fewest_heads) findings.push_back(finding_of(whole, run, false));
  }
  if (findings.size() > declared + most_places) {
    findings.resize(declared);
    findings.push_back(scattered(of_token, run));
  }
  return findings;
}

std::vector<Finding> check_layers_against(const Observation& control, const Observation& run) {
  const ModelConfig& config = run.model().config();
  double before = 0;
  for (int layer = 0; layer < config.layers; ++layer) {
    Finding f = diagnosing::make_finding(
        "first-difference", 0, 0, "",
        layer == 0
            ? "Compare the embeddings of the two and the norm, queries and keys of layer 0."
            : fmt::format("Compare what layer {} does after its weights (values, output projection, feed-forward) "
                          "and the norm, queries and keys of layer {}.",
                          layer - 1, layer));
    for (int h = 0; h < config.heads; ++h) {
      const auto a = control.rows(Measure::lse, {layer, h}), b = run.rows(Measure::lse, {layer, h});
      const double difference = diagnosing::largest_difference(a, b);
      if (difference > least_difference) f.heads.push_back({layer, h});
      if (difference > f.value) f.value = difference, f.head = {layer, h};
    }
    f.limit = layer == 0 ? first_layer : std::max(least_difference, least_jump * before);
    if (f.value > f.limit) {
      f.sentence = layer == 0 ? "The two runs differ from layer 0 on"
                              : fmt::format("The two runs are the same up to layer {}, different from layer {} on",
                                            layer - 1, layer);
      f.sentence += fmt::format(": an LSE of head {}.{} differs by {:.3g}", layer, f.head.head, f.value);
      f.sentence += layer == 0 ? "." : fmt::format(", before by {:.2g} at most.", before);
      return {f};
    }
    before = std::max(before, f.value);
  }
  return {};
}

namespace diagnosing {

void check_control(const Observation& control, const std::vector<int32_t>& tokens, const ModelConfig& of_run) {
  const ModelConfig& of_control = control.model().config();
  if (control.tokens() != tokens) throw InputError("the run and its control are not over the same tokens");
  if (of_control.layers != of_run.layers || of_control.heads != of_run.heads)
    throw InputError(
        fmt::format("the control has {} layers of {} heads, the run {} of {}: heads can only be compared "
                    "one by one",
                    of_control.layers, of_control.heads, of_run.layers, of_run.heads));
}

void hold_against(const Observation& control, Diagnosis& diagnosis, const DiagnoseOptions& options) {
  const Observation& run = *diagnosis.observation;
  for (const Observation* one : {&control, &run})
    if (!one->measured().spans || !one->measured().columns)
      throw InputError(
          "a comparison needs the weight on the first token and the weight received, and one of the runs "
          "was made without them");
  auto& findings = diagnosis.findings;
  diagnosis.evidence.against = true;
  const auto overlap = [](const Finding& f, const Finding& g) {
    return f.token <= std::max(g.token, g.last) && g.token <= std::max(f.token, f.last);
  };
  const auto add = [&](std::vector<Finding> found) {
    for (Finding& finding : found)
      if (std::none_of(findings.begin(), findings.end(),  // the run alone tells more: by how much, and how to undo it
                       [&](const Finding& f) { return f.check == finding.check && overlap(f, finding); }))
        findings.push_back(std::move(finding));
  };
  auto sinks = check_sink_against(control, run);
  const auto& base = diagnosis.evidence.base;
  if (!sinks.empty() && base != nullptr && base->key_bits > 0) {
    Variant whole = *base;
    whole.key_bits = 0;
    sinks[0].remedy = {"keep the keys in full precision", {}, std::make_shared<const Variant>(std::move(whole)), {}};
  }
  add(std::move(sinks));
  add(check_received_against(control, run, options.expectations.irrelevant));
  add(check_layers_against(control, run));
  findings = in_order(std::move(findings), options.checks);
}

}  // namespace diagnosing
}  // namespace bareattn
