// The real model that tests run on: $BAREATTN_MODEL, else models/ in the source tree (./x model fetches it). A test
// that cannot have it fails and says how to get it; nothing is skipped in silence.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "bareattn/model.h"

namespace bareattn::test {

inline std::string model_path() {
  const char* path = std::getenv("BAREATTN_MODEL");
  if (path != nullptr && *path != 0) return path;
  return BAREATTN_SOURCE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

/// The model, loaded once per test program and pair of precisions.
inline std::shared_ptr<const Model> real_model(Precision precision = Precision::f32,
                                               Precision attention = Precision::f32) {
  static std::shared_ptr<const Model> models[2][2];
  auto& model = models[precision == Precision::bf16 ? 1 : 0][attention == Precision::bf16 ? 1 : 0];
  if (model == nullptr) {
    if (!std::filesystem::exists(model_path())) {
      ADD_FAILURE() << model_path() << " is missing: run ./x model, or set BAREATTN_MODEL";
      std::exit(1);
    }
    model = Model::load(model_path(), {.precision = precision, .attention = attention, .threads = 0});
  }
  return model;
}

}  // namespace bareattn::test
