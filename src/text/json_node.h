// A JSON value and where it stands, for readers of files from strangers: what is asked of it must be there in the type
// that is asked for, or a FileError names the place ("model.merges[3]"), what was found and what was needed. A key that
// stands twice in an object is refused when the object is looked into. Used by tokenizer_json*.cc.
#pragma once
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bareattn/error.h"
#include "text/quote.h"

namespace bareattn::text {

class JsonNode {
 public:
  JsonNode(simdjson::dom::element value, std::string place, const std::string& path)
      : value_(value), place_(std::move(place)), path_(&path) {}

  [[noreturn]] void refuse(const std::string& sentence) const {
    throw FileError(*path_, FileError::no_offset, (place_.empty() ? "the file" : place_) + " " + sentence);
  }
  const std::string& place() const { return place_; }
  const std::string& path() const { return *path_; }
  bool is_null() const { return value_.is_null(); }
  bool is_object() const { return value_.is_object(); }
  bool is_string() const { return value_.is_string(); }

  std::string_view string() const { return get<std::string_view>("a text"); }
  bool boolean() const { return get<bool>("true or false"); }
  /// A token id: from 0, and no more than a vocabulary has.
  int32_t id() const {
    constexpr uint64_t most = 4'194'303;
    const auto number = get<uint64_t>("a whole number from 0");
    if (number > most) refuse(fmt::format("is {}; a token's id is at most {}", number, most));
    return static_cast<int32_t>(number);
  }
  simdjson::dom::array list() const { return get<simdjson::dom::array>("a list"); }
  simdjson::dom::object object() const { return get<simdjson::dom::object>("an object"); }
  std::vector<JsonNode> items() const {
    std::vector<JsonNode> all;
    for (const auto element : list()) all.emplace_back(element, fmt::format("{}[{}]", place_, all.size()), *path_);
    return all;
  }

  /// The member of this name; nothing where it is absent or null. The object must be small.
  std::optional<JsonNode> find(std::string_view key) const {
    std::optional<JsonNode> found;
    for (const auto& [name, value] : object()) {
      if (name != key) continue;
      const std::string at = place_.empty() ? std::string(key) : place_ + "." + std::string(key);
      if (found) JsonNode(value, at, *path_).refuse("stands there twice");
      found.emplace(value, at, *path_);
    }
    return found && !found->is_null() ? found : std::nullopt;
  }
  JsonNode at(std::string_view key) const {
    auto found = find(key);
    if (!found) refuse("has no " + text::quoted(key));
    return *found;
  }
  bool flag(std::string_view key, bool otherwise) const {
    const auto found = find(key);
    return found ? found->boolean() : otherwise;
  }
  /// Every key is one of these, none stands twice.
  void only(std::initializer_list<std::string_view> known) const {
    std::vector<std::string_view> seen;
    for (const auto& [name, value] : object()) {
      if (std::find(known.begin(), known.end(), name) == known.end())
        refuse("has " + text::quoted(name) + ", which is not known here and may change the tokens");
      if (std::find(seen.begin(), seen.end(), name) != seen.end()) refuse("has " + text::quoted(name) + " twice");
      seen.push_back(name);
    }
  }
  std::string_view type() const { return at("type").string(); }

 private:
  template <class T>
  T get(const char* needed) const {
    T result{};
    if (value_.get(result) != simdjson::SUCCESS)
      refuse("is " + text::quoted(simdjson::minify(value_)) + "; " + needed + " is needed");
    return result;
  }

  simdjson::dom::element value_;
  std::string place_;
  const std::string* path_;
};

}  // namespace bareattn::text
