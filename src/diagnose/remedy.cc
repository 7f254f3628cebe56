// What undoes a finding. Where weights were multiplied, a steering file divides them again, exactly; where a mask, a
// map or a position was wrong, the remedy is the run with that setting as a model of this file has it; where the text
// was wrong, it is the text. Nothing is guessed: a finding that names no cause (row-sum) has no remedy. See
// diagnosis.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "diagnose/gather.h"

namespace bareattn::diagnosing {
namespace {

using Kind = Intervention::Kind;

/// The heads as patterns, whole layers and all heads as one.
std::vector<std::string> patterns(const std::vector<HeadId>& heads, const ModelConfig& config) {
  std::vector<int> of_layer(static_cast<size_t>(config.layers));
  for (const HeadId head : heads) ++of_layer[static_cast<size_t>(head.layer)];
  if (static_cast<int>(heads.size()) == config.layers * config.heads) return {"*"};
  std::vector<std::string> all;
  for (int layer = 0; layer < config.layers; ++layer)
    if (of_layer[static_cast<size_t>(layer)] == config.heads) all.push_back(fmt::format("{}.*", layer));
  for (const HeadId head : heads)
    if (of_layer[static_cast<size_t>(head.layer)] != config.heads) all.push_back(head_name(head));
  return all;
}

Intervention make(Kind kind, double value, std::vector<std::string> heads) {
  Intervention one;
  one.kind = kind;
  one.value = value;
  one.heads = std::move(heads);
  return one;
}

// All heads where a finding names more than two thirds of them, and (a scale is never of single heads) whole layers
// where it names more than half: some heads are touched too slightly to be told by their sums.
std::vector<HeadId> completed(const std::vector<HeadId>& heads, const ModelConfig& config, bool layers) {
  std::vector<int> of_layer(static_cast<size_t>(config.layers));
  for (const HeadId head : heads) ++of_layer[static_cast<size_t>(head.layer)];
  std::vector<HeadId> all;
  const bool everywhere = 3 * static_cast<int>(heads.size()) > 2 * config.layers * config.heads;
  for (int layer = 0; layer < config.layers; ++layer)
    for (int head = 0; head < config.heads; ++head)
      if (everywhere || (layers && 2 * of_layer[static_cast<size_t>(layer)] > config.heads) ||
          std::find(heads.begin(), heads.end(), HeadId{layer, head}) != heads.end())
        all.push_back({layer, head});
  return all;
}

// -inf on spans that hold a key of [begin, end), taken away.
void uncut(ScoreTable& table, int64_t begin, int64_t end) {
  std::vector<char> spans(static_cast<size_t>(table.key_spans), 0);
  for (int64_t j = begin; j < std::min(end, static_cast<int64_t>(table.key_span.size())); ++j)
    spans[table.key_span[static_cast<size_t>(j)]] = 1;
  for (LayerTable& layer : table.layers)
    for (size_t i = 0; i < layer.value.size(); ++i)
      if (spans[i % static_cast<size_t>(table.key_spans)] != 0 && std::isinf(layer.value[i])) layer.value[i] = 0;
}

// Rows of each document see only its own keys; rows of the text see no padding.
std::vector<Intervention> separate(const std::vector<int32_t>& document) {
  std::vector<Intervention> all;
  const auto n = static_cast<int64_t>(document.size());
  for (int64_t begin = 0, end = 0; begin < n; begin = end) {
    while (end < n && document[static_cast<size_t>(end)] == document[static_cast<size_t>(begin)]) ++end;
    if (begin == 0 || document[static_cast<size_t>(begin)] < 0) continue;
    Intervention cut = make(Kind::knockout, 1, {"*"});
    cut.rows = {{begin, end == n ? -1 : end}};
    cut.keys = {{0, begin}};
    all.push_back(std::move(cut));
  }
  return all;
}

template <class Change>
void as_it_should_be(Remedy& remedy, const Evidence& evidence, std::string what, const Change& change) {
  Variant variant = *evidence.base;
  change(variant);
  remedy.what = std::move(what);
  remedy.variant = std::make_shared<const Variant>(std::move(variant));
}

void of_span(Finding& f, const Evidence& evidence) {
  const bool cut = f.value < 0.05;
  const std::string tokens =
      f.last > f.token ? fmt::format("tokens {} to {}", f.token, f.last) : fmt::format("token {}", f.token);
  if (cut) {
    as_it_should_be(f.remedy, evidence, "let " + tokens + " be seen again",
                    [&](Variant& v) { uncut(v.table, f.token, f.last + 1); });
    return;
  }
  const ModelConfig& config = evidence.observation->model().config();
  Intervention boost = make(Kind::boost, 1 / f.value, patterns(completed(f.heads, config, false), config));
  boost.keys = {{f.token, f.last + 1}};
  f.remedy.what = fmt::format("multiply the weights on {} by {:.3g}", tokens, boost.value);
  f.remedy.interventions = {std::move(boost)};
}

void of_heads(Finding& f, const Evidence& evidence) {
  const ModelConfig& config = evidence.observation->model().config();
  if (f.check == "duplicate-heads") {
    as_it_should_be(f.remedy, evidence, "give every head its own slice of the query projection",
                    [](Variant& v) { v.copied_head.clear(); });
  } else if (f.check == "dead-head") {
    as_it_should_be(f.remedy, evidence, fmt::format("let head {}.{} write again", f.head.layer, f.head.head),
                    [&](Variant& v) {
                      if (v.table.layers.empty()) return;
                      auto& scale = v.table.layers[static_cast<size_t>(f.head.layer)].output_scale;
                      if (!scale.empty()) scale[static_cast<size_t>(f.head.head)] = 1;
                    });
  } else if (f.check == "wrong-scale") {
    f.remedy.interventions = {make(Kind::temperature, f.value, patterns(completed(f.heads, config, true), config))};
    f.remedy.what = fmt::format("divide the scores by {:.3g}", f.value);
  } else {
    as_it_should_be(f.remedy, evidence,
                    fmt::format("give the queries of layer {} the size that the file says", f.head.layer),
                    [](Variant& v) { v.query_scale = 1; });
  }
}

void propose_cause(Finding& f, const Evidence& evidence) {
  const auto is = [&](auto... names) { return ((f.check == names) || ...); };
  if (is("peripheral-made-central", "noise-as-signal", "keys-unavailable", "sink-lost")) {
    of_span(f, evidence);
  } else if (is("wrong-scale", "duplicate-heads", "dead-head", "entropy-collapse", "entropy-blow-up")) {
    of_heads(f, evidence);
  } else if (is("padding-leak", "cross-document-leak")) {
    f.remedy.what = is("padding-leak") ? "cut the padding" : "cut what lies in other documents";
    f.remedy.interventions = separate(evidence.expectations.document);
  } else if (is("future-leak")) {
    as_it_should_be(f.remedy, evidence, "let rows see no key after their own", [](Variant& v) { v.future = 0; });
  } else if (is("wrong-window")) {
    as_it_should_be(f.remedy, evidence, "run with the window that was declared", [&](Variant& v) {
      v.window = evidence.expectations.window;
      v.window_every = 1;
    });
  } else if (is("wrong-gqa-map")) {
    as_it_should_be(f.remedy, evidence, "let query head h read key-value head h / (Hq / Hkv)",
                    [](Variant& v) { v.kv_of_head.clear(); });
  } else if (is("temperature-drift")) {
    as_it_should_be(f.remedy, evidence, "take the factor by position out", [](Variant& v) { v.drift = 0; });
  } else if (is("extra-denominator")) {
    as_it_should_be(f.remedy, evidence, "take the extra logit out of the denominator", [](Variant& v) {
      for (LayerTable& layer : v.table.layers) layer.sinks.clear();
    });
  } else if (is("cache-inconsistent")) {
    as_it_should_be(f.remedy, evidence, "give cached keys the positions they have in one run",
                    [](Variant& v) { v.late_shift = 0; });
  } else if (is("rope-shift")) {
    as_it_should_be(f.remedy, evidence, "let positions go on", [](Variant& v) { v.position_limit = 0; });
  } else if (is("bos-doubled", "bos-missing")) {
    const auto& tokens = evidence.observation->tokens();
    f.remedy.tokens = tokens;
    if (is("bos-doubled"))
      f.remedy.tokens.erase(f.remedy.tokens.begin());
    else
      f.remedy.tokens.insert(f.remedy.tokens.begin(), evidence.bos);
    f.remedy.what = is("bos-doubled") ? "drop one of the two tokens" : "begin with the begin-of-text token";
    f.remedy.place = RemedyPlace::text;
  } else if (is("wrong-softcap")) {
    f.remedy.what = "take the cap off the scores";
  } else if (is("keys-evicted")) {
    f.remedy.what = fmt::format("keep tokens {} to {} for all rows", f.token, f.last);
  }
  if (!f.remedy.interventions.empty()) f.remedy.place = RemedyPlace::steering;
}

}  // namespace

void propose(Finding& f, const Evidence& evidence) {
  propose_cause(f, evidence);
  // A model that was run as its file says was run by this program: what is wrong with such a run is in the file.
  const bool of_file = f.check == "duplicate-heads" || f.check == "dead-head" || f.check == "entropy-collapse" ||
                       f.check == "entropy-blow-up";
  if (!of_file || f.remedy.what.empty()) return;
  f.remedy.place = RemedyPlace::file;
  f.remedy.mend = fmt::format(
      "layer {}'s attn_q, attn_k, attn_v and their norm have to be what the model was trained with", f.head.layer);
}

}  // namespace bareattn::diagnosing
