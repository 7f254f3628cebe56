// See second_look.h.
#include "reports/second_look.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bareattn::cli {
namespace {

// Mean over the heads, and the heads with the least and the most.
std::string extremes(const Sweep& sweep, Swept measure, int digits) {
  const auto at = static_cast<size_t>(measure);
  const HeadSweep *least = nullptr, *most = nullptr;
  double sum = 0, count = 0;
  for (const HeadSweep& head : sweep.heads) {
    const double value = head.means[at];
    if (!std::isfinite(value)) continue;
    sum += value, count += 1;
    if (least == nullptr || value < least->means[at]) least = &head;
    if (most == nullptr || value > most->means[at]) most = &head;
  }
  if (least == nullptr) return "not defined in this text";
  return fmt::format("{:.{}f} on average; {:.{}f} (head {}) to {:.{}f} (head {})", sum / count, digits,
                     least->means[at], digits, head_name(least->head), most->means[at], digits, head_name(most->head));
}

std::string strongest_stripes(const Sweep& sweep) {
  std::vector<const HeadSweep*> heads;
  for (const HeadSweep& head : sweep.heads)
    if (head.stripe >= 0) heads.push_back(&head);
  if (heads.empty()) return "the text is too short for any";
  std::stable_sort(heads.begin(), heads.end(),
                   [](const HeadSweep* a, const HeadSweep* b) { return a->stripe_weight > b->stripe_weight; });
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(3, heads.size()); ++i)
    text += fmt::format("{}head {} {:.3f} at distance {}", i == 0 ? "" : "; ", head_name(heads[i]->head),
                        heads[i]->stripe_weight, heads[i]->stripe);
  return text;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> second_look_lines(const Sweep& sweep, const SweepGroups& groups) {
  std::vector<std::pair<std::string, std::string>> lines;
  const auto add = [&](Swept measure, int digits) {
    lines.emplace_back(swept_info(measure).title, extremes(sweep, measure, digits));
  };
  if (groups.coverage) add(Swept::keys_90, 1);
  if (groups.scores) {
    add(Swept::logit_mean, 2);
    add(Swept::logit_deviation, 2);
    add(Swept::weight_ceiling, 3);
  }
  if (groups.repeats) {
    add(Swept::duplicate_weight, 3);
    add(Swept::induction_weight, 3);
  }
  if (groups.offsets) lines.emplace_back("Strongest stripes", strongest_stripes(sweep));
  return lines;
}

}  // namespace bareattn::cli
