// See measures_report.h. Definitions: docs/measures.md.
#include "reports/measures_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "console/terminal.h"
#include "reports/json_text.h"
#include "reports/sweep_json.h"

namespace bareattn::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t table_width = 80;

double mean_of(const MeasuresReport& r, Measure measure, const HeadSweep& head) {
  return r.value_weighted ? head.of_shares[static_cast<size_t>(measure)] : r.observation->mean(measure, head.head);
}

bool is_shown(const MeasuresReport& r, Measure measure) {
  if (r.value_weighted && (measure == Measure::lse || measure == Measure::max_logit)) return false;
  return r.shown.has(measure);
}

double span_mean(const MeasuresReport& r, size_t set, const HeadSweep& head) {
  return r.value_weighted ? head.spans[set] : mean_span_mass(*r.observation, static_cast<int>(set), head.head);
}

double flow_of(const MeasuresReport& r, size_t from, size_t to, size_t sets, const HeadSweep& head) {
  if (r.value_weighted) return head.flow[from * sets + to];
  return span_flow(*r.observation, static_cast<int>(from), static_cast<int>(to), head.head);
}

// Two spans that a measure is made of, and that measure of a head.
struct Pair {
  const char* id;
  const char* title;
  std::string first, second;
  std::function<double(HeadId)> of;
};

// Lookback ratios of every span and one that begins after it; focus scores of every two.
std::vector<Pair> pairs_of(const MeasuresReport& r) {
  std::vector<Pair> pairs;
  if (r.value_weighted || !r.shown.spans) return pairs;
  const auto sets = r.observation->span_sets();
  for (size_t a = 0; a < sets.size(); ++a)
    for (size_t b = 0; b < sets.size(); ++b) {
      if (a == b || sets[a].ranges.empty() || sets[b].ranges.empty()) continue;
      const int first = static_cast<int>(a), second = static_cast<int>(b);
      if (sets[a].ranges.back().end <= sets[b].ranges.front().begin)
        pairs.push_back(
            {"lookback_ratio", "Lookback ratio", sets[a].name, sets[b].name,
             [&o = *r.observation, first, second](HeadId h) { return lookback_ratio(o, first, second, h); }});
      pairs.push_back({"focus_score", "Focus score", sets[a].name, sets[b].name,
                       [&o = *r.observation, first, second](HeadId h) { return focus_score(o, first, second, h); }});
    }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& a, const Pair& b) { return std::string_view(a.id) > std::string_view(b.id); });
  return pairs;
}

Json infos_json(const MeasuresReport& r) {
  Json infos = Json::array();
  for (int m = 0; m < measure_count; ++m) {
    if (!is_shown(r, static_cast<Measure>(m))) continue;
    const MeasureInfo& info = measure_info(static_cast<Measure>(m));
    infos.push_back({{"id", info.id}, {"title", info.title}, {"unit", info.unit}, {"description", info.description}});
  }
  append_swept_infos(infos, r.groups);
  return infos;
}

void add_spans(Json& one, const MeasuresReport& r, const std::vector<Pair>& pairs, const HeadSweep& head) {
  const auto sets = r.observation->span_sets();
  if (sets.empty() || !r.shown.spans) return;
  for (size_t s = 0; s < sets.size(); ++s) one["spans"][sets[s].name] = json_number(span_mean(r, s, head));
  for (size_t from = 0; from < sets.size(); ++from)
    for (size_t to = 0; to < sets.size(); ++to)
      one["span_flow"][sets[from].name][sets[to].name] = json_number(flow_of(r, from, to, sets.size(), head));
  for (const Pair& pair : pairs) one[pair.id][pair.first][pair.second] = json_number(pair.of(head.head));
}

double mean_size(const std::vector<float>& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), 0.0) / static_cast<double>(sizes.size());
}

Json head_json(const MeasuresReport& r, const std::vector<Pair>& pairs, const HeadSweep& head) {
  const Observation& o = *r.observation;
  Json one{{"layer", head.head.layer}, {"head", head.head.head}, {"means", Json::object()}};
  for (int m = 0; m < measure_count; ++m) {
    const auto measure = static_cast<Measure>(m);
    if (is_shown(r, measure)) one["means"][measure_info(measure).id] = json_number(mean_of(r, measure, head));
  }
  add_sweep(one, head, r.groups);
  if (!r.value_weighted && r.shown.columns) one["gathered"] = gathered_json(o, head.head);
  if (!r.value_weighted && r.shown.columns && r.shown.spans) {
    Json values = Json::array();
    for (const double x : laplacian_eigenvalues(o, head.head, 10)) values.push_back(json_number(x));
    one["laplacian"] = std::move(values);
  }
  if (!r.value_weighted && r.shown.values) {
    const std::vector<float> sizes = o.carried(head.head);
    const auto most = std::max_element(sizes.begin(), sizes.end());
    one["carried"] = {{"mean", json_number(mean_size(sizes))},
                      {"largest", {{"key", most - sizes.begin()}, {"size", json_number(static_cast<double>(*most))}}}};
  }
  add_spans(one, r, pairs, head);
  return one;
}

