// Makes the pages that the browser tests open, and what they must find in them: page_fixture OUTPUT_DIR.
//   long.html    2,000 tokens, 270 heads, within the default budget: some heads exact, the others pooled
//   hostile.html 120 tokens with hostile texts, 12 heads, all exact; one damaged
//   expected.json  tokens and the engine's weights of some rows, for both
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "bareattn/page.h"
#include "page_synthetic-inl.h"

namespace {

using namespace bareattn;
using bareattn::testing::SyntheticObservation;

nlohmann::json expected(const SyntheticObservation& observation, HeadId head, std::vector<int64_t> rows) {
  nlohmann::json out{{"tokens", observation.token_texts()}, {"head", {head.layer, head.head}}};
  for (const int64_t row : rows) {
    nlohmann::json keys = nlohmann::json::array();
    for (const auto& [key, weight] : observation.top_keys(head, row, 12)) keys.push_back({key, weight});
    out["rows"][std::to_string(row)] = {{"top", keys}, {"weights", observation.row_weights(head, row)}};
  }
  return out;
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error("could not write " + path.string());
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: page_fixture OUTPUT_DIR\n";
    return 2;
  }
  const std::filesystem::path dir = argv[1];
  std::filesystem::create_directories(dir);
  nlohmann::json out;

  const SyntheticObservation big({});
  PageOptions options;
  options.title = "A made-up text of 2,000 tokens";
  options.telling = {{1, 1}, {0, 0}};
  write(dir / "long.html", render_page(big, options));
  out["long"] = expected(big, {1, 1}, {0, 1, 812, 1999});

  bareattn::testing::SyntheticOptions small;
  small.layers = 4, small.heads = 3, small.kv_heads = 1, small.tokens = 120, small.hostile = true;
  SyntheticObservation bad(small);
  bad.damage({2, 1});
  PageOptions hostile;
  hostile.title = "</title><script>alert(1)</script> \xE2\x80\xAE title";
  write(dir / "hostile.html", render_page(bad, hostile));
  out["hostile"] = expected(bad, {0, 1}, {0, 5, 119});
  write(dir / "expected.json", out.dump());
  return 0;
} catch (const std::exception& e) {
  std::cerr << "page_fixture: " << e.what() << "\n";
  return 1;
}
