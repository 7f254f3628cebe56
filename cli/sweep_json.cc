// See sweep_json.h.
#include "sweep_json.h"

#include <fmt/format.h>

#include <cmath>

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

}  // namespace bareattn::cli
