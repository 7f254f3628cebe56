// Limits far above any real model, low enough that no product of a few of them comes near 2^63.
#pragma once
#include <cstdint>

namespace bareattn::model {

constexpr uint64_t max_layers = 4'096;
constexpr uint64_t max_heads = 65'536;
constexpr uint64_t max_width = 1'048'576;
constexpr uint64_t max_context = 1'073'741'824;
constexpr uint64_t max_vocabulary = 4'194'304;
constexpr uint64_t max_merges = 1'048'576;  // twice what the largest vocabularies have (514,906 for 262,144 tokens)

}  // namespace bareattn::model
