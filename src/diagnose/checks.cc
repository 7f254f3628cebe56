// The checks that are not about one pass against its own Q and K (weights_check.cc). Limits stand at the top, measured
// on calibration texts that the reported matrix does not use: docs/diagnosis.md.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bareattn/diagnosis.h"
#include "diagnose/gather.h"

namespace bareattn {

using diagnosing::make_finding;

namespace {

constexpr double least_entropy = 0.02;  // normalised, mean of a layer
constexpr double most_entropy = 0.97;
constexpr double most_logit = 100;            // MuonClip's tau
constexpr double least_blend = 1e-3;          // of the layer's median head
constexpr double least_query_angle = 0.9999;  // cosine of two heads' queries, every row
constexpr double most_shift = 0.05;           // of an LSE, for rounding at positions 37 further on
constexpr double most_growth = 100;           // of that difference from one layer to the next, by rounding alone

// Whether the queries of two heads of a layer point the same way in every row. Rows without any length say nothing.
bool same_queries(const std::vector<float>& a, const std::vector<float>& b, int dim) {
  bool any = false;
  for (size_t row = 0; row < a.size(); row += static_cast<size_t>(dim)) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t d = row; d < row + static_cast<size_t>(dim); ++d) {
      ab += static_cast<double>(a[d]) * static_cast<double>(b[d]);
      aa += static_cast<double>(a[d]) * static_cast<double>(a[d]);
      bb += static_cast<double>(b[d]) * static_cast<double>(b[d]);
    }
    if (aa == 0 && bb == 0) continue;
    if (aa == 0 || bb == 0) return false;
    any = true;
    if (!(ab >= least_query_angle * std::sqrt(aa * bb))) return false;
  }
  return any;
}

}  // namespace

std::vector<Finding> check_finite(const Evidence& evidence) {
  const Observation& o = *evidence.observation;
  const ModelConfig& config = o.model().config();
  const auto n = static_cast<int64_t>(o.tokens().size());
  const auto lse = diagnosing::observed_lse(o);  // [L, Hq, N]
  Finding f =
      make_finding("not-finite", 0, 0, "", "Look for NaN or infinity in the weights, and for rows that see no key.");
  for (const std::string& warning : o.model().warnings()) f.advice += " The loader says: " + warning + ".";
  int64_t rows = 0;
  for (int64_t head = 0; head < int64_t{config.layers} * config.heads; ++head) {
    const auto begin = lse.begin() + head * n;
    const auto odd = std::count_if(begin, begin + n, [](float value) { return !std::isfinite(value); });
    if (odd == 0) continue;
    const HeadId id{static_cast<int>(head / config.heads), static_cast<int>(head % config.heads)};
    if (f.heads.empty()) {
      const auto first = std::find_if(begin, begin + n, [](float value) { return !std::isfinite(value); });
      f.head = id;
      f.token = first - begin;
      f.value = static_cast<double>(*first);
    }
    rows = std::max(rows, static_cast<int64_t>(odd));
    f.heads.push_back(id);
  }
  if (!f.heads.empty()) {
    f.sentence = fmt::format(
        "The LSE of row {} of head {}.{} is not a finite number, the first of up to {} in {}: what comes before its "
        "weights in layer {} is to be looked at first.",
        f.token, f.head.layer, f.head.head, diagnosing::counted(static_cast<size_t>(rows), "row"),
        diagnosing::counted(f.heads.size(), "head"), f.head.layer);
    return {f};
  }
  if (evidence.odd_predictions == 0) return {};
  f.value = static_cast<double>(evidence.odd_predictions);
  f.token = evidence.first_odd;
  f.sentence = fmt::format(
      "The logits of {} are not finite numbers, of row {} first, though the weights of all layers are: the last "
      "layer's values, its feed-forward, the last norm or the unembedding make them.",
      diagnosing::counted(static_cast<size_t>(evidence.odd_predictions), "row"), evidence.first_odd);
  return {f};
}

std::vector<Finding> check_file(const Evidence& evidence) {
  std::vector<Finding> findings;
  for (const std::string& warning : evidence.observation->model().warnings())
    findings.push_back(make_finding("odd-file", 0, 0, "The loader says of the model file: " + warning + ".",
                                    "Make or fetch the file again; what is odd about it can be in every result."));
  return findings;
}

