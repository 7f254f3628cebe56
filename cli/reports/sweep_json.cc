// See sweep_json.h.
#include "reports/sweep_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bareattn/trace.h"

namespace bareattn::cli {

using Json = nlohmann::ordered_json;

Json json_number(double value) {
  if (!std::isfinite(value)) return nullptr;
  return std::stod(fmt::format("{:.7g}", value));
}

void append_swept_infos(Json& measures, const SweepGroups& groups) {
  for (int m = 0; m < swept_count; ++m) {
    if (!groups.has(static_cast<Swept>(m))) continue;
    const MeasureInfo& info = swept_info(static_cast<Swept>(m));
    measures.push_back(
        {{"id", info.id}, {"title", info.title}, {"unit", info.unit}, {"description", info.description}});
  }
}

void add_sweep(Json& head, const HeadSweep& sweep, const SweepGroups& groups) {
  for (int m = 0; m < swept_count; ++m) {
    if (!groups.has(static_cast<Swept>(m))) continue;
    head["means"][swept_info(static_cast<Swept>(m)).id] = json_number(sweep.means[static_cast<size_t>(m)]);
  }
  if (groups.offsets) {
    Json bins = Json::array();
    for (const double bin : sweep.distance_bins) bins.push_back(json_number(bin));
    head["distance_bins"] = std::move(bins);
    Json stripes = Json::array();
    for (const double stripe : sweep.stripes) stripes.push_back(json_number(stripe));
    head["stripes"] = std::move(stripes);
    head["stripe"] = nullptr;
    if (sweep.stripe >= 0) head["stripe"] = {{"distance", sweep.stripe}, {"weight", json_number(sweep.stripe_weight)}};
  }
  if (groups.repeats) {
    const auto match = [](const TemplateMatch& m) {
      return Json{{"mul", json_number(m.mul)}, {"abs", json_number(m.abs)}};
    };
    head["templates"] = {{"previous_token", match(sweep.previous_token)},
                         {"duplicate_token", match(sweep.duplicate_token)},
                         {"induction", match(sweep.induction)}};
  }
}

Gathered gathered(const Observation& observation, HeadId head) {
  const auto received = observation.received(head);
  Gathered best;
  const auto length = static_cast<int64_t>(received.size());
  for (int64_t j = 1; j + std::max<int64_t>(16, length / 8) < length; ++j) {
    const double share = received[static_cast<size_t>(j)] / static_cast<double>(length - j);
    if (share > best.share) best = {j, share};
  }
  return best;
}

Json gathered_json(const Observation& observation, HeadId head) {
  const Gathered best = gathered(observation, head);
  if (best.key < 0) return nullptr;
  return {{"key", best.key}, {"share", json_number(best.share)}};
}

const char* store_of(const Observation& observation) {
  const auto* trace = dynamic_cast<const Trace*>(&observation);
  return store_name(trace != nullptr ? trace->store() : Store::f16);  // a run in memory keeps f16
}

}  // namespace bareattn::cli
