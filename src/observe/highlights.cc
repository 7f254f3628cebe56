// The rankings of highlights.h. Each gives every head a value from its means, rows and received weight, and a floor
// below which it names nobody; one sentence per head is made only for those that are named.
// To add a ranking: an entry in `rankings`, a line in docs/measures.md.
#include "bareattn/highlights.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "base/float_environment.h"
#include "observe/measures.h"
#include "observe/roles.h"

namespace bareattn {
namespace {

using observing::percent;

struct Scored {
  double value = 0;
  std::string evidence;
};

struct Ranking {
  const char* id;
  const char* title;
  double floor;  // named only from here on
  Scored (*score)(const Observation&, HeadId);
};

int64_t length(const Observation& o) { return static_cast<int64_t>(o.tokens().size()); }

// Rows whose strongest key is neither the first token, nor the row's own, nor the one before.
Scored pointer(const Observation& o, HeadId head) {
  const auto keys = o.max_key(head);
  const auto weights = o.rows(Measure::max_weight, head);
  double sum = 0, rows = 0;
  for (int64_t i = 1; i < length(o); ++i) {
    if (keys[i] <= 0 || keys[i] >= i - 1) continue;
    sum += weights[i];
    ++rows;
  }
  const double all = static_cast<double>(length(o) - 1);
  return {sum / all, fmt::format("at {} of the tokens it picks out one earlier token, with {} of the weight",
                                 percent(rows / all), percent(rows > 0 ? sum / rows : 0))};
}

Scored far(const Observation& o, HeadId head) {
  const auto recent = o.rows(Measure::recent_mass, head), first = o.rows(Measure::first_mass, head);
  double sum = 0;
  for (int64_t i = observing::recent_window; i < length(o); ++i) sum += 1.0 - recent[i] - first[i];
  const double rows = static_cast<double>(length(o) - observing::recent_window);
  const double share = rows > 0 ? sum / rows : 0;
  return {share, fmt::format("puts {} of its weight more than 64 tokens back, the first token aside", percent(share))};
}

Scored hub(const Observation& o, HeadId head) {
  const int64_t fewest = std::max<int64_t>(16, length(o) / 8);  // tokens after it, so that the share is of many
  const auto received = o.received(head);
  int64_t best = 0;
  double most = 0;
  for (int64_t j = 1; j + fewest < length(o); ++j) {
    const double share = received[j] / static_cast<double>(length(o) - j);
    if (share > most) most = share, best = j;
  }
  return {most, fmt::format("token {} '{}' gets {} of the weight of all tokens after it", best, o.token_texts()[best],
                            percent(most))};
}

template <Measure measure>
Scored by_role(const Observation& o, HeadId head, const char* name) {
  const Role role = o.role(head);
  return role.name == name ? Scored{o.mean(measure, head), role.evidence} : Scored{};
}

Scored local(const Observation& o, HeadId head) {
  Scored scored = by_role<Measure::recent_mass>(o, head, "local");
  if (scored.value > 0) scored.value = 1 / (1 + o.mean(Measure::mean_distance, head));  // the nearest first
  return scored;
}

constexpr std::array<Ranking, 8> rankings{{
    {"pointer", "Points at one token", 0.1, pointer},
    {"far", "Looks far back", 0.1, far},
    {"previous-token", "Looks one token back", 1e-9,
     [](const Observation& o, HeadId h) { return by_role<Measure::previous_weight>(o, h, "previous-token"); }},
    {"hub", "Gathers at one token", 0.1, hub},
    {"broad", "Spreads widely", 1e-9,
     [](const Observation& o, HeadId h) { return by_role<Measure::normalized_entropy>(o, h, "broad"); }},
    {"local", "Stays nearby", 1e-9, local},
    {"first-token", "Rests on the first token", 1e-9,
     [](const Observation& o, HeadId h) { return by_role<Measure::first_mass>(o, h, "first-token"); }},
    {"self", "Looks at itself", 1e-9,
     [](const Observation& o, HeadId h) { return by_role<Measure::self_weight>(o, h, "self"); }},
}};

struct Ranked {
  HeadId head;
  Scored scored;
};

// Best first; NaN counts as nothing; the lower head on a tie.
std::vector<Ranked> rank(const Observation& observation, const Ranking& ranking) {
  const ModelConfig& config = observation.model().config();
  std::vector<Ranked> ranked;
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int head = 0; head < config.heads; ++head) {
      const HeadId id{layer, head};
      Scored scored = ranking.score(observation, id);
      if (std::isnan(scored.value)) scored.value = 0;
      ranked.push_back({id, std::move(scored)});
    }
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Ranked& a, const Ranked& b) { return a.scored.value > b.scored.value; });
  return ranked;
}

std::vector<std::vector<Ranked>> rank_all(const Observation& observation) {
  std::vector<std::vector<Ranked>> all;
  if (length(observation) < 2) return all;
  for (const Ranking& ranking : rankings) all.push_back(rank(observation, ranking));
  return all;
}

}  // namespace

std::vector<Highlight> highlights(const Observation& observation) {
  const base::DefaultFloatEnvironment environment;
  const auto ranked = rank_all(observation);
  std::vector<Highlight> found;
  for (size_t r = 0; r < ranked.size(); ++r) {
    for (const auto& [head, scored] : ranked[r]) {
      if (scored.value < rankings[r].floor) break;
      if (std::any_of(found.begin(), found.end(), [&taken = head](const Highlight& h) { return h.head == taken; })) {
        continue;
      }
      found.push_back({rankings[r].id, rankings[r].title, head, scored.value, scored.evidence});
      break;
    }
  }
  return found;
}

std::vector<HeadId> telling_heads(const Observation& observation) {
  const base::DefaultFloatEnvironment environment;
  const ModelConfig& config = observation.model().config();
  const auto ranked = rank_all(observation);
  const int total = config.layers * config.heads;
  std::vector<HeadId> order;
  std::vector<bool> taken(total, false);
  const auto take = [&](HeadId head) {
    const int index = head.layer * config.heads + head.head;
    if (taken[index]) return false;
    taken[index] = true;
    order.push_back(head);
    return true;
  };
  std::vector<size_t> next(ranked.size(), 0);
  for (bool any = true; any;) {
    any = false;
    for (size_t r = 0; r < ranked.size(); ++r) {
      while (next[r] < ranked[r].size() && ranked[r][next[r]].scored.value >= rankings[r].floor) {
        if (take(ranked[r][next[r]++].head)) {
          any = true;
          break;
        }
      }
    }
  }
  for (int index = 0; index < total; ++index) take({index / config.heads, index % config.heads});
  return order;
}

}  // namespace bareattn