std::vector<Finding> check_bos(const Evidence& evidence) {
  const auto& tokens = evidence.observation->tokens();
  if (evidence.bos < 0) return {};
  const bool wanted = evidence.expectations.begins_with_bos.value_or(evidence.wants_bos);
  if (tokens.size() > 1 && tokens[0] == evidence.bos && tokens[1] == evidence.bos) {
    double first = 0, second = 0;
    const ModelConfig& config = evidence.observation->model().config();
    const double heads = static_cast<double>(config.layers) * config.heads * static_cast<double>(tokens.size());
    for (int l = 0; evidence.observation->measured().columns && l < config.layers; ++l)
      for (int h = 0; h < config.heads; ++h) {
        const auto received = evidence.observation->received({l, h});
        first += received[0] / heads;
        second += received[1] / heads;
      }
    Finding f = make_finding(
        "bos-doubled", second, 0,
        fmt::format("The text begins with the begin-of-text token twice; {:.0f} % of all weight rests on the "
                    "first and {:.0f} % on the second.",
                    100 * first, 100 * second),
        "The chat template writes it and the tokenizer adds it again: turn one of them off.");
    f.token = 1;
    return {f};
  }
  if (wanted && !tokens.empty() && tokens[0] != evidence.bos) {
    Finding f =
        make_finding("bos-missing", tokens[0], evidence.bos, "The text does not begin with the begin-of-text token.",
                     "Tokenise with the begin-of-text token: the model was trained with it.");
    f.token = 0;
    return {f};
  }
  return {};
}

std::vector<Finding> check_entropy(const Evidence& evidence) {
  const Observation& o = *evidence.observation;
  const ModelConfig& config = o.model().config();
  if (!o.measured().rows) return {};  // a trace may have been made without
  std::vector<Finding> findings;
  for (int layer = 0; layer < config.layers; ++layer) {
    double mean = 0, logit = 0;
    HeadId least{layer, 0}, most{layer, 0}, largest{layer, 0};
    std::vector<HeadId> heads, high;
    for (int h = 0; h < config.heads; ++h) {
      const HeadId head{layer, h};
      heads.push_back(head);
      const double entropy = o.mean(Measure::normalized_entropy, head);
      mean += entropy / config.heads;
      if (entropy < o.mean(Measure::normalized_entropy, least)) least = head;
      if (entropy > o.mean(Measure::normalized_entropy, most)) most = head;
      double of_head = 0;
      for (const float m : o.rows(Measure::max_logit, head)) of_head = std::max(of_head, static_cast<double>(m));
      if (of_head > most_logit) high.push_back(head);
      if (of_head > logit) logit = of_head, largest = head;
    }
    if (mean < least_entropy) {
      findings.push_back(make_finding("entropy-collapse", mean, least_entropy,
                                      fmt::format("Layer {} looks at single tokens only: its mean normalised entropy "
                                                  "is {:.3f} and its largest score {:.0f}.",
                                                  layer, mean, logit),
                                      "Queries or keys of this layer are too large: check their weights, norms and "
                                      "scales."));
      findings.back().head = least;
    } else if (logit > most_logit) {
      findings.push_back(make_finding(
          "entropy-collapse", logit, most_logit,
          fmt::format("A score of head {}.{} is {:.0f}, more than {:.0f} in {} of layer {}: softmax leaves nothing "
                      "beside it. The layer's mean normalised entropy is {:.3f}.",
                      layer, largest.head, logit, most_logit, diagnosing::counted(high.size(), "head"), layer, mean),
          "Queries or keys of these heads are too large: check their weights, norms and scales."));
      findings.back().head = largest;
      heads = high;
    } else if (mean > most_entropy) {
      findings.push_back(make_finding(
          "entropy-blow-up", mean, most_entropy,
          fmt::format("Layer {} looks at everything alike: its mean normalised entropy is {:.3f}.", layer, mean),
          "Queries or keys of this layer are too small: check their weights, norms and scales."));
      findings.back().head = most;
    } else {
      continue;
    }
    findings.back().heads = heads;
  }
  return findings;
}