std::string cell(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : std::string("-");
}

struct Column {
  std::string title;
  int width;
  std::function<std::string(const HeadSweep&)> of;
};

void add_pass(std::vector<Column>& columns, const MeasuresReport& r) {
  const auto add = [&](const char* title, int width, Measure measure, int digits) {
    if (!is_shown(r, measure)) return;
    columns.push_back({title, width, [&r, measure, digits](const HeadSweep& head) {
                         return cell(mean_of(r, measure, head), digits);
                       }});
  };
  add("most", 6, Measure::max_weight, 3);
  add("maxscore", 8, Measure::max_logit, 2);
  add("lse", 7, Measure::lse, 2);
  add("entropy", 7, Measure::entropy, 2);
  add("context", 8, Measure::effective_context, 1);
  add("particip", 8, Measure::participation, 1);
  add("dist", 8, Measure::mean_distance, 1);
  add("recent", 6, Measure::recent_mass, 3);
  add("distdev", 8, Measure::distance_spread, 1);
  add("first", 6, Measure::first_mass, 3);
  add("self", 6, Measure::self_weight, 3);
  add("prev", 6, Measure::previous_weight, 3);
  const auto sets = r.observation->span_sets();
  for (size_t s = 0; r.shown.spans && s < sets.size(); ++s) {
    const std::string title(prefix(printable(sets[s].name), 12));
    columns.push_back({title, std::max(6, cli::columns(title)),
                       [&r, s](const HeadSweep& head) { return cell(span_mean(r, s, head), 3); }});
  }
  if (r.shown.columns && !r.value_weighted) {
    columns.push_back({"gathered", 12, [&r](const HeadSweep& head) {
                         const Gathered most = gathered(*r.observation, head.head);
                         return most.key < 0 ? std::string("-") : fmt::format("{} {:.3f}", most.key, most.share);
                       }});
  }
  if (r.shown.values && !r.value_weighted) {
    columns.push_back(
        {"carried", 8, [&r](const HeadSweep& head) { return cell(mean_size(r.observation->carried(head.head)), 3); }});
  }
}

void add_swept(std::vector<Column>& columns, const SweepGroups& groups) {
  const auto add = [&](const char* title, int width, Swept measure, int digits) {
    if (!groups.has(measure)) return;
    columns.push_back({title, width, [measure, digits](const HeadSweep& head) {
                         return cell(head.means[static_cast<size_t>(measure)], digits);
                       }});
  };
  add("keys90", 7, Swept::keys_90, 1);
  add("score", 7, Swept::logit_mean, 2);
  add("spread", 7, Swept::logit_deviation, 2);
  add("skew", 6, Swept::logit_skewness, 2);
  add("kurt", 6, Swept::logit_kurtosis, 1);
  add("ceiling", 7, Swept::weight_ceiling, 3);
  add("copies", 6, Swept::duplicate_weight, 3);
  add("after", 6, Swept::induction_weight, 3);
  if (groups.offsets) {
    columns.push_back({"stripe", 11, [](const HeadSweep& head) {
                         return head.stripe < 0 ? std::string("-")
                                                : fmt::format("{} {:.3f}", head.stripe, head.stripe_weight);
                       }});
  }
}

// The heads that are listed, in their order. By the number as it is shown, of a pair of numbers the last.
std::vector<HeadSweep> listed_heads(const MeasuresReport& r, const std::vector<Column>& columns) {
  std::vector<HeadSweep> heads = r.sweep->heads;
  if (!r.sort.empty()) {
    const auto column =
        std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.title == r.sort; });
    if (column == columns.end()) {
      std::string all;
      for (const Column& c : columns) all += (all.empty() ? "" : ", ") + c.title;
      throw InputError("--sort: there is no column '" + r.sort + "' here; columns are " + all);
    }
    std::vector<std::pair<double, size_t>> order;
    for (size_t i = 0; i < heads.size(); ++i) {
      const std::string text = column->of(heads[i]);
      order.emplace_back(text == "-" ? -HUGE_VAL : std::stod(text.substr(text.rfind(' ') + 1)), i);
    }
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<HeadSweep> sorted;
    for (const auto& [value, i] : order) sorted.push_back(std::move(heads[i]));
    heads = std::move(sorted);
  }
  if (r.top > 0 && static_cast<size_t>(r.top) < heads.size()) heads.resize(static_cast<size_t>(r.top));
  return heads;
}

