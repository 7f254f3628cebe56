// A tiny model whose scores use every field of a ScoreRule at once: scale, softcap, two windows in turn, sink logits,
// ALiBi beside the rotation. No file of a known family says so: the architecture is edited.
#pragma once
#include <limits>
#include <memory>

#include "gguf_builder.h"
#include "model/loaded_model.h"

namespace bareattn::test {

inline void use_every_rule(Architecture& architecture) {
  LayerArchitecture near, far;
  near.scores.scale = 0.3F;
  near.scores.softcap = 2.5F;
  near.scores.left_window = 40;
  near.scores.alibi_slopes = {0.5F, 0.25F, 0.125F, -0.01F};
  near.scores.sinks = {0.5F, -1.0F, 2.0F, -std::numeric_limits<float>::infinity()};
  far.scores = near.scores;
  far.scores.scale = 0.2F;
  far.scores.softcap = 4;
  far.scores.left_window = 600;
  architecture.per_layer = {near, far};
}

inline std::shared_ptr<const Model> every_rule_model() {
  static const TemporaryFile file(tiny_llama().build());
  static const auto model =
      std::make_shared<const model::LoadedModel>(file.path(), LoadOptions{.threads = 2}, use_every_rule);
  return model;
}

}  // namespace bareattn::test
