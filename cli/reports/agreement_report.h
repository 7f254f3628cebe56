// How pairs of heads are ranked and shown, the same in `agree` and `look --measures agreement`.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bareattn/agreement.h"

namespace bareattn::cli {

struct PairRanking {
  std::string title;
  std::vector<HeadPair> pairs;
};

/// At most `count` pairs of each: those that look alike, those that look apart, and, where outputs were measured, those
/// whose outputs point against each other and the same way. NaN first, so that it shows; a ranking of none is left out.
std::vector<PairRanking> rank_pairs(const Agreement& agreement, int count);
/// A line per pair, at most 80 columns.
std::string pair_table(const std::vector<HeadPair>& pairs);
/// {"rows", "pairs"}: every pair; NaN is null.
nlohmann::ordered_json agreement_json(const Agreement& agreement);

}  // namespace bareattn::cli