std::vector<Finding> check_heads(const Evidence& evidence) {
  const Observation& o = *evidence.observation;
  const ModelConfig& config = o.model().config();
  std::vector<Finding> findings;
  for (int layer = 0; layer < config.layers; ++layer) {
    std::vector<double> sizes(static_cast<size_t>(config.heads), 1.0);  // where they were not measured
    if (!evidence.blend_size.empty())
      std::copy_n(evidence.blend_size.begin() + int64_t{layer} * config.heads, config.heads, sizes.begin());
    std::vector<double> sorted = sizes;
    std::nth_element(sorted.begin(), sorted.begin() + config.heads / 2, sorted.end());
    const double median = sorted[static_cast<size_t>(config.heads / 2)];
    std::vector<std::vector<float>> queries;
    std::vector<HeadId> asking_nothing;
    for (int h = 0; h < config.heads; ++h) {
      const HeadId head{layer, h};
      const double size = sizes[static_cast<size_t>(h)];
      if (size < least_blend * median || size == 0) {
        findings.push_back(make_finding(
            "dead-head", median > 0 ? size / median : 0, least_blend,
            fmt::format("Head {}.{} writes nothing: its blend is {:.1e}, the layer's middle head's {:.2f}.", layer, h,
                        size, median),
            "Its values or its part of the output projection are zero: check loading and pruning."));
        findings.back().head = head;
        findings.back().heads = {head};
      }
      const auto& q = queries.emplace_back(diagnosing::widened(o.q_f16(head)));
      if (!q.empty() && std::all_of(q.begin(), q.end(), [](float x) { return x == 0; })) asking_nothing.push_back(head);
      for (int other = 0; other < h && !q.empty(); ++other) {
        if (!same_queries(queries[static_cast<size_t>(other)], q, config.head_dim)) continue;
        findings.push_back(
            make_finding("duplicate-heads", 1, least_query_angle,
                         fmt::format("Heads {}.{} and {}.{} ask the same in every row: one is a copy of the other.",
                                     layer, other, layer, h),
                         "Two slices of the query projection are the same: check how heads are split and loaded."));
        findings.back().head = head;
        findings.back().heads = {{layer, other}, head};
      }
    }
    // A whole layer of them is what check_entropy() says.
    if (asking_nothing.empty() || static_cast<int>(asking_nothing.size()) == config.heads) continue;
    const HeadId first = asking_nothing[0];
    findings.push_back(make_finding(
        "entropy-blow-up", 1, most_entropy,
        fmt::format("Head {}.{} looks at everything alike: its queries are zero{}.", layer, first.head,
                    asking_nothing.size() > 1 ? fmt::format(", as in {} of layer {}",
                                                            diagnosing::counted(asking_nothing.size(), "head"), layer)
                                              : ""),
        "Its part of the query projection is zero: check loading and pruning."));
    findings.back().head = first;
    findings.back().heads = asking_nothing;
  }
  return findings;
}

std::vector<Finding> check_cache(const Evidence& evidence) {
  if (!(evidence.cache_difference > 0)) return {};  // every bit is the same in a healthy run
  return {
      make_finding("cache-inconsistent", evidence.cache_difference, 0,
                   fmt::format("Token by token the model attends otherwise than in one run: an LSE differs by {:.3g}.",
                               evidence.cache_difference),
                   "Check the positions and the order of what the key-value cache holds.")};
}

std::vector<Finding> check_shift(const Evidence& evidence) {
  // Rounding grows from layer to layer, in a model whose scores are far too large up to whole units; a fault jumps.
  double before = 1e-5;
  for (size_t layer = 0; layer < evidence.shift_difference.size(); ++layer) {
    const double difference = evidence.shift_difference[layer];
    if (difference > std::max(most_shift, most_growth * before)) {
      Finding f =
          make_finding("rope-shift", difference, most_shift,
                       fmt::format("Only differences of positions should count, but with all positions 37 further on "
                                   "an LSE of layer {} differs by {:.3g}.",
                                   layer, difference),
                       "Positions are cut off, wrapped or not applied to queries and keys alike.");
      return {f};
    }
    before = std::max(before, difference);
  }
  return {};
}

}  // namespace bareattn
