// Warnings on stderr, one line each, safe to print.
#pragma once
#include <string_view>

namespace bareattn::cli {

void warn(std::string_view sentence);
/// Says once where the system gave fewer threads than were asked for; nothing where it gave all.
void warn_of_few_threads();

}  // namespace bareattn::cli