// One table of those columns that fit, then the next.
std::string tables_of(const std::vector<Column>& columns, const std::vector<HeadSweep>& heads) {
  std::string out;
  for (size_t begin = 0, end = 0; begin < columns.size(); begin = end) {
    size_t used = 7;
    for (; end < columns.size() && used + 1 + static_cast<size_t>(columns[end].width) <= table_width; ++end)
      used += 1 + static_cast<size_t>(columns[end].width);
    out += fmt::format("\n{:<7}", "Head");
    for (size_t c = begin; c < end; ++c) out += ' ' + padded_left(columns[c].title, columns[c].width);
    out += '\n';
    for (const HeadSweep& head : heads) {
      out += fmt::format("{:<7}", head_name(head.head));
      for (size_t c = begin; c < end; ++c) out += ' ' + padded_left(columns[c].of(head), columns[c].width);
      out += '\n';
    }
  }
  return out;
}

// The heads with the most and the least of what two spans make.
std::string pair_text(const Pair& pair, const Sweep& sweep) {
  std::vector<std::pair<double, HeadId>> all;
  double sum = 0;
  for (const HeadSweep& head : sweep.heads) {
    const double value = pair.of(head.head);
    if (!std::isfinite(value)) continue;
    all.emplace_back(value, head.head);
    sum += value;
  }
  const std::string title = fmt::format("{}, {} to {}: ", pair.title, printable(pair.first), printable(pair.second));
  if (all.empty()) return title + "not defined\n";
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string text = fmt::format("{}mean {:.3f}; most", title, sum / static_cast<double>(all.size()));
  for (size_t i = 0; i < std::min<size_t>(3, all.size()); ++i)
    text += fmt::format("{} {}.{} {:.3f}", i == 0 ? "" : ",", all[i].second.layer, all[i].second.head, all[i].first);
  text += fmt::format("; least {}.{} {:.3f}", all.back().second.layer, all.back().second.head, all.back().first);
  return wrapped(text, table_width, 2, 0) + '\n';
}

}  // namespace

std::string measures_json(const MeasuresReport& r) {
  const Observation& o = *r.observation;
  const std::vector<Pair> pairs = pairs_of(r);
  Json heads = Json::array();
  for (const HeadSweep& head : r.sweep->heads) heads.push_back(head_json(r, pairs, head));
  const Json document{{"kind", "bareattn.measures"},
                      {"version", 1},
                      {"model_sha256", o.model().sha256()},
                      {"tokens", o.tokens().size()},
                      {"rows", r.sweep->rows},
                      {"store", store_of(o)},
                      {"value_weighted", r.value_weighted},
                      {"measures", infos_json(r)},
                      {"heads", heads}};
  return json_text(document);
}

std::string measures_text(const MeasuresReport& r) {
  const auto length = static_cast<int64_t>(r.observation->tokens().size());
  std::vector<Column> columns;
  if (r.listed) add_pass(columns, r);
  add_swept(columns, r.groups);
  std::string out = fmt::format("Means over {} of {} tokens{}; weights from Q and K in {}\n", grouped(r.sweep->rows),
                                grouped(length), r.value_weighted ? ", value-weighted" : "", store_of(*r.observation));
  if (r.listed && !r.value_weighted && r.sweep->rows < length - 1)
    out += "(up to gathered and carried: of the pass itself, over all tokens)\n";
  const std::vector<HeadSweep> heads = listed_heads(r, columns);
  out += tables_of(columns, heads);
  if (heads.size() < r.sweep->heads.size())
    out += fmt::format("and {} other heads\n", grouped(static_cast<int64_t>(r.sweep->heads.size() - heads.size())));
  const std::vector<Pair> pairs = pairs_of(r);
  if (!pairs.empty()) out += '\n';
  for (const Pair& pair : pairs) out += pair_text(pair, *r.sweep);
  return out;
}

}  // namespace bareattn::cli
