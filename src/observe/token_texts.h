// Token bytes to texts that can be shown: one valid UTF-8 string per token (Observation::token_texts).
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace bareattn::observing {

/// A character split over tokens stands whole at the token that holds its first byte; each maximal invalid sequence is
/// one U+FFFD there. Linear time.
std::vector<std::string> token_texts(const std::vector<std::string_view>& pieces);

}  // namespace bareattn::observing
