// Probes: would the model predict the text better if a setting were otherwise? They find errors of a file or its
// loader, which leave every pass consistent. A better prediction alone is no proof: a text that repeats itself, or that
// nobody could predict, is not probed, and a setting is only named where the run with it predicts as a working model
// does, the text and a plain one that stands here. Where none does, that is said instead. See diagnosis.h; limits:
// diagnosis.md.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "diagnose/gather.h"
#include "diagnose/hypothesis.h"

namespace bareattn {
namespace {

constexpr double nll_gain = 0.03;      // nats per token that a probe must win,
constexpr double gain_errors = 2;      // ... in standard errors of the difference, token by token
constexpr double chance = 4.5;         // nats per token, of the text and of the plain one: no working model has more
constexpr double unpredicted = 6;      // of a text alone: texts in plain words that begin in the middle have up to 5
constexpr double most_repeated = 0.4;  // of a text's token triples

// What a small model that works predicts with about three nats per token.
constexpr const char* plain_text =
    "The sun came up over the hills, and the birds began to sing in the trees. An old man walked down the road to the "
    "village, where he bought some bread and a bottle of milk. He sat down on a bench in front of the church and "
    "watched the children play. After a while one of them came over and asked him what time it was. He looked at his "
    "watch and told her that it was almost nine. She thanked him and ran back to her friends, because school was about "
    "to begin.";

double repeated_triples(const std::vector<int32_t>& tokens) {
  std::set<std::array<int32_t, 3>> seen;
  size_t again = 0;
  for (size_t i = 0; i + 2 < tokens.size(); ++i)
    again += seen.insert({tokens[i], tokens[i + 1], tokens[i + 2]}).second ? 0 : 1;
  return tokens.size() < 3 ? 0 : static_cast<double>(again) / static_cast<double>(tokens.size() - 2);
}

const ProbeResult* best_of(const Evidence& evidence) {
  const ProbeResult* best = nullptr;
  for (const ProbeResult& probe : evidence.probes)
    if (std::isfinite(probe.nll) && (best == nullptr || probe.nll < best->nll)) best = &probe;
  return best;
}

double limit_of(const ProbeResult& probe) { return std::max(nll_gain, gain_errors * probe.error); }

bool better(const Evidence& evidence, const ProbeResult& probe) { return evidence.nll - probe.nll > limit_of(probe); }

bool cures(const Evidence& evidence, const ProbeResult& probe) {
  if (probe.plain_nll <= 0) return probe.nll < chance;
  return std::min(probe.nll, probe.plain_nll) < chance && probe.plain_nll - evidence.plain_nll < probe.plain_error;
}

Finding named(const Evidence& evidence, const ProbeResult& best) {
  Finding f = diagnosing::make_finding(
      best.check.c_str(), evidence.nll - best.nll, limit_of(best),
      fmt::format("The model predicts this text better if it is run otherwise: {:.2f} nats per token with {}, "
                  "{:.2f} as it is.",
                  best.nll, best.label, evidence.nll),
      "The file or its loader says something wrong about this model: run it with " + best.label + ".");
  f.remedy.what = "run it with " + best.label;
  f.remedy.variant = best.variant;
  f.remedy.place = RemedyPlace::file;
  f.remedy.mend = best.mend;
  if (best.check != "wrong-scale" || best.variant == nullptr || evidence.base == nullptr) return f;
  f.remedy.variant = nullptr;
  Intervention temperature;  // all scores times s are those at temperature 1 / s
  temperature.kind = Intervention::Kind::temperature;
  temperature.value = static_cast<double>(evidence.base->query_scale) / static_cast<double>(best.variant->query_scale);
  const int layer = best.variant->query_scale_layer;
  temperature.heads = {layer < 0 ? "*" : fmt::format("{}.*", layer)};
  f.remedy.interventions = {std::move(temperature)};
  f.remedy.place = RemedyPlace::steering;
  return f;
}

}  // namespace

std::vector<Finding> check_probes(const Evidence& evidence) {
  const ProbeResult* best = best_of(evidence);
  if (best != nullptr && better(evidence, *best) && cures(evidence, *best)) return {named(evidence, *best)};
  if (!(evidence.nll > chance && evidence.plain_nll > chance)) return {};
  if (!diagnosing::at_odds(evidence).empty() || !check_shift(evidence).empty()) return {};  // it has its cause
  std::string tried = "Nothing was tried that could explain it.";
  if (best != nullptr)
    tried = fmt::format("No setting tried explains it: of {} the best, {}, has {:.2f}.", evidence.probes.size(),
                        best->label, best->nll);
  return {diagnosing::make_finding(
      "no-prediction", evidence.nll, chance,
      fmt::format("The model predicts no better than chance: {:.2f} nats per token of this text and {:.2f} of a plain "
                  "English one. {}",
                  evidence.nll, evidence.plain_nll, tried),
      "Some weights are not what they are taken for. Compare tensors with the file it was made from: signs, sizes, "
      "order, norms, the scale of the embeddings; bareattn diff against a working file shows the first layer that "
      "differs.")};
}

namespace diagnosing {

bool rotates(const Architecture& a) {
  for (int layer = 0; layer < a.layers; ++layer)
    if (a.layer(layer).rotary) return true;
  return false;
}

namespace {

// Settings of rotary positions. What is said of the order of dimensions is about a converter that brings halves to
// neighbours: families whose halves rotate have none.
void rotary_probes(const Architecture& config, const Variant& base, std::vector<Probe>& all) {
  const auto key = [&](const char* name) { return config.architecture + "." + name; };
  const auto add = [&](const char* check, std::string label, std::string mend) -> Variant& {
    return all.emplace_back(Probe{check, std::move(label), std::move(mend), base}).variant;
  };
  const float own = base.rope_base > 0 ? base.rope_base : config.rope_base;
  Probe rope{"wrong-rope-base", {}, {}, base, 1};
  for (const double other : {1e4, 1e5, 5e5, 1e6})
    if (std::abs(std::log(other / static_cast<double>(own))) > 0.5) all.push_back(refined(rope, config, base, other));
  Probe positions{"wrong-rope-scaling", {}, {}, base, 1};
  for (const double factor : {0.25, 0.5, 2.0, 4.0}) all.push_back(refined(positions, config, base, factor));
  const int dim = base.rope_dim > 0 ? base.rope_dim : config.rope_dim;
  for (const int other : {dim / 2, 2 * dim, config.head_dim}) {
    if (other % 2 != 0 || other < 2 || other > config.head_dim || other == dim) continue;
    if (!all.empty() && all.back().variant.rope_dim == other) continue;  // twice as many are all
    add("wrong-rope-dim", fmt::format("{} rotary dimensions", other),
        fmt::format("{} has to be {}", key("rope.dimension_count"), other))
        .rope_dim = other;
  }
  if (config.pairing == Pairing::neighbours) {
    struct Order {
      const char *label, *mend;
      int q, k;
    };
    for (const Order& order :
         {Order{"pairs half a head apart",
                "the rows of attn_q and attn_k have to be reordered within each head, from halves to neighbours", 1, 1},
          Order{"pairs of queries half a head apart",
                "the rows of attn_q have to be reordered within each head, from halves to neighbours", 1, 0},
          Order{"pairs of keys half a head apart",
                "the rows of attn_k have to be reordered within each head, from halves to neighbours", 0, 1},
          Order{"queries and keys reordered once less",
                "the rows of attn_q and attn_k were reordered within each head twice", -1, -1},
          Order{"queries reordered once less", "the rows of attn_q were reordered within each head twice", -1, 0},
          Order{"keys reordered once less", "the rows of attn_k were reordered within each head twice", 0, -1}}) {
      const int q = base.q_reorder + order.q, k = base.k_reorder + order.k;
      if (std::abs(q) > 1 || std::abs(k) > 1) continue;
      Variant& variant = add("wrong-rope-pairing", order.label, order.mend);
      variant.q_reorder = q;
      variant.k_reorder = k;
    }
    if (base.q_reorder == 1 && base.k_reorder == 1) {  // the fault under test, where it is one of the run
      Variant& variant = add("wrong-rope-pairing", "neighbouring pairs", "");
      variant.q_reorder = variant.k_reorder = 0;
    }
  }
  for (const int shift : {-1, 1})
    add("position-offset", fmt::format("queries {:+} positions", shift), "").query_shift += shift;
}

}  // namespace

std::vector<Probe> probes(const Architecture& config, const Variant& base) {
  std::vector<Probe> all;
  const auto add = [&](const char* check, std::string label, std::string mend) -> Variant& {
    return all.emplace_back(Probe{check, std::move(label), std::move(mend), base}).variant;
  };
  Probe scale{"wrong-scale", {}, {}, base, 1};
  for (const double power : {-3.0, -2.0, -1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0, 3.0})
    all.push_back(refined(scale, config, base, std::exp2(power)));
  if (rotates(config)) rotary_probes(config, base, all);
  if (config.kv_heads < 2) return all;
  const int group = config.heads / config.kv_heads;
  const auto map = [&](std::string label, std::string mend, const auto& of_head) {
    std::vector<int> kv;
    for (int h = 0; h < config.heads; ++h) kv.push_back(of_head(h));
    const auto own_map = [&](int h) {
      return base.kv_of_head.empty() ? h / group : base.kv_of_head[static_cast<size_t>(h)];
    };
    bool same = true;
    for (int h = 0; h < config.heads; ++h) same = same && kv[static_cast<size_t>(h)] == own_map(h);
    if (!same) add("wrong-gqa-map", std::move(label), std::move(mend)).kv_of_head = std::move(kv);
  };
  if (group > 1) {
    map("keys tiled over the heads", "", [&](int h) { return h % config.kv_heads; });
    if (!base.kv_of_head.empty()) map("keys repeated per group", "", [&](int h) { return h / group; });
  }
  // Orders of the key-value heads: all of two or three, of more the reverse and one further either way.
  std::vector<std::vector<int>> orders;
  std::vector<int> order(static_cast<size_t>(config.kv_heads));
  std::iota(order.begin(), order.end(), 0);
  if (config.kv_heads <= 3) {
    while (std::next_permutation(order.begin(), order.end())) orders.push_back(order);
  } else {
    orders.emplace_back(order.rbegin(), order.rend());
    for (const size_t by : {size_t{1}, order.size() - 1}) {
      orders.push_back(order);
      std::rotate(orders.back().begin(), orders.back().begin() + static_cast<int64_t>(by), orders.back().end());
    }
  }
  for (const auto& one : orders) {
    std::string said;
    for (const int kv : one) said += (said.empty() ? "" : ", ") + std::to_string(kv);
    map("key-value heads in the order " + said,
        "the heads of attn_k and attn_v have to stand in the order " + said + " (counted as they stand now)",
        [&](int h) { return one[static_cast<size_t>(h / group)]; });
  }
  return all;
}

Probe refined(const Probe& probe, const ModelConfig& config, const Variant& base, double factor) {
  Probe other = probe;
  other.number *= factor;
  const double number = other.number;
  const auto key = [&](const char* name) { return config.architecture + "." + name; };
  if (probe.check == "wrong-scale") {
    other.variant.query_scale = base.query_scale * static_cast<float>(number);
    other.label = fmt::format("scores times {:.3g}", number);
    other.mend = fmt::format("the rows of attn_q have to be {:.3g} times as large", number);
  } else if (probe.check == "wrong-rope-base") {
    other.variant.rope_base = static_cast<float>(number);
    other.label = fmt::format("rope base {:.0f}", number);
    other.mend = fmt::format("{} has to be {:.0f}", key("rope.freq_base"), number);
  } else {
    other.variant.position_factor = base.position_factor * number;
    other.label = fmt::format("positions times {:.3g}", number);
    const double stretch = static_cast<double>(config.rope_scaling.factor) / other.variant.position_factor;
    other.mend = std::abs(stretch - 1) < 0.01
                     ? key("rope.scaling.type") + " has to be none"
                     : fmt::format("{} has to be linear and {} {:.3g}", key("rope.scaling.type"),
                                   key("rope.scaling.factor"), stretch);
  }
  return other;
}

std::string why_not_probed(const Evidence& evidence) {
  const double repeated = repeated_triples(evidence.observation->tokens());
  if (repeated > most_repeated)
    return fmt::format(
        "The text repeats itself: {:.0f} % of its token triples were there before. What predicts it "
        "better would say nothing about the model, so nothing was probed.",
        100 * repeated);
  if (evidence.nll > unpredicted && evidence.plain_nll < chance)
    return fmt::format(
        "The model does not predict this text, {:.2f} nats per token, but a plain English one, {:.2f}. "
        "What predicts it better would say nothing about the model, so nothing was probed.",
        evidence.nll, evidence.plain_nll);
  return {};
}

Scored score_plain(const std::shared_ptr<const Model>& model, const DiagnoseOptions& how) {
  DiagnoseOptions plain;  // a table is of the text's own tokens
  plain.threads = how.threads;
  if (how.variant != nullptr) {
    Variant variant = *how.variant;
    variant.table = {};
    plain.variant = std::make_shared<const Variant>(std::move(variant));
  }
  const Tokenizer& tokenizer = model->tokenizer();
  auto tokens = tokenizer.encode(plain_text, false, tokenizer.spec().add_bos);
  const auto most = static_cast<size_t>(model->config().context_length);
  if (tokens.size() > most) tokens.resize(most);
  return score(model, tokens, plain);
}

void run_probes(const std::vector<Probe>& all, const ProbeRun& run, Evidence& evidence) {
  DiagnoseOptions other = run.options;
  const auto run_one = [&](const Probe& probe) {
    run.step();
    other.variant = std::make_shared<const Variant>(probe.variant);
    const Scored otherwise = score(run.model, run.tokens, other, &run.as_it_is);
    evidence.probes.push_back({probe.check, probe.label, otherwise.nll,
                               standard_error(run.as_it_is.surprise, otherwise.surprise), other.variant, probe.mend});
    return otherwise.nll;
  };
  const Probe* best = nullptr;
  double least = INFINITY;
  for (const Probe& probe : all)
    if (const double nll = run_one(probe); nll < least) least = nll, best = &probe;
  if (best == nullptr || !better(evidence, *best_of(evidence))) return;
  if (best->number != 0) {  // a round number stays, unless another is clearly better
    Probe at = *best;
    for (const double step : {std::exp2(0.25), std::exp2(0.125)}) {
      const Probe from = at;
      const double by = at.check == "wrong-rope-base" ? std::pow(step, 4) : step;  // a base counts by its logarithm
      for (const double factor : {by, 1 / by}) {
        const Probe tried = refined(from, run.model->config(), *run.options.variant, factor);
        if (const double nll = run_one(tried); nll < least - nll_gain)
          least = nll, at = tried;
        else
          evidence.probes.pop_back();
      }
    }
  }
  run.step();
  const auto named = std::find_if(evidence.probes.begin(), evidence.probes.end(),
                                  [&](const ProbeResult& probe) { return &probe == best_of(evidence); });
  other.variant = named->variant;
  const Scored plain = score_plain(run.model, other);
  named->plain_nll = plain.nll;
  named->plain_error = standard_error(run.plain.surprise, plain.surprise);
}

}  // namespace diagnosing
}  // namespace bareattn
