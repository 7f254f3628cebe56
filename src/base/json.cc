// See json.h.
#include "base/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/utf8.h"

namespace bareattn::base {
namespace {

using Json = nlohmann::json;  // its objects are ordered maps: no hash, no quadratic search

/// Whether a text, a number or a word is longer than `most`. The parser would copy it before it asked.
bool has_long_part(std::string_view text, size_t most) {
  bool quoted = false;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i - begin > most) return true;
    const char c = text[i];
    if (quoted && c == '\\') {
      ++i;  // the next one ends nothing
    } else if (c == '"') {
      quoted = !quoted;
      begin = i + 1;
    } else if (!quoted && (c == ',' || c == ':' || c == '[' || c == ']' || c == '{' || c == '}' ||
                           static_cast<unsigned char>(c) <= ' ')) {
      begin = i + 1;
    }
  }
  return text.size() - std::min(begin, text.size()) > most;
}

class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string& problem, const JsonLimits& limits) : problem_(problem), limits_(limits) {}

  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t& /*text*/) override { return add(value); }
  bool string(string_t& value) override { return takes(text_bytes(value)) && add(std::move(value)); }
  bool binary(binary_t& /*value*/) override { return false; }  // JSON has none
  bool start_object(size_t /*count*/) override { return open(Json::object()); }
  bool start_array(size_t /*count*/) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    constexpr int64_t node = 64;  // of the map: colour, three pointers, the value, what the allocator takes
    if (!takes(node + text_bytes(name))) return false;
    const auto [at, is_new] = open_.back()->get_ref<Json::object_t&>().try_emplace(name, nullptr);
    if (!is_new) {
      problem_ = "has the key '" + escape_for_terminal(std::string_view(name).substr(0, 64)) + "' twice";
      return false;
    }
    member_ = &at->second;
    return true;
  }
  bool parse_error(size_t /*at*/, const std::string& /*token*/, const nlohmann::detail::exception& /*error*/) override {
    problem_ = "is no JSON";
    return false;
  }

 private:
  static int64_t text_bytes(const std::string& text) { return 48 + static_cast<int64_t>(text.size()); }
  bool takes(int64_t bytes) {
    taken_ += bytes;
    if (taken_ > limits_.memory) problem_ = "holds more values than fit into " + shown(limits_.memory);
    return taken_ <= limits_.memory;
  }
  static std::string shown(int64_t bytes) { return std::to_string(bytes >> 20) + " MiB of memory"; }

  bool add(Json value) { return place(std::move(value)) != nullptr; }
  bool open(Json value) {
    if (static_cast<int>(open_.size()) == limits_.depth) {
      problem_ = "is nested too deep";
      return false;
    }
    constexpr int64_t container = 64;
    Json* const at = takes(container) ? place(std::move(value)) : nullptr;
    if (at != nullptr) open_.push_back(at);
    return at != nullptr;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  Json* place(Json value) {
    constexpr int64_t in_list = 48;  // 16 each; a list that grows has up to twice as many, and the old ones meanwhile
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_object()) return &(*member_ = std::move(value));
    if (!takes(in_list)) return nullptr;
    auto& list = open_.back()->get_ref<Json::array_t&>();
    list.push_back(std::move(value));
    return &list.back();
  }

  std::string& problem_;
  const JsonLimits& limits_;
  Json root_;
  std::vector<Json*> open_;  // objects and lists that are not ended; the last of each list, so that none moves
  Json* member_ = nullptr;
  int64_t taken_ = 0;
};

}  // namespace

Json read_json(std::string_view text, std::string& problem, const JsonLimits& limits) {
  problem.clear();
  if (has_long_part(text, limits.text_bytes)) {
    problem = "holds a text or a number of more than " + std::to_string(limits.text_bytes >> 20) + " MiB";
    return Json(Json::value_t::discarded);
  }
  Builder builder(problem, limits);
  if (Json::sax_parse(text.begin(), text.end(), &builder)) return builder.take();
  return Json(Json::value_t::discarded);
}

}  // namespace bareattn::base
