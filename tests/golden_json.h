// A golden file of tests/golden, parsed.
#pragma once
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace bareattn::test {

inline nlohmann::json golden_json(const std::string& name) {
  std::ifstream file(BAREATTN_SOURCE_DIR "/tests/golden/" + name);
  EXPECT_TRUE(file) << "tests/golden/" << name << " is missing";
  return nlohmann::json::parse(file);
}

}  // namespace bareattn::test
