// The names of the observation points (points.h) and the question who wants them (watch.h).
#include "bareattn/points.h"

#include <array>

#include "model/watch.h"

namespace bareattn {
namespace {

struct Name {
  bool in_layer;
  const char* name;
};
constexpr std::array<Name, point_count> names = {{
    {false, "hook_embed"},
    {true, "hook_resid_pre"},
    {true, "ln1.hook_normalized"},
    {true, "attn.hook_q"},
    {true, "attn.hook_k"},
    {true, "attn.hook_v"},
    {true, "attn.hook_rot_q"},
    {true, "attn.hook_rot_k"},
    {true, "attn.statistics"},
    {true, "attn.hook_z"},
    {true, "hook_attn_out"},
    {true, "hook_resid_mid"},
    {true, "ln2.hook_normalized"},
    {true, "mlp.hook_pre"},
    {true, "mlp.hook_pre_linear"},
    {true, "mlp.hook_post"},
    {true, "hook_mlp_out"},
    {true, "hook_resid_post"},
    {false, "ln_final.hook_normalized"},
    {false, "unembed.hook_logits"},
}};

bool in_layer(Point point) { return names[static_cast<size_t>(point)].in_layer; }

}  // namespace

std::string point_name(Point point, int layer) {
  const Name& name = names.at(static_cast<size_t>(point));
  return name.in_layer ? "blocks." + std::to_string(layer) + "." + name.name : name.name;
}

namespace model {

Watch::Watch(Observer* observer, int layers) : observer_(observer) {
  if (observer == nullptr) return;
  wanted_.assign(static_cast<size_t>(layers) + 1, 0);
  for (int layer = -1; layer < layers; ++layer) {
    for (int i = 0; i < point_count; ++i) {
      const auto point = static_cast<Point>(i);
      if (in_layer(point) == (layer >= 0) && observer->wants(point, layer))
        wanted_[static_cast<size_t>(layer + 1)] |= 1U << i;
    }
  }
}

}  // namespace model
}  // namespace bareattn
