// See agreement_report.h.
#include "reports/agreement_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bareattn::cli {
namespace {

// The `count` pairs with the smallest key.
template <class Key>
std::vector<HeadPair> smallest(std::vector<HeadPair> pairs, int count, const Key& key) {
  const auto value = [&](const HeadPair& pair) { return std::isnan(key(pair)) ? -HUGE_VAL : key(pair); };
  std::stable_sort(pairs.begin(), pairs.end(),
                   [&](const HeadPair& x, const HeadPair& y) { return value(x) < value(y); });
  if (pairs.size() > static_cast<size_t>(count)) pairs.resize(static_cast<size_t>(count));
  return pairs;
}

}  // namespace

std::vector<PairRanking> rank_pairs(const Agreement& agreement, int count) {
  const auto& all = agreement.pairs;
  std::vector<PairRanking> rankings;
  rankings.push_back({"They look at the same tokens", smallest(all, count, [](const HeadPair& p) { return p.js; })});
  rankings.push_back({"They look at different tokens", smallest(all, count, [](const HeadPair& p) { return -p.js; })});
  const bool outputs =
      std::any_of(all.begin(), all.end(), [](const HeadPair& p) { return !std::isnan(p.output_cosine); });
  if (outputs) {
    std::vector<HeadPair> against;
    for (const HeadPair& pair : all)
      if (!(pair.output_cosine >= 0)) against.push_back(pair);
    rankings.push_back(
        {"What they write contradicts", smallest(against, count, [](const HeadPair& p) { return p.output_cosine; })});
    rankings.push_back({"What they write points the same way",
                        smallest(all, count, [](const HeadPair& p) { return -p.output_cosine; })});
  }
  std::erase_if(rankings, [](const PairRanking& ranking) { return ranking.pairs.empty(); });
  return rankings;
}

std::string pair_table(const std::vector<HeadPair>& pairs) {
  std::string table = fmt::format("  {:<16} {:>9} {:>9} {:>9}\n", "Heads", "JS", "weights", "output");
  for (const HeadPair& pair : pairs) {
    table += fmt::format(
        "  {:<16} {:>9.4f} {:>9.3f} {:>9}\n", fmt::format("{}.{} and {}.{}", pair.layer, pair.a, pair.layer, pair.b),
        pair.js, pair.weight_cosine, std::isnan(pair.output_cosine) ? "-" : fmt::format("{:+.3f}", pair.output_cosine));
  }
  return table;
}

nlohmann::ordered_json agreement_json(const Agreement& agreement) {
  using Json = nlohmann::ordered_json;
  const auto number = [](double value) {
    return std::isfinite(value) ? Json(std::stod(fmt::format("{:.7g}", value))) : Json(nullptr);
  };
  Json pairs = Json::array();
  for (const HeadPair& pair : agreement.pairs) {
    pairs.push_back({{"a", head_name({pair.layer, pair.a})},
                     {"b", head_name({pair.layer, pair.b})},
                     {"js", number(pair.js)},
                     {"weight_cosine", number(pair.weight_cosine)},
                     {"output_cosine", number(pair.output_cosine)}});
  }
  return {{"rows", agreement.rows}, {"pairs", std::move(pairs)}};
}

}  // namespace bareattn::cli
