// How every command prints JSON: one place, so that no text of a model or a prompt can reorder a terminal's line or
// hide in it. What is no valid UTF-8 becomes U+FFFD. Ends with a line end.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "bareattn/files.h"

namespace bareattn::cli {

/// `indent` spaces a level; -1: all in one line.
template <class Json>
std::string json_text(const Json& json, int indent = 1) {
  return printable_json(json.dump(indent, ' ', false, Json::error_handler_t::replace)) + "\n";
}

}  // namespace bareattn::cli
